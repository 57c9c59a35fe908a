"""Bulk jobs by their command: on this machine, on a cluster, killed, and from an object store to another."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from service.bulk.destination import Destination
from service.bulk.job import TRIES
from service.tokens.names import escaped
from tests.service.bulk.command import Bulk, Job, rows, wait_until
from tests.service.bulk.conftest import files_of
from tests.service.bulk.sources import write_archive, write_folder, write_parquet
from tests.service.odd_folder import ODD_FAILED, ODD_LINE, ODD_NAMES, odd_folder
from tests.service.photos import photo, pixels_of, plain
from tests.service.server import Server
from tests.service.tokens.kinds import KINDS
from tests.service.toy import results

pytestmark = pytest.mark.long

PHOTOS = {f"{name}.jpg": photo(name) for name in ("astronaut", "chelsea", "coffee", "rocket")}
BROKEN = photo("rocket")[:2000]
FILES = {f"{kind.name}{kind.suffix}": kind for kind in KINDS}
MARK = "STELLAR_TEST_MARK"


def listeners(job: Job, mark: str) -> Iterator[str]:
    """Local addresses, as the kernel has them, that a job listens on, or who is marked in its environment."""
    listening = {
        line.split()[9]: line.split()[1].partition(":")[0]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={mark}".encode() in (process / "environ").read_bytes()
            if marked or process.name == str(job.pid):  # which has its parent's there
                for link in (process / "fd").iterdir():
                    inode = os.readlink(link).removeprefix("socket:[").removesuffix("]")  # noqa: PTH115
                    if inode in listening:
                        yield listening[inode]
        except OSError:
            continue  # it has ended


class Done(NamedTuple):
    """A job on this machine, with tokens and by CLS, over all that a folder may hold."""

    folder: Path
    out: Path
    told: list[str]
    """Lines."""
    code: int
    heard: set[str]
    """Addresses that it has listened on."""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The folder is an odd one, which is reached by a link, with photos and with every kind of picture."""
    above = tmp_path_factory.mktemp("done")
    source, out, mark = above / "linked", above / "new/out", secrets.token_hex()
    folder = odd_folder(above / "b\udce4r")
    source.symlink_to(folder)
    write_folder(source / "deep", PHOTOS | {"empty.png": b"", "broken.jpg": BROKEN})
    write_folder(source / "kinds", {name: kind.make() for name, kind in FILES.items()})
    heard: set[str] = set()
    job = Bulk(**{MARK: mark}).start(source, out, "--tokens", "--pooling", "cls")
    while job.poll() is None:
        heard |= set(listeners(job, mark))
        time.sleep(0.5)
    code, told = job.ended()
    return Done(folder, out, told.splitlines(), code, heard)


def errors(out: Path, within: str = "") -> dict[str, str]:
    """What rows have failed, by what is below a folder, and why."""
    failed = pq.read_table(out / "errors").to_pylist()
    return {row["id"].removeprefix(within): row["code"] for row in failed if row["id"].startswith(within)}


def test_every_kind_of_picture_has_the_service_s_own_vector_or_its_error_under_its_name(
    done: Done, server: Server
) -> None:
    refused = {name: kind.error for name, kind in FILES.items() if kind.error}
    assert errors(done.out, "kinds/") == refused
    table = rows(done.out, "kinds/")
    assert table["id"].to_pylist() == [f"kinds/{name}" for name in sorted(FILES.keys() - refused)]
    made = (FILES[name.removeprefix("kinds/")].make() for name in table["id"].to_pylist())
    want = [server.embedded(each, pooling="cls")[0] for each in made]
    np.testing.assert_allclose(table["embedding"].to_pylist(), want, atol=1e-5)


