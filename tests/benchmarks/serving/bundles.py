"""The models that are served: the bundled one, B/16 with random weights, and one that costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from service.settings import BUNDLED_MODELS
from tests.benchmarks.serving.free import FREE, write_free

if TYPE_CHECKING:  # exporting alone takes PyTorch
    from model.precision import Precision

TINY = "stellar-tiny"
B16 = "b16"


def bundle_folder(model: str, out: Path, precision: Precision = "fp32") -> Path:
    """The folder of a model's bundle: the bundled one, the free one, or a preset with random weights."""
    if model == FREE:
        folder = _folder(out, FREE)
        if not folder.exists():
            write_free(folder)
        return folder
    if model != TINY:
        return random_bundle(model, out, precision)
    if precision == "fp32":
        return BUNDLED_MODELS / TINY
    folder = _folder(out, f"{TINY}-{precision}")
    if not folder.exists():
        from model.checkpoint import load_checkpoint
        from model.export import export_bundle

        checkpoint = Path("training/cards") / f"{TINY}.safetensors"
        stellar = load_checkpoint(checkpoint)
        export_bundle(stellar, folder, name=folder.name, checkpoint=checkpoint, precision=precision)
    return folder


def random_bundle(preset: str, out: Path, precision: Precision = "fp32", **overrides: int) -> Path:
    """The folder of a preset's bundle with random weights, on which its speed does not depend.

    Made where it is missing, which takes PyTorch, and a minute for B/16.
    """
    name = "-".join([preset, precision, *(f"{field}-{value}" for field, value in overrides.items())])
    folder = _folder(out, name)
    if not folder.exists():
        import torch

        from model import Stellar, get_preset
        from model.checkpoint import save_checkpoint
        from model.export import export_bundle

        torch.manual_seed(0)
        model = Stellar(get_preset(preset, **overrides))
        last = model.reconstruction_head if model.tokenizer is None else model.tokenizer.decoder.conv_out
        with (
            torch.no_grad()
        ):  # hardly any contrast: noise in 8 bits is further from noise than an export allows
            for weights in last.parameters():
                weights.mul_(0.01)
        folder.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = folder.parent / f"{name}.safetensors"
        save_checkpoint(model, checkpoint)
        export_bundle(model, folder, name=name, checkpoint=checkpoint, precision=precision)
        checkpoint.unlink()
    return folder


def _folder(out: Path, name: str) -> Path:
    """Each bundle is alone in a folder: the service serves all that it finds beside one."""
    return (out / "models" / name / name).absolute()
