"""docs/use/bulk.md and look.md run as they stand; COCO's package and TensorBoard have what we tell them."""

from __future__ import annotations

import io
import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.docs.pages import ROOT, blocks_of
from tests.service.bulk.command import wait_until
from tests.service.cli.command import stellar
from tests.service.discs import draw_all
from tests.service.fleet.cluster import free_port
from tests.service.server import Server

pytestmark = pytest.mark.long

BULK, PAGE = (ROOT / f"docs/use/{name}.md" for name in ("bulk", "look"))
SIDE = 64
"""Of the projector's pictures."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages have been followed, one after the other: the second finds the job of the first done."""
    folder = tmp_path_factory.mktemp("look")
    draw_all(folder)
    for page in (BULK, PAGE):
        blocks = [block for block in blocks_of(page) if block.reason is None]
        commands = [block.text for block in blocks if block.language == "sh"]
        for line in "".join(commands).splitlines():
            command = shlex.split(line, comments=True)
            subprocess.run([Path(sys.prefix) / "bin" / command[0], *command[1:]], cwd=folder, check=True)
        script = "".join(block.text for block in blocks if block.language == "python")
        subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    return folder


def test_a_bulk_job_s_masks_are_those_of_tokens(folder: Path, server: Server, tmp_path: Path) -> None:
    table, out = tmp_path / "tokens.parquet", tmp_path / "masks.json"
    assert stellar("tokens", folder / "photos", "--out", table, "--server", server.url)[0] == 0
    assert stellar("masks", table, "--out", out)[0] == 0
    bulk, tokens = (json.loads(path.read_text()) for path in (folder / "masks.json", out))
    assert len(bulk["images"]) == len(tokens["images"]) == len(list((folder / "photos").rglob("*.*")))
    assert by_name(bulk) == by_name(tokens)


def by_name(coco: dict[str, list[dict[str, object]]]) -> dict[tuple[object, object], object]:
    """Each picture's and token's mask."""
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    return {
        (names[each["image_id"]], each["category_id"]): each["segmentation"] for each in coco["annotations"]
    }


@pytest.fixture(scope="module")
def projector(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """TensorBoard, as the page starts it."""
    (line,) = re.findall(r"`(tensorboard .*?)`", PAGE.read_text())
    command, port = shlex.split(line), free_port()
    log = (tmp_path_factory.mktemp("tensorboard") / "log").open("w")
    process = subprocess.Popen(
        [Path(sys.prefix) / "bin" / command[0], *command[1:], "--port", str(port)],
        cwd=folder,
        stdout=log,
        stderr=log,
    )
    with log, httpx.Client(base_url=f"http://127.0.0.1:{port}/data/plugin/projector") as client:
        try:
            wait_until(lambda: is_ready(client) or process.poll() is not None)
            yield client
        finally:
            process.terminate()
            process.wait()


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/runs").status_code == 200
    except httpx.TransportError:
        return False


def test_the_projector_has_each_vector_with_its_name_and_picture(
    folder: Path, projector: httpx.Client
) -> None:
    (run,) = projector.get("/runs").json()
    (about,) = projector.get("/info", params={"run": run}).json()["embeddings"]
    asked = {"run": run, "name": about["tensorName"], "num_rows": 100_000}
    rows = pq.read_table(folder / "vectors/parts").to_pylist()
    names = projector.get("/metadata", params=asked).text.splitlines()
    assert names == [row["id"] for row in rows]
    vectors = np.frombuffer(projector.get("/tensor", params=asked).content, np.float32)
    np.testing.assert_allclose(
        vectors.reshape(len(rows), -1), [row["embedding"] for row in rows], rtol=0, atol=1e-6
    )
    assert about["sprite"]["singleImageDim"] == [SIDE, SIDE]
    sprite = Image.open(io.BytesIO(projector.get("/sprite_image", params=asked).content))
    columns = math.ceil(math.sqrt(len(rows)))
    assert sprite.size == (columns * SIDE, columns * SIDE)
    for i, name in enumerate(names):
        left, top = i % columns * SIDE, i // columns * SIDE
        shown = np.asarray(sprite.crop((left, top, left + SIDE, top + SIDE)), int)
        with Image.open(folder / "photos" / name) as picture:
            width, height = picture.size
            square = picture.crop(((width - height) // 2, 0, (width + height) // 2, height))
            want = np.asarray(square.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC), int)
        assert np.abs(shown - want).max() <= 1