def test_a_folder_has_the_service_s_own_vectors_and_tokens_and_nobody_can_listen_in(
    done: Done, server: Server, client: httpx.Client
) -> None:
    assert done.code == 1, done.told
    written = rows(done.out).num_rows
    assert done.told[-1].startswith(f"{written} written to {done.out}, {len(errors(done.out))} failed; ")
    assert "0 of 1 shards were there" in done.told[-1]
    # 127.0.0.1, the same as an IPv6 address, ::1
    assert done.heard <= {
        "0100007F",
        "0000000000000000FFFF00000100007F",
        "00000000000000000000000001000000",
    }
    assert done.heard
    assert errors(done.out, "deep/") == {"empty.png": "empty_image", "broken.jpg": "corrupt_image"}

    table = rows(done.out, "deep/")
    assert table["id"].to_pylist() == [f"deep/{name}" for name in sorted(PHOTOS)]
    assert table.schema.metadata[b"model"].startswith(b"stellar-tiny@")
    want = server.embedded(*PHOTOS.values(), pooling="cls")
    np.testing.assert_allclose(table["embedding"].to_pylist(), want, atol=1e-5)
    tokens = client.post("/tokens", files={"image": PHOTOS["chelsea.jpg"]}).json()["data"][0]
    row = table["id"].to_pylist().index("deep/chelsea.jpg")
    semantics, localization = (
        np.array(table[name].to_pylist()[row]) for name in ("semantics", "localization")
    )
    np.testing.assert_allclose(semantics, tokens["semantics"], atol=0.01)
    assert localization.shape == (12, 12, 16)
    np.testing.assert_allclose(table["rectangle"].to_pylist()[row], tokens["source"]["rectangle"])
    assert [table[name][row].as_py() for name in ("width", "height")] == [
        tokens["source"][name] for name in ("width", "height")
    ]
    stored = save(
        {"semantics": semantics[None].astype(np.float16), "localization": localization[None].astype(np.uint8)}
    )
    kind = {"content-type": "application/vnd.safetensors"}
    edits = {"edits": '[{"op":"drop","token":3}]'}
    drawn = client.post("/reconstruct", content=stored, headers=kind, params=edits)
    direct = client.post("/reconstruct", files={"image": PHOTOS["chelsea.jpg"]}, data=edits)
    difference = pixels_of(drawn.content).astype(float) - pixels_of(direct.content)
    assert np.sqrt(np.square(difference).mean()) < 4


def test_links_odd_names_and_what_is_left_out(done: Done) -> None:
    """The same folder as other commands list it in test_commands.py."""
    code, told = Bulk()(done.folder, done.out)
    assert code == 2
    above = escaped(str(done.folder.parent))
    assert told.startswith(f"error: {above}/pictures is not UTF-8, and Ray takes no such path: reach")
    assert done.told[0] == ODD_LINE
    names = set(rows(done.out)["id"].to_pylist())
    assert {name for name in names if not name.startswith(("deep/", "kinds/"))} == set(ODD_NAMES)
    assert errors(done.out)[ODD_FAILED] == "corrupt_image"


def test_parquet_and_webdataset_on_a_cluster_have_the_same_vectors(
    cluster: Bulk, server: Server, tmp_path: Path
) -> None:
    want = server.embedded(*PHOTOS.values())
    parquet, archives = tmp_path / "parquet", tmp_path / "archives"
    for folder in (parquet, archives):
        folder.mkdir()
    write_parquet(parquet / "0.parquet", PHOTOS | {"none": None, "broken": BROKEN}, rows_a_group=2)
    for number in range(2):
        half = dict(list(PHOTOS.items())[2 * number : 2 * number + 2])
        write_archive(archives / f"{number}.tar", half | {f"broken-{number}.png": BROKEN})
    # To WebDataset's rules these are one sample.
    dated = [f"IMG_2023.01.01_00{i}.jpg" for i in range(3)]
    write_archive(archives / "2.tar", dict.fromkeys(dated, plain(1)))
    # A third of the file in each shard, that is a group.
    size = (parquet / "0.parquet").stat().st_size // 3 + 1
    out = tmp_path / "from-parquet"
    code, told = cluster(parquet, out, "--id-column", "name", "--shard-bytes", size, "--workers", 2)
    assert code == 1, told
    assert len(list((out / "parts").iterdir())) == 3
    assert rows(out)["id"].to_pylist() == list(PHOTOS)
    np.testing.assert_allclose(rows(out)["embedding"].to_pylist(), want, atol=1e-5)
    assert errors(out) == {"none": "empty_image", "broken": "corrupt_image"}

    out = tmp_path / "from-archives"
    code, told = cluster(f"file://{archives}/*.tar", out)
    assert code == 1, told
    assert rows(out)["id"].to_pylist() == ["IMG_2023", *(name.removesuffix(".jpg") for name in PHOTOS)]
    want = server.embedded(plain(1), *PHOTOS.values())
    np.testing.assert_allclose(rows(out)["embedding"].to_pylist(), want, atol=1e-5)
    failed = pq.read_table(out / "errors").sort_by("id").to_pylist()
    assert [(row["id"], row["code"]) for row in failed] == [
        *((name, "other_picture") for name in dated[1:]),
        *((name, "corrupt_image") for name in ("broken-0", "broken-1")),
    ]
    assert "a key ends at a name's first dot" in failed[0]["detail"]


