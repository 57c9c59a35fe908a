"""The models that are served: the bundled one, and B/16 with random weights."""

from __future__ import annotations

from pathlib import Path

from service.settings import BUNDLED_MODELS

TINY = "stellar-tiny"
B16 = "b16"


def bundle_folder(model: str, out: Path) -> Path:
    """The folder of a model's bundle: the bundled one, or a preset with random weights."""
    return BUNDLED_MODELS / TINY if model == TINY else random_bundle(model, out)


def random_bundle(preset: str, out: Path, **overrides: int) -> Path:
    """The folder of a preset's bundle with random weights, on which its speed does not depend.

    Made where it is missing, which takes PyTorch, and a minute for B/16.
    """
    name = "-".join([preset, *(f"{field}-{value}" for field, value in overrides.items())])
    folder = out / "models" / name
    if not folder.exists():
        import torch

        from model import Stellar, get_preset
        from model.checkpoint import save_checkpoint
        from model.export import export_bundle

        torch.manual_seed(0)
        model = Stellar(get_preset(preset, **overrides))
        folder.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = folder.parent / f"{name}.safetensors"
        save_checkpoint(model, checkpoint)
        export_bundle(model, folder, name=name, checkpoint=checkpoint)
        checkpoint.unlink()
    return folder
