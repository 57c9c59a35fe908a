"""Tensors out of files: safetensors, torch checkpoints, and those that are cut into shards with an index.

A file that is none of these is named for what it is, with what to do about it.
"""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

INDEX = ".index.json"
"""How the name of a sharded checkpoint's index ends."""
SHARD = re.compile(r"^(.+)-(\d{5})-of-(\d{5})(\.\w+)$")
WRAPPER = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Modules that DDP, `torch.compile`, FSDP and recomputed activations put around others."""

KINDS = (
    # beginning in lower case, what it is, what to do
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the weights by `git lfs pull`"),
    (b"<!doctype html", "an HTML page", "download the file itself; at the Hub its address has /resolve/"),
    (b"<html", "an HTML page", "download the file itself; at the Hub its address has /resolve/"),
    (b"<?xml", "an XML page, perhaps an object store's error", "download the file again"),
    (b"{", "JSON", f"name the weights, or an index of shards (*{INDEX})"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"bzh", "a bzip2 archive", "unpack it"),
    (b"\xfd7zxz", "an xz archive", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it"),
    (b"7z\xbc\xaf", "a 7-zip archive", "unpack it"),
    (b"\x89hdf", "an HDF5 file, as Keras has them", "convert it to safetensors"),
    (b"gguf", "a GGUF file", "name the safetensors file or the torch checkpoint that it was made of"),
)


class CheckpointError(ValueError):
    """A checkpoint that can't be read as a STELLAR model; the message names the key, got and expected."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, under the names they have there, without those of wrappers such as DDP's.

    Raises `CheckpointError` for a file of another kind, `FileNotFoundError`, and `OSError`.
    """
    return read_with_metadata(Path(path))[0]


def read_with_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, and what a safetensors file says beside them. Raises as `read_tensors` does."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: name the file in it{_such_as(path)}")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: no file {path}")
    if path.name.endswith(INDEX):
        tensors, metadata = _read_shards(path)
    else:
        if (shard := SHARD.match(path.name)) and int(shard[3]) > 1:
            index = f"{shard[1]}{shard[4]}{INDEX}"
            raise CheckpointError(
                f"{path.name} is shard {int(shard[2])} of {int(shard[3])}: name their index, {index}"
            )
        tensors, metadata = _read_file(path)
    names = {key: WRAPPER.sub("", key) for key in tensors}
    if len(set(names.values())) < len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        both = " and ".join(key for key, name in names.items() if name == twice)
        raise CheckpointError(f"{path.name}: {both} are the same tensor in wrappers: leave one out")
    return {names[key]: tensor for key, tensor in tensors.items()}, metadata


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says beside its tensors, which are not read; nothing of any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def write_tensors(tensors: dict[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file. Equal content makes equal bytes, and it may be read by whom any new file may.

    safetensors writes metadata in a random order, and to a file that is its owner's alone.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, metadata=dict(metadata))
    path.chmod(mode)
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))


def shards_of(path: Path) -> list[Path]:
    """The files that an index names, in the order of their names; none for a file with tensors of its own.

    Raises `CheckpointError` where it is no index, or names files elsewhere.
    """
    if not path.name.endswith(INDEX):
        return []
    return sorted({path.parent / name for name in _weight_map(path).values()})


def _weight_map(path: Path) -> dict[str, str]:
    """From names of tensors to those of files."""
    try:
        found = json.loads(path.read_bytes())["weight_map"]
        places = {PurePosixPath(name) for name in found.values()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckpointError(
            f'{path.name}: expected an index of shards: {{"weight_map": {{"name of a tensor": "file"}}}}'
        ) from None
    if any(place.is_absolute() or ".." in place.parts for place in places):
        raise CheckpointError(f"{path.name}: expected shards in the index's own folder")
    return dict(found)


def _read_shards(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    files = _weight_map(path)
    tensors, metadata = dict[str, Tensor](), dict[str, str]()
    for shard in shards_of(path):
        name = shard.relative_to(path.parent).as_posix()
        if not shard.is_file():
            raise CheckpointError(f"{path.name} names {name}, which is not there: fetch all shards")
        held, beside = _read_file(shard)
        metadata |= beside
        wanted = [key for key, file in files.items() if file == name]
        if missing := [key for key in wanted if key not in held]:
            raise CheckpointError(f"{name}: missing key {missing[0]}, which {path.name} says it has")
        tensors |= {key: held[key] for key in wanted}
    return tensors, metadata


def _read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        if (damage := _damage(path, error)) is not None:
            raise CheckpointError(damage) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises whatever the bytes lead to
        expected = "expected a safetensors file or a torch checkpoint that holds only tensors"
        raise CheckpointError(f"{path.name}: {expected}") from error
    for container in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(container), Mapping):
            content = content[container]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path.name}: expected a mapping from names to tensors")
    return dict(content), {}


def _damage(path: Path, error: SafetensorError) -> str | None:
    """What is wrong with a file that is no whole safetensors file; None where torch may read it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        beginning = file.read(512)
        if not beginning:
            return f"{path.name} is empty: fetch it again"
        text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        for begins, what, advice in KINDS:
            if text.startswith(begins):
                return f"{path.name} is {what} and no weights: {advice}"
        if beginning.startswith(b"PK\x03\x04"):  # a torch checkpoint is a zip archive, whose list comes last
            return None if zipfile.is_zipfile(file) else f"{path.name} is cut: fetch it again"
        if beginning[8:9] != b"{":
            return None
        whole = 8 + int.from_bytes(beginning[:8], "little")
        file.seek(8)
        header = file.read(whole - 8) if whole <= size else b""
    with contextlib.suppress(KeyError, TypeError, ValueError):  # damaged beyond its lengths
        whole += max(entry["data_offsets"][1] for key, entry in json.loads(header).items() if key[:2] != "__")
    if size < whole:
        return f"{path.name} is cut: it has {size} of at least {whole} bytes: fetch it again"
    return f"{path.name} is damaged: {error}: fetch it again"


def _such_as(folder: Path) -> str:
    """An index or a file with tensors in a folder, if there is one."""
    for pattern in (f"*{INDEX}", "*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt"):
        for path in sorted(folder.glob(pattern)):
            return f", such as {path.name}"
    return ""
