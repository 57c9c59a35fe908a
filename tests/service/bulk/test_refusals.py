"""What can't be a job is said in a line, before Ray starts."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.bulk.destination import Destination
from service.bulk.record import Record
from service.bulk.shards import plan
from service.runtime.bundle import read_bundle
from service.settings import BUNDLED_MODELS
from tests.service.bulk.command import Bulk
from tests.service.bulk.sources import write_folder
from tests.service.photos import plain


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a picture."""
    return write_folder(tmp_path / "source", {"a.png": plain(1)})


@pytest.fixture
def claimed(source: Path, tmp_path: Path) -> Path:
    """What a job of that folder has claimed, whose one shard is done."""
    planned = plan(str(source), 64 * 2**20)
    record = Record(
        pooling="whitened",
        model=read_bundle(BUNDLED_MODELS / "stellar-tiny").manifest.id,
        source=planned.address,
        kind="pictures",
        shards=1,
        digest=planned.digest,
    )
    out = tmp_path / "out"
    Destination(str(out)).claim(record)
    (out / "parts").mkdir()
    pq.write_table(pa.table({"id": ["a.png"]}), out / "parts/000000.parquet")
    return out


def test_a_job_that_is_done_is_done(source: Path, claimed: Path) -> None:
    code, told = Bulk()(source, claimed)
    assert (code, told) == (0, f"0 written to {claimed}, 0 failed; 0.0 images/s; 1 of 1 shards were there\n")


def test_a_second_job_leaves_what_the_first_still_writes(source: Path, claimed: Path) -> None:
    written = claimed / "parts/.000001.parquet.0a.partial"
    left = claimed / "parts/.000002.parquet.0b.partial"
    left.touch()
    with written.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, told = Bulk()(source, claimed)
    assert (code, written.exists(), left.exists()) == (0, True, False), told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--pooling", "cls"],
            "whose pooling is 'whitened', not 'cls': go on with the same options, or name",
        ),
        (["--tokens"], "whose tokens is False, not True"),
        (["--shard-bytes", "7"], "whose shard_bytes is 67108864, not 7"),
        (["--model", "other"], "there is no model 'other' in "),
        (["--device", "tpu"], "device: String should match pattern"),
        (["--device", "cuda:1"], "device: expected cuda, got cuda:1: each worker gets a GPU of its own"),
    ],
)
def test_another_job_is_refused_where_one_is(
    source: Path, claimed: Path, options: list[str], message: str
) -> None:
    before = sorted(claimed.rglob("*"))
    code, told = Bulk()(source, claimed, *options)
    assert (code, len(told.splitlines())) == (2, 1)
    assert told.startswith("error: ")
    assert message in told
    assert sorted(claimed.rglob("*")) == before


def test_a_source_that_has_changed_is_refused(source: Path, claimed: Path) -> None:
    write_folder(source, {"b.png": plain(2)})
    code, told = Bulk()(source, claimed)
    assert code == 2
    assert "the source has changed, or name another folder" in told


def test_parts_of_no_job_are_refused(source: Path, claimed: Path) -> None:
    of_before = json.loads((claimed / "job.json").read_text()) | {"format": 1}
    for content in (None, "{}", json.dumps(of_before)):
        (claimed / "job.json").unlink()
        if content is not None:
            (claimed / "job.json").write_text(content)
        code, told = Bulk()(source, claimed)
        assert code == 2
        assert ("has parts and no job.json" if content is None else "is no job of this version") in told
        (claimed / "job.json").touch()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere", "out"], "error: /nowhere has nothing to read: expected pictures"),
        (["abc://bucket", "out"], "error: Protocol not known: abc"),
        (["source", "source/out"], "lies within the source"),
    ],
)
def test_what_can_not_be_read_is_said_in_a_line(
    source: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    code, told = Bulk(PYTHONPATH=str(Path(__file__).parents[3]))(*arguments)
    assert (code, "Traceback" in told) == (2, False)
    assert message in told


def test_a_gpu_that_is_missing_is_told_and_not_waited_for(source: Path, tmp_path: Path) -> None:
    code, told = Bulk()(source, tmp_path / "out", "--device", "cuda")
    assert code == 2
    assert told.startswith("error: onnxruntime ")
    assert "is a build without it" in told


@pytest.mark.parametrize("missing", ["ray", "pyarrow"])
def test_what_is_not_installed_is_named(source: Path, tmp_path: Path, missing: str) -> None:
    without = f"import sys; sys.modules['{missing}'] = None; from service.cli import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", without, "bulk", source, tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {missing} is missing: pip install 'stellar-service[bulk,cpu]'\n"
