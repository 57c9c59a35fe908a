"""Starting an encoder from a ViT-MAE checkpoint (He et al. 2022, arXiv:2111.06377), as the paper does."""

from __future__ import annotations

from pathlib import Path

import torch

from model.checkpoint import published_layout, version_4_name
from model.stellar import Stellar
from model.tensor_file import CheckpointError, read_tensors


@torch.no_grad()
def load_vit_mae(path: str | Path, model: Stellar) -> None:
    """Copy the encoder of a ViT-MAE checkpoint (such as `facebook/vit-mae-base`) into the model's.

    Sparse tokens, factorization, decoder and heads keep their values. transformers 4 and 5 names are
    understood, with and without the `vit.` prefix.

    Raises `CheckpointError` for a missing or unknown key or a wrong shape, `ValueError` where the model's
    pictures are no squares, and `FileNotFoundError`.
    """
    height, width = model.config.size
    if height != width:
        # As many patches in other rows would fit, and all positions be wrong.
        raise ValueError(
            f"vit_mae: a ViT-MAE's pictures are squares; got image_size {height} × {width}: begin with a "
            "square, and go on from its checkpoint by --init"
        )
    found = {
        version_4_name(f"encoder.{name.removeprefix('vit.')}"): tensor
        for name, tensor in read_tensors(path).items()
        if not name.startswith("decoder.")  # the autoencoder's own, with its mask token
    }
    wanted = {
        entry.published: entry
        for entry in published_layout(model)
        if entry.published.startswith("encoder.") and entry.name is not None
    }
    problems = [f"unknown key {name}" for name in found if name not in wanted]
    for name, entry in wanted.items():
        if name not in found:
            problems.append(f"missing key {name.replace('encoder.', 'vit.', 1)}")
        elif tuple(found[name].shape) != entry.shape:
            problems.append(f"{name}: expected shape {list(entry.shape)}, got {list(found[name].shape)}")
    if problems:
        shown = "; ".join(problems[:8])
        raise CheckpointError(f"{path}: expected a ViT-MAE encoder of {model.config}, got {shown}")
    state = model.state_dict()
    for name, entry in wanted.items():
        assert entry.name is not None
        state[entry.name][entry.rows].copy_(found[name])
