"""Pictures with labels, from folders and from shards."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from service.tokens.pictures import decode_image
from tests.service.tokens.kinds import KINDS
from tests.service.tokens.values import SIDE
from training.data.labelled import examples, label_ids, labelled_batches

GREYS = {"cats": (10, 20, 30), "dogs": (200, 210)}


def flat(grey: int) -> Image.Image:
    return Image.fromarray(np.full((12, 16, 3), grey, np.uint8))


@pytest.fixture(params=["folder", "parquet"])
def labelled(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    rows = [(grey, label) for label, greys in GREYS.items() for grey in greys]
    if request.param == "folder":
        for grey, label in rows:
            (tmp_path / label).mkdir(exist_ok=True)
            flat(grey).save(tmp_path / label / f"{grey}.png")
        return tmp_path
    files = []
    for grey, _ in rows:
        file = io.BytesIO()
        flat(grey).save(file, "PNG")
        files.append({"bytes": file.getvalue(), "path": None})
    pq.write_table(pa.table({"image": files, "label": [label for _, label in rows]}), tmp_path / "0.parquet")
    return tmp_path


def test_every_picture_comes_with_its_label(labelled: Path) -> None:
    batches = list(labelled_batches(labelled, size=8, batch_size=2))
    assert [len(batch.labels) for batch in batches] == [2, 2, 1]
    greys = (torch.cat([batch.images for batch in batches]) * 255).mean(dim=(1, 2, 3)).round()
    got = sorted(zip([x for batch in batches for x in batch.labels], greys.tolist(), strict=True))
    assert got == sorted((label, float(grey)) for label, greys in GREYS.items() for grey in greys)


def test_every_kind_is_judged_as_it_is_served(tmp_path: Path) -> None:
    files = [{"bytes": kind.make(), "path": None} for kind in KINDS]
    table = pa.table({"image": files, "label": [kind.name for kind in KINDS]})
    pq.write_table(table, tmp_path / "0.parquet")
    batches = list(labelled_batches(tmp_path, size=SIDE, batch_size=16))
    names = [label for batch in batches for label in batch.labels]
    assert names == [kind.name for kind in KINDS if kind.error is None]
    assert sum(batch.unreadable for batch in batches) == len(KINDS) - len(names)
    judged = dict(zip(names, (image for batch in batches for image in batch.images), strict=True))
    for kind in KINDS:
        if kind.error is None:
            served = torch.from_numpy(decode_image(kind.make(), SIDE, "crop", SIDE**2).pixels.copy())
            assert torch.equal(judged[kind.name], served.permute(2, 0, 1).float() / 255), kind.name


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    flat(3).save(tmp_path / "alone.png")
    with pytest.raises(ValueError, match="label"):
        next(labelled_batches(tmp_path, size=8, batch_size=2))


def test_the_same_label_has_the_same_number_in_every_set() -> None:
    one, other = label_ids(["b", "a", "c"], ["c", "b"])
    assert one.tolist() == [1, 0, 2]
    assert other.tolist() == [2, 1]


def test_broken_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    for label, greys in GREYS.items():
        (tmp_path / label).mkdir()
        for grey in greys:
            flat(grey).save(tmp_path / label / f"{grey}.png")
        (tmp_path / label / "999.png").write_bytes(b"no picture")  # the last of its label
    batches = list(labelled_batches(tmp_path, size=8, batch_size=2))
    assert [label for batch in batches for label in batch.labels] == ["cats"] * 3 + ["dogs"] * 2
    assert sum(batch.unreadable for batch in batches) == 2
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="none of 7 pictures could be read"):
        next(labelled_batches(tmp_path, size=8, batch_size=2))


def test_examples_are_of_different_labels(labelled: Path) -> None:
    greys = (examples(labelled, 8, 3) * 255).mean(dim=(1, 2, 3)).round()
    assert greys.tolist() == [10, 200]


def test_labels_may_be_links_and_hidden_files_are_none_of_theirs(labelled: Path, tmp_path: Path) -> None:
    before = [label for batch in labelled_batches(labelled, size=8, batch_size=2) for label in batch.labels]
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in sorted(labelled.iterdir()):
        if path != linked:
            (linked / path.name).symlink_to(path)
    (linked / ".cache").mkdir()
    flat(1).save(linked / ".cache/1.png")
    flat(1).save(linked / "._2.png")
    batches = list(labelled_batches(linked, size=8, batch_size=2))
    assert [label for batch in batches for label in batch.labels] == before
    assert sum(batch.unreadable for batch in batches) == 0