def test_kills_leave_neither_gaps_nor_duplicates(cluster: Bulk, toy_models: Path, tmp_path: Path) -> None:
    """First the job is killed, then, when it goes on, who works for it."""
    levels = {f"{level}.png": level for level in range(100, 112)}  # each takes the toy a moment
    source = write_folder(tmp_path / "source", {name: plain(level) for name, level in levels.items()})
    write_folder(source, {"broken.png": b"broken"})
    out = tmp_path / "out"
    arguments = (source, out, "--shard-bytes", 1)
    models = {"STELLAR_MODELS_DIR": str(toy_models)}
    job = cluster.start(*arguments, **models)
    wait_until(lambda: len(list(out.glob("parts/[0-9]*"))) >= 3)
    job.kill()
    job.ended()
    before = {path: path.stat().st_mtime_ns for path in out.glob("parts/[0-9]*")}
    assert len(before) < 13
    (out / "parts/.000012.parquet.1.partial").touch()  # as a kill may leave one
    job = cluster.start(*arguments, **models)
    wait_until(lambda: len(list(out.glob("parts/[0-9]*"))) > len(before))
    wait_until(lambda: killed(out.glob("parts/.*.partial")) != set())
    code, told = job.ended()
    assert code == 1, told
    (there,) = re.findall(r"; (\d+) of 13 shards were there", told.splitlines()[-1])
    assert len(before) <= int(there) < 13  # a worker may have ended one after the job was killed
    code, told = cluster(*arguments, **models)
    assert code == 1, told
    assert "; 13 of 13 shards were there" in told.splitlines()[-1]
    assert all(path.stat().st_mtime_ns == written for path, written in before.items())
    assert sorted(path.name for path in (out / "parts").iterdir()) == [f"{i:06}.parquet" for i in range(13)]
    table = rows(out)
    assert table["id"].to_pylist() == sorted(levels)
    images = np.stack([np.full((8, 8, 3), level, np.uint8) for level in levels.values()])
    vectors = results(images)["semantics"].mean(1)
    want = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(table["embedding"].to_pylist(), want, atol=1e-5)
    assert pq.read_table(out / "errors")["id"].to_pylist() == ["broken.png"]


def test_a_shard_that_kills_its_workers_is_left_and_the_others_are_done(
    cluster: Bulk, toy_models: Path, tmp_path: Path
) -> None:
    levels = {"a.png": 0, "b.png": 255, "c.png": 1, "d.png": 2}  # the toy works on the second for a second
    source = write_folder(tmp_path / "source", {name: plain(level) for name, level in levels.items()})
    out = tmp_path / "out"
    died = set[Path]()
    options = ("--shard-bytes", 1, "--workers", 1)
    job = cluster.start(source, out, *options, STELLAR_MODELS_DIR=str(toy_models))
    while job.poll() is None:
        begun = set(out.glob("parts/.000001.parquet.*.partial")) - died
        died |= {file for file in begun if killed([file])}
        time.sleep(0.02)
    code, told = job.ended()
    assert code == 2, told
    assert "shard 1: its worker died" in told
    assert len(died) == TRIES
    assert rows(out)["id"].to_pylist() == ["a.png", "c.png", "d.png"]


def killed(files: Iterable[Path]) -> set[int]:
    """The processes that had one of these files open, until now."""
    found = {process for file in files for process in writers(file)}
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return found


def writers(file: Path) -> Iterator[int]:
    """The processes that have a file open."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if any(os.readlink(link) == str(file) for link in (process / "fd").iterdir()):  # noqa: PTH115
                yield int(process.name)


def test_from_an_object_store_to_another_place_in_it(
    cluster: Bulk,
    toy_models: Path,
    object_store: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = files_of(object_store)
    for level in range(4):
        files.pipe_file(f"bucket/source/{level}.png", plain(level))
    arguments = ("s3://bucket/source", "s3://bucket/out", "--shard-bytes", 1)
    code, told = cluster(*arguments, STELLAR_MODELS_DIR=str(toy_models))
    assert code == 0, told
    code, told = cluster(*arguments, STELLAR_MODELS_DIR=str(toy_models))
    assert code == 0, told
    assert "0 written to s3://bucket/out, 0 failed; " in told
    assert "; 4 of 4 shards were there" in told
    files.get("bucket/out", str(tmp_path), recursive=True)
    assert sorted(rows(tmp_path / "out")["id"].to_pylist()) == [f"{level}.png" for level in range(4)]
    files.rm_file("bucket/out/parts/000002.parquet")
    for name, value in object_store.items():
        monkeypatch.setenv(name, value)
    assert Destination("s3://bucket/out").done() == {0, 1, 3}
