"""Checkpoints in the published names: every key is accounted for, and others can read ours.

The published layout is that of transformers' ViT (version 4 names); version 5 names and a `model.` prefix
are understood too, and so are the wrappers of DDP and `torch.compile`. Some published tensors (poolers, the
decoder's unused embeddings) take no part in the model: they are checked when read and written as zeros.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model.config import HEADS_BY_WIDTH, Head, StellarConfig
from model.stellar import Stellar
from model.tensor_file import CheckpointError, read_tensors, read_with_metadata, write_tensors
from service.tokens.size import image_size

TOKENIZER_PREFIX = "tokenizer."

_TRANSFORMERS_5 = (
    (re.compile(r"^(encoder|decoder)\.(?:encoder\.)?layers\.(\d+)\."), r"\1.encoder.layer.\2."),
    (re.compile(r"(\.layer\.\d+)\.attention\.q_proj\."), r"\1.attention.attention.query."),
    (re.compile(r"(\.layer\.\d+)\.attention\.k_proj\."), r"\1.attention.attention.key."),
    (re.compile(r"(\.layer\.\d+)\.attention\.v_proj\."), r"\1.attention.attention.value."),
    (re.compile(r"(\.layer\.\d+)\.attention\.o_proj\."), r"\1.attention.output.dense."),
    (re.compile(r"(\.layer\.\d+)\.mlp\.fc1\."), r"\1.intermediate.dense."),
    (re.compile(r"(\.layer\.\d+)\.mlp\.fc2\."), r"\1.output.dense."),
)


class TokenizerMissing(CheckpointError):
    """A VQ checkpoint without the tokenizer's weights: they are in a file of their own."""


class Entry(NamedTuple):
    """Where a published tensor lives in our model; `name` is None where the model has no use for it."""

    published: str
    shape: tuple[int, ...]
    name: str | None
    rows: slice = slice(None)


Pairs = Callable[[str, str], Iterator[Entry]]
"""From a published module's name and ours to the entries of its weight and, where it has one, its bias."""


def load_checkpoint(
    path: str | Path, vqgan: str | Path | None = None, num_heads: int | None = None
) -> Stellar:
    """Read a model from a safetensors file, a torch checkpoint (weights only, no code is unpickled), or the
    index of a checkpoint in shards.

    The architecture is read off the shapes. `vqgan` is a file with the tokenizer's weights, for a VQ
    checkpoint without them; `num_heads` tells the encoder's attention heads where its width is an
    unknown one.

    Raises `CheckpointError` for an unknown or missing key, a wrong shape, or a file of another kind,
    `TokenizerMissing` among them, and `FileNotFoundError`.
    """
    tensors, metadata = read_with_metadata(Path(path))
    tensors = {version_4_name(key): tensor for key, tensor in tensors.items()}
    if vqgan is not None:
        tokenizer = read_tensors(vqgan)
        tensors = {k: v for k, v in tensors.items() if not k.startswith(TOKENIZER_PREFIX)}
        tensors |= {TOKENIZER_PREFIX + k.removeprefix(TOKENIZER_PREFIX): v for k, v in tokenizer.items()}
    model = Stellar(_infer_config(tensors, metadata, num_heads))
    _fill(model, tensors)
    return model.eval()


