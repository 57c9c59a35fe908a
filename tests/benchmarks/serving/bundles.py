"""The models that are served: the bundled one, and B/16 with random weights."""

from __future__ import annotations

from pathlib import Path

from service.settings import BUNDLED_MODELS

TINY = "stellar-tiny"
B16 = "b16"


def bundle_folder(model: str, out: Path) -> Path:
    """The folder of a model's bundle; made where it is missing, which for B/16 takes PyTorch and a minute."""
    if model == TINY:
        return BUNDLED_MODELS / TINY
    folder = out / "models" / model
    if not folder.exists():
        _export(model, folder)
    return folder


def _export(preset: str, folder: Path) -> None:
    """A preset with random weights, as a bundle: speed does not depend on what the weights are."""
    import torch

    from model import Stellar, get_preset
    from model.checkpoint import save_checkpoint
    from model.export import export_bundle

    torch.manual_seed(0)
    model = Stellar(get_preset(preset))
    folder.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = folder.with_suffix(".safetensors")
    save_checkpoint(model, checkpoint)
    export_bundle(model, folder, name=preset, checkpoint=checkpoint)
