"""What is no checkpoint is named for what it is, and shards are read by their index."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor
from typer.testing import CliRunner

from model import CheckpointError, Stellar, get_preset, load_checkpoint, load_vit_mae, save_checkpoint
from model.cli import app
from model.tensor_file import read_tensors


def torch_file(legacy: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.zeros(9000)}, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


WHOLE = save({"a": torch.zeros(9000)})
LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
PAGE = "a.safetensors is an HTML page and no weights: download the file itself; at the Hub"
FILES = [
    # kind, what the file holds, what is told
    (
        "Git LFS pointer",
        LFS.encode(),
        "is a Git LFS pointer and no weights: fetch the weights by `git lfs pull`",
    ),
    ("HTML page", b"\xef\xbb\xbf\n<!DOCTYPE html><html>Sign in</html>", PAGE),
    ("bare HTML page", b"<HTML><body>404</body></HTML>", PAGE),
    ("XML error", b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "is an XML page, perhaps"),
    (
        "JSON error",
        b'{"error": "not found"}',
        "is JSON and no weights: name the weights, or an index of shards",
    ),
    ("gzip", gzip.compress(WHOLE), "is a gzip archive and no weights: unpack it"),
    ("empty", b"", "a.safetensors is empty: fetch it again"),
    ("cut in its tensors", WHOLE[:-100], f"is cut: it has {len(WHOLE) - 100} of at least {len(WHOLE)} bytes"),
    ("cut in its header", WHOLE[:20], "is cut: it has 20 of at least "),
    ("cut in its length", WHOLE[:5], "expected a safetensors file or a torch checkpoint"),
    ("damaged header", struct.pack("<Q", 9) + b"{" * 9, "a.safetensors is damaged: "),
    ("cut torch file", torch_file(False)[:9000], "a.safetensors is cut: fetch it again"),
    ("torch file without its end", torch_file(False)[:-10], "a.safetensors is cut: fetch it again"),
    ("cut old torch file", torch_file(True)[:9000], "expected a safetensors file or a torch checkpoint"),
    ("text", b"hello world", "expected a safetensors file or a torch checkpoint"),
    ("zeros", bytes(4096), "expected a safetensors file or a torch checkpoint"),
]


@pytest.mark.parametrize(("content", "told"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_what_is_no_checkpoint_is_named_with_what_to_do(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert told in str(caught.value)
    with pytest.raises(CheckpointError):
        load_vit_mae(path, Stellar(get_preset("debug")))
    for command in (["export", str(path), "--out", str(tmp_path / "out")], ["info", str(path)]):
        done = CliRunner().invoke(app, command, env={"COLUMNS": "1000"})
        assert (done.exit_code, done.stderr) == (1, f"error: {caught.value}\n")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def model() -> Stellar:
    torch.manual_seed(0)
    return Stellar(get_preset("debug", width=60, num_heads=5))  # heads that only the metadata tells


@pytest.fixture(params=["safetensors", "torch"])
def sharded(model: Stellar, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The index of a model in three shards, as transformers writes them."""
    save_checkpoint(model, tmp_path / "whole.safetensors")
    tensors = load_file(tmp_path / "whole.safetensors")
    stem, suffix = ("model", "safetensors") if request.param == "safetensors" else ("pytorch_model", "bin")
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(3):
        held: dict[str, Tensor] = {name: tensors[name] for name in names[number::3]}
        name = f"{stem}-{number + 1:05}-of-00003.{suffix}"
        if suffix == "bin":
            torch.save(held, tmp_path / name)
        else:
            save_file(held, tmp_path / name, metadata={"format": "pt", "num_heads": "5"})
        weight_map |= dict.fromkeys(held, name)
    index = tmp_path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def test_shards_are_read_by_their_index(model: Stellar, sharded: Path) -> None:
    loaded = load_checkpoint(sharded, num_heads=5 if sharded.name.startswith("pytorch") else None)
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_shards_that_are_missing_or_not_meant_are_told(sharded: Path) -> None:
    (sharded.parent / "whole.safetensors").unlink()
    first, second, _ = sorted(sharded.parent.glob("*-of-*"))
    for path, told in (
        (first, f"{first.name} is shard 1 of 3: name their index, {sharded.name}"),
        (sharded.parent, f"is a folder: name the file in it, such as {sharded.name}"),
    ):
        with pytest.raises(CheckpointError, match=told):
            read_tensors(path)
    shutil.copy(first, second)
    with pytest.raises(CheckpointError, match=f"{second.name}: missing key .*, which {sharded.name} says"):
        read_tensors(sharded)
    second.unlink()
    with pytest.raises(CheckpointError, match=f"{second.name}, which is not there: fetch all shards"):
        read_tensors(sharded)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("no JSON", "expected an index of shards"),
        ("[]", "expected an index of shards"),
        ('{"weight_map": {"a": 1}}', "expected an index of shards"),
        ('{"weight_map": {"a": "../a.safetensors"}}', "expected shards in the index's own folder"),
        ('{"weight_map": {"a": "/a.safetensors"}}', "expected shards in the index's own folder"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=told):
        read_tensors(tmp_path / "model.safetensors.index.json")


def test_the_same_tensor_in_and_out_of_a_wrapper_is_told(tmp_path: Path) -> None:
    save_file({"module.a": torch.zeros(1), "a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"a and module\.a are the same tensor"):
        read_tensors(tmp_path / "a.safetensors")