def save_checkpoint(model: Stellar, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the model to a safetensors file in the published names, version 4 form, with notes beside it."""
    state = model.state_dict()
    tensors = {
        entry.published: (
            torch.zeros(entry.shape) if entry.name is None else state[entry.name][entry.rows].detach().cpu()
        ).contiguous()
        for entry in published_layout(model)
    }
    config = model.config
    metadata = {"format": "pt", "num_heads": str(config.num_heads), **(notes or {})}
    if not isinstance(config.image_size, int):
        metadata["image_size"] = json.dumps(config.image_size)
    write_tensors(tensors, Path(path), metadata)


def published_layout(model: Stellar) -> list[Entry]:
    """Every tensor of the published layout of this architecture, with its place in the model."""
    return list(_layout(model))


def _layout(model: Stellar) -> Iterator[Entry]:
    config = model.config
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}

    def both(published: str, name: str) -> Iterator[Entry]:
        for kind in ("weight", "bias"):
            if f"{name}.{kind}" in own:
                yield Entry(f"{published}.{kind}", own[f"{name}.{kind}"], f"{name}.{kind}")

    def one(published: str, name: str) -> Entry:
        return Entry(published, own[name], name)

    yield one("sparse_tokens", "sparse_tokens")
    yield one("encoder.embeddings.cls_token", "embedding.cls_token")
    yield one("encoder.embeddings.position_embeddings", "embedding.positions")
    yield from both("encoder.embeddings.patch_embeddings.projection", "embedding.projection")
    yield from _transformer("encoder", "transformer", config.width, config.depth, both)
    yield from _unused_decoder_embeddings(config.decoder_width)
    yield from _transformer(
        "decoder", "decoder.transformer", config.decoder_width, config.decoder_depth, both
    )
    yield one("position_embedding.positional_encoding_gaussian_matrix", "decoder.position_code.matrix")
    yield from both("dense_proj", "factorization.dense_proj")
    yield from both("sparse_proj", "factorization.sparse_proj")
    yield from both("decoder_proj", "decoder.projection")
    yield from both("reconstruction_head", "reconstruction_head")
    for head in ("clustering_head", "cls_cluster_head"):
        yield from both(f"{head}.layer", f"{head}.prototypes")
        yield from both(f"{head}.predictor.layers.0", f"{head}.fc1")
        yield from both(f"{head}.predictor.layers.2", f"{head}.fc2")
    for name in own:
        if name.startswith(TOKENIZER_PREFIX):
            yield one(name, name)


def _transformer(published: str, name: str, width: int, depth: int, both: Pairs) -> Iterator[Entry]:
    for i in range(depth):
        there, here = f"{published}.encoder.layer.{i}", f"{name}.blocks.{i}"
        for j, part in enumerate(("query", "key", "value")):
            rows = slice(j * width, (j + 1) * width)
            there_part = f"{there}.attention.attention.{part}"
            yield Entry(f"{there_part}.weight", (width, width), f"{here}.attention.qkv.weight", rows)
            yield Entry(f"{there_part}.bias", (width,), f"{here}.attention.qkv.bias", rows)
        yield from both(f"{there}.attention.output.dense", f"{here}.attention.output")
        yield from both(f"{there}.intermediate.dense", f"{here}.fc1")
        yield from both(f"{there}.output.dense", f"{here}.fc2")
        yield from both(f"{there}.layernorm_before", f"{here}.norm_before")
        yield from both(f"{there}.layernorm_after", f"{here}.norm_after")
    yield from both(f"{published}.layernorm", f"{name}.norm")
    yield Entry(f"{published}.pooler.dense.weight", (width, width), None)
    yield Entry(f"{published}.pooler.dense.bias", (width,), None)


def _unused_decoder_embeddings(width: int) -> Iterator[Entry]:
    # The authors' decoder is a whole ViT of the default kind: 224 pixels, patches of 16.
    yield Entry("decoder.embeddings.cls_token", (1, 1, width), None)
    yield Entry("decoder.embeddings.position_embeddings", (1, 197, width), None)
    yield Entry("decoder.embeddings.patch_embeddings.projection.weight", (width, 3, 16, 16), None)
    yield Entry("decoder.embeddings.patch_embeddings.projection.bias", (width,), None)


def version_4_name(key: str) -> str:
    """A published name in transformers 4's form, whichever form it has."""
    key = key.removeprefix("model.")
    for pattern, replacement in _TRANSFORMERS_5:
        key = pattern.sub(replacement, key)
    return key


def _infer_config(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], num_heads: int | None
) -> StellarConfig:
    """Read the architecture off the shapes: the heads off the width and the picture off its patches, as a
    square, unless the file tells them.
    """

    def shape(name: str, dimensions: int) -> tuple[int, ...]:
        if name not in tensors:
            raise CheckpointError(f"missing key {name}: is this a STELLAR checkpoint?")
        found = tuple(tensors[name].shape)
        if len(found) != dimensions:
            raise CheckpointError(f"{name}: expected {dimensions} dimensions, got shape {list(found)}")
        return found

    def depth(part: str) -> int:
        pattern = re.compile(rf"^{part}\.encoder\.layer\.(\d+)\.")
        return 1 + max((int(m[1]) for key in tensors if (m := pattern.match(key))), default=-1)

    num_heads = num_heads or int(metadata.get("num_heads", 0))
    num_sparse_tokens, width = shape("sparse_tokens", 2)
    patch_size = shape("encoder.embeddings.patch_embeddings.projection.weight", 4)[2]
    num_patches = shape("encoder.embeddings.position_embeddings", 3)[1] - 1
    square = math.isqrt(num_patches) * patch_size
    if not num_heads and width not in HEADS_BY_WIDTH:
        raise CheckpointError(
            f"the attention heads of an encoder {width} wide can't be read off its shapes: say num_heads"
        )
    prediction = tensors.get("reconstruction_head.weight")
    head: Head = "vq" if prediction is not None and prediction.ndim == 2 else "pixel"
    if head == "vq" and not any(key.startswith(TOKENIZER_PREFIX) for key in tensors):
        raise TokenizerMissing("this VQ checkpoint holds no tokenizer: give the VQGAN's file as well (vqgan)")
    num_prototypes, prototype_width = shape("clustering_head.layer.weight", 2)
    try:
        return StellarConfig(
            image_size=image_size(json.loads(metadata.get("image_size", f"{square}"))),
            patch_size=patch_size,
            num_sparse_tokens=num_sparse_tokens,
            width=width,
            depth=depth("encoder"),
            num_heads=num_heads or HEADS_BY_WIDTH[width],
            mlp_width=shape("encoder.encoder.layer.0.intermediate.dense.weight", 2)[0],
            decoder_width=shape("decoder_proj.weight", 2)[0],
            decoder_depth=depth("decoder"),
            decoder_mlp_width=shape("decoder.encoder.layer.0.intermediate.dense.weight", 2)[0],
            head=head,
            num_prototypes=num_prototypes,
            prototype_width=prototype_width,
            predictor_width=shape("clustering_head.predictor.layers.0.weight", 2)[0],
            vqgan_channels=shape("tokenizer.encoder.conv_in.weight", 4)[0] if head == "vq" else 128,
        )
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"the shapes describe no STELLAR model: {error}") from error


def _fill(model: Stellar, tensors: Mapping[str, Tensor]) -> None:
    """Copy every tensor to its place; complain of all keys and shapes that don't fit, at once."""
    layout = {entry.published: entry for entry in _layout(model)}
    problems = [f"unknown key {key} {list(tensors[key].shape)}" for key in tensors if key not in layout]
    state = model.state_dict()
    for key, entry in layout.items():
        if key not in tensors:
            problems.append(f"missing key {key}, expected shape {list(entry.shape)}")
        elif tuple(tensors[key].shape) != entry.shape:
            problems.append(f"{key}: expected shape {list(entry.shape)}, got {list(tensors[key].shape)}")
        elif entry.name is not None:
            state[entry.name][entry.rows].copy_(tensors[key])
    if problems:
        shown = "; ".join(problems[:8])
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise CheckpointError(f"{len(problems)} keys do not fit: {shown}{more}")
