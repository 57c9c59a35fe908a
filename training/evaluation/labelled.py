"""What a model's frozen features are worth on a labelled set of one's own, and its reconstructions there."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from model import Stellar
from training.data.labelled import labelled_batches
from training.evaluation.decoder_probe import Kind, decoder_probe
from training.evaluation.evaluation import BATCH_SIZE, untrained_like
from training.evaluation.likeness import Likeness, likeness
from training.evaluation.semantics import labelled_semantics

Value = TypeVar("Value")


def measure_labelled(model: Stellar, pictures: Path, *, probe_steps: int) -> Likeness:
    """Figures on a labelled set with the parts `train` and `test`, and why some are missing.

    Each part is a folder LABEL/NAME.*, or of Parquet files or WebDataset archives with a label. Semantics
    (`labelled_semantics`), `labelled_…`, the likeness of the test pictures' reconstructions (`likeness`), and
    the PSNR of decoders trained for `probe_steps` steps on frozen tokens and on frozen patches.
    Raises `ValueError` where a part has no labelled pictures.
    """
    model, train, test = model.eval(), pictures / "train", pictures / "test"
    figures = labelled_semantics(model, untrained_like(model), pictures)
    batches = labelled_batches(test, model.config.size, BATCH_SIZE)
    told = likeness(model, (batch.images for batch in batches))
    figures |= _of_labelled(told.figures)  # `measure` has the same of the sample photos
    kinds: tuple[Kind, ...] = ("tokens", "dense")
    for kind in kinds:
        decoded = decoder_probe(model, str(train), test, kind, steps=probe_steps)
        figures[f"decoder_probe_psnr_db_{kind}"] = decoded
    return Likeness(figures, _of_labelled(told.missing))


def _of_labelled(by_name: dict[str, Value]) -> dict[str, Value]:
    return {f"labelled_{name}": value for name, value in by_name.items()}
