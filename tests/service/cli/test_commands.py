"""embed, tokens and reconstruct of folders, with a server and in one process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.client import unpack
from tests.service.cli.command import started, stellar
from tests.service.odd_folder import ODD_FAILED, ODD_LINE, ODD_NAMES, odd_folder
from tests.service.photos import photo, pixels_of
from tests.service.server import Server

pytestmark = pytest.mark.long

GOOD = ["astronaut.jpg", "sub/coffee.png", "sub/deep/chelsea.jpg"]
BAD = {"empty.png": "empty_image", "sub/broken.jpg": "corrupt_image"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, two broken ones and a text."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub/deep").mkdir(parents=True)
    for name in GOOD:
        path = folder / name
        path.write_bytes(photo(path.stem, "PNG" if path.suffix == ".png" else "JPEG"))
    (folder / "empty.png").touch()
    (folder / "sub/broken.jpg").write_bytes(photo("rocket")[:2000])
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_embed_in_this_process_names_what_is_broken_and_writes_the_rest(
    folder: Path, tmp_path: Path, client: httpx.Client
) -> None:
    out = tmp_path / "new/vectors.parquet"
    code, told = started("embed", folder, "--out", out)
    assert code == 1
    assert told.splitlines()[-1] == f"3 written to {out}, 2 failed"
    for name, reason in BAD.items():
        assert any(line.startswith(f"{name}: ") and reason in line for line in told.splitlines())
    table = pq.read_table(out)
    assert table["path"].to_pylist() == GOOD
    default = client.get("/models").json()["models"][0]["poolings"][0]
    assert table.schema.metadata[b"pooling"].decode() == default == "whitened"
    assert table.schema.metadata[b"model"].startswith(b"stellar-tiny@")
    for name, vector in zip(GOOD, table["embedding"].to_pylist(), strict=True):
        answer = client.post("/embed", content=(folder / name).read_bytes()).json()
        np.testing.assert_allclose(vector, answer["data"][0]["embedding"], atol=1e-5)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_tokens_by_a_server_are_drawn_in_this_process(
    folder: Path, server: Server, client: httpx.Client, tmp_path: Path
) -> None:
    out, drawn = tmp_path / "tokens.parquet", tmp_path / "drawn"
    assert started("tokens", folder, "--out", out, "--server", server.url)[0] == 1
    table = pq.read_table(out)
    assert table["path"].to_pylist() == GOOD
    (tokens,) = unpack(table["tokens"][1].as_py())
    assert (tokens.localization.shape, tokens.source.width) == ((12, 12, 16), 600)
    edits = '[{"op":"drop","token":3}]'
    code, told = started("reconstruct", out, "--out", drawn, "--edits", edits)
    assert (code, told) == (0, f"3 written to {drawn}, 0 failed\n")
    names = ["astronaut.jpg.png", "sub/coffee.png", "sub/deep/chelsea.jpg.png"]
    for name, source in zip(names, GOOD, strict=True):
        image = (folder / source).read_bytes()
        want = client.post("/reconstruct", files={"image": image}, data={"edits": edits}).content
        got = pixels_of((drawn / name).read_bytes()).astype(float)
        assert np.sqrt(np.square(got - pixels_of(want)).mean()) < 4  # the tokens were compact
    assert len([path for path in drawn.rglob("*") if path.is_file()]) == 3


def test_links_odd_names_and_what_is_left_out(server: Server, tmp_path: Path) -> None:
    """A folder as people have them; the same one as `bulk` lists it in test_bulk.py."""
    source = odd_folder(tmp_path / "b\udce4r")
    vectors, tokens, drawn = (tmp_path / "b\udce4r" / name for name in ("v.parquet", "t.parquet", "drawn"))
    code, told = stellar("embed", source, "--out", vectors, "--server", server.url)
    assert code == 1
    first, failed, last = told.splitlines()
    assert (first, failed.partition(":")[0]) == (ODD_LINE, ODD_FAILED)
    assert last == rf"2 written to {tmp_path}/b\xe4r/v.parquet, 1 failed"
    with vectors.open("rb") as file:
        assert pq.read_table(file)["path"].to_pylist() == ODD_NAMES
    assert stellar("tokens", source, "--out", tokens, "--server", server.url)[0] == 1
    for what in (tokens, source):
        stellar("reconstruct", what, "--out", drawn, "--server", server.url)
        files = {path.relative_to(drawn).as_posix() for path in drawn.rglob("*") if path.is_file()}
        assert files == {f"{name}.png" for name in ODD_NAMES}
        shutil.rmtree(drawn)


def test_one_picture_with_a_donor_is_drawn_by_a_server(
    folder: Path, server: Server, client: httpx.Client, tmp_path: Path
) -> None:
    picture, donor = folder / GOOD[0], folder / GOOD[1]
    edits = '[{"op":"replace","token":1,"with":{"donor":0,"token":2}}]'
    code, _ = stellar(
        *("reconstruct", picture, "--out", tmp_path, "--server", server.url),
        *("--edits", edits, "--donor", donor),
    )
    assert code == 0
    files = {"image": picture.read_bytes(), "donor": donor.read_bytes()}
    want = client.post("/reconstruct", files=files, data={"edits": edits}).content
    np.testing.assert_array_equal(pixels_of((tmp_path / "astronaut.jpg.png").read_bytes()), pixels_of(want))


def test_every_token_has_its_vector_and_a_bar_shows_how_far_it_is(
    folder: Path, server: Server, tmp_path: Path
) -> None:
    out = tmp_path / "vectors.parquet"
    code, told = stellar(
        *("embed", folder / "sub/deep", "--out", out, "--pooling", "tokens", "--server", server.url),
        *("--box", "0.1,0,0.6,1"),
        FORCE_COLOR="1",  # as on a terminal
    )
    assert code == 0
    assert "1/1" in told
    table = pq.read_table(out)
    (rows,) = table["embedding"].to_pylist()
    assert np.shape(rows) == (16, 192)
    assert table.schema.metadata[b"box"] == b"0.1,0.0,0.6,1.0"


def test_what_was_there_stays_when_nothing_can_be_done(folder: Path, server: Server, tmp_path: Path) -> None:
    out = tmp_path / "vectors.parquet"
    out.write_text("before")
    for options, message in (
        (("--server", "http://127.0.0.1:9"), "no answer from http://127.0.0.1:9"),
        (("--box", "0,0,2,1"), "--box: expected shares of the picture from 0 to 1"),
        (("--box", "0,0\n1,1"), r"such as 0.1,0,0.6,1, got '0,0\n1,1'"),
        (("--server", server.url, "--model", "other"), "there is no model 'other'; there is stellar-tiny@"),
    ):
        code, told = stellar("embed", folder, "--out", out, *options)
        assert code == 2
        assert told.startswith("error: ")
        assert message in told
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["tokens", "EMPTY"], {}, "has no pictures: expected files with .avif, .bmp, "),
        (["embed", "PICTURES"], {"STELLAR_DEVICE": "tpu"}, "error: device: "),
        (["embed", "PICTURES"], {"STELLAR_MODELS_DIR": "/nowhere"}, "/nowhere holds no bundle"),
        (["reconstruct", "PICTURES", "--edits", "drop 3"], {}, "--edits: expected a list of edits in JSON"),
        (["reconstruct", "PICTURES", "--edits", '[{"op":"fly"}]'], {}, "bad_edit"),
        (["reconstruct", "OTHER"], {}, "expected a table that stellar-service tokens has written"),
    ],
)
def test_what_can_not_be_used_is_said_in_a_line(
    folder: Path, tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.parquet").write_text("no table")
    paths = {"PICTURES": folder, "EMPTY": tmp_path / "empty", "OTHER": tmp_path / "other.parquet"}
    code, told = stellar(
        *(paths.get(argument, argument) for argument in arguments), "--out", tmp_path / "out", **environment
    )
    assert (code, "Traceback" in told) == (2, False)
    assert message in told
    assert not (tmp_path / "out").is_file()


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("cat.jpg", "other@0123456789ab", "has tokens of other@0123456789ab, which stellar-tiny@"),
        ("../cat.jpg", None, "expected paths within a folder, got '../cat.jpg'"),
        ("/tmp/cat.jpg", None, "expected paths within a folder, got '/tmp/cat.jpg'"),
    ],
)
def test_tables_that_would_draw_elsewhere_or_something_else_are_refused(
    server: Server, client: httpx.Client, tmp_path: Path, name: str, model: str | None, message: str
) -> None:
    model = model or client.get("/models").json()["models"][0]["id"]
    schema = pa.schema({"path": pa.string(), "tokens": pa.binary()}, {"model": model})
    pq.write_table(pa.table([[name], [b""]], schema), tmp_path / "tokens.parquet")
    out = tmp_path / "drawn"
    code, told = stellar("reconstruct", tmp_path / "tokens.parquet", "--out", out, "--server", server.url)
    assert code == 2
    assert message in told
    assert not out.exists()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": pa.array([None], pa.string()), "tokens": [b""]}, "expected a table that stellar-service"),
        ({"path": [1], "tokens": [b""]}, "expected a table that stellar-service"),
        ({"path": ["a"], "tokens": ["a"]}, "expected a table that stellar-service"),
        (
            {"path": ["a"], "tokens": pa.array([None], pa.binary())},
            "tokens of one picture in each row, got 0",
        ),
    ],
)
def test_damaged_tables_are_refused_in_a_line(
    server: Server, client: httpx.Client, tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    table, model = tmp_path / "tokens.parquet", client.get("/models").json()["models"][0]["id"]
    pq.write_table(pa.table(columns).replace_schema_metadata({"model": model}), table)
    code, told = stellar("reconstruct", table, "--out", tmp_path / "drawn", "--server", server.url)
    assert (code, "Traceback" in told) == (2, False)
    assert message in told


@pytest.mark.parametrize(
    ("missing", "options", "message"),
    [
        ("httpx", [], "error: httpx is missing: pip install 'stellar-service[client]'"),
        ("pyarrow", [], "error: pyarrow is missing: pip install 'stellar-service[client]'"),
        ("onnxruntime", [], "error: onnxruntime is missing: pip install 'stellar-service[cpu]', or name"),
        ("onnxruntime", ["--server"], "1 written to "),
    ],
)
def test_what_is_not_installed_is_named_where_it_is_needed(
    folder: Path, server: Server, tmp_path: Path, missing: str, options: list[str], message: str
) -> None:
    without = f"import sys; sys.modules['{missing}'] = None; from service.cli import app; app()"
    address = [*options, server.url] if options else []
    _, told = started(
        "embed", folder / GOOD[0], "--out", tmp_path / "vectors.parquet", *address, python=without
    )
    assert told.startswith(message)


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "out", "message"),
    [
        ("reconstruct", ".", "cat.png is read itself and would be replaced"),
        ("reconstruct", "linked", "cat.png is read itself and would be replaced"),
        ("embed", "cat.png", "cat.png is read itself and would be replaced"),
        ("tokens", "cat.png", "cat.png is read itself and would be replaced"),
        ("embed", "link", "link is a symbolic link: name the file that it leads to"),
        ("tokens", "nowhere", "nowhere is a symbolic link: name the file that it leads to"),
        ("embed", "pipe", "pipe is no regular file: name another"),
        ("reconstruct", "other", "other/cat.png is a symbolic link: name the file that it leads to"),
    ],
)
def test_nothing_but_an_older_result_is_replaced(
    server: Server, tmp_path: Path, command: str, out: str, message: str
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.png").write_bytes(photo("chelsea", "PNG"))
    (tmp_path / "kept").write_text("kept")
    (photos / "link").symlink_to(tmp_path / "kept")
    (photos / "nowhere").symlink_to(tmp_path / "absent")
    (photos / "linked").symlink_to(photos)
    (photos / "other").mkdir()
    (photos / "other/cat.png").symlink_to(tmp_path / "kept")
    os.mkfifo(photos / "pipe")
    before = everything(tmp_path)
    code, told = stellar(command, photos / "cat.png", "--out", photos / out, "--server", server.url)
    assert (code, message in told) == (2, True)
    assert everything(tmp_path) == before
    assert (photos / "link").is_symlink()
    assert (photos / "nowhere").is_symlink()
    assert (photos / "pipe").is_fifo()


def test_pictures_that_would_share_a_file_are_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "a.jpg.png"):
        (tmp_path / "photos" / name).write_bytes(photo("chelsea"))
    out = tmp_path / "drawn"
    code, told = stellar("reconstruct", tmp_path / "photos", "--out", out, "--server", server.url)
    assert code == 2
    assert f"a.jpg and a.jpg.png would both be drawn to {out}/a.jpg.png: rename one of them" in told
    assert not out.exists()


@pytest.mark.parametrize(
    ("command", "out", "name"), [("tokens", "t", "t"), ("reconstruct", ".", "a.jpg.png")]
)
def test_what_a_killed_run_has_left_is_cleared_by_the_next(
    server: Server, tmp_path: Path, command: str, out: str, name: str
) -> None:
    """What another one still writes stays, and so do other files' beginnings."""
    (tmp_path / "a.jpg").write_bytes(photo("chelsea"))
    write = (
        "from pathlib import Path; from service.bulk.table import written_whole\n"
        f"with written_whole(Path({name!r})): print('begun', flush=True); input()"
    )
    killed, alive = (
        subprocess.Popen(
            [sys.executable, "-c", write],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path.cwd())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    )
    for process in (killed, alive):
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
    (tmp_path / f".{name}.4242.partial").touch()  # of a version before
    (tmp_path / ".b.4242.partial").touch()
    killed.kill()
    killed.wait()
    assert len(list(tmp_path.glob(".*.partial"))) == 4
    code, _ = stellar(command, tmp_path / "a.jpg", "--out", tmp_path / out, "--server", server.url)
    assert (code, len(list(tmp_path.glob(".*.partial")))) == (0, 2)
    killed.communicate()
    alive.communicate(b"\n")
    assert alive.returncode == 0
    assert [path.name for path in tmp_path.glob(".*.partial")] == [".b.4242.partial"]
