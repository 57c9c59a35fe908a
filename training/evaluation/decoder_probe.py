"""How much of a picture frozen features still hold: a decoder trained on them, however they were learnt.

B batch · N = h·w patches · D encoder width · H, W pixels
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from model import Stellar
from training.data.labelled import labelled_batches
from training.data.pictures import picture_batches
from training.data.streams import open_stream

Kind = Literal["tokens", "dense"]
"""Z = L S of the tokens, or a feature of each patch's own."""

BATCH_SIZE = 64
LEARNING_RATE = 2e-3


def decoder_probe(model: Stellar, training: str, test: Path, kind: Kind, *, steps: int) -> float:
    """Mean PSNR in dB on the test pictures of a new decoder, trained on frozen features of the others.

    The decoder is of the model's own kind, with a pixel head; its loss is the squared error.
    """
    size, grid = model.config.size, model.config.grid
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        probe = Stellar(model.config).to(model.mean.device)
    learnt = [*probe.decoder.parameters(), *probe.reconstruction_head.parameters()]
    optimizer = torch.optim.AdamW(learnt, lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.05
    )

    def predict(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
        features = embedding(model, images, kind)
        return probe.predict(probe.decoder(features, grid), grid)

    batches = picture_batches(
        open_stream(training, seed=0, batch_size=BATCH_SIZE), batch_size=BATCH_SIZE, size=size, workers=1
    )
    for _ in track(range(steps), f"Decoder probe on {kind}", transient=True):
        images = next(batches).pixels.to(model.mean.device).float() / 255
        loss = F.mse_loss(predict(images), images)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    batches.close()
    with torch.no_grad():
        return mean_psnr((batch, predict(batch).clamp(0, 1)) for batch in _images(test, model))


@torch.no_grad()
def embedding(model: Stellar, images: Float[Tensor, "B 3 H W"], kind: Kind) -> Float[Tensor, "B N D"]:
    """The frozen features that a decoder gets."""
    encoding = model.encode(images)
    if kind == "dense":
        return encoding.dense
    return model.localize(encoding.dense, encoding.sparse) @ encoding.sparse


@torch.no_grad()
def own_psnr(model: Stellar, test: Path) -> float:
    """Mean PSNR in dB of the model's own reconstructions of the test pictures."""

    def pairs() -> Iterator[tuple[Tensor, Tensor]]:
        for images in _images(test, model):
            encoding, localization = model(images)
            yield images, model.render(encoding.sparse, localization)

    return mean_psnr(pairs())


def mean_psnr(pairs: Iterator[tuple[Tensor, Tensor]]) -> float:
    """The mean of each picture's PSNR in dB; a difference below a tenth of a grey level counts as that."""
    smallest = (0.1 / 255) ** 2
    decibels = [
        -10 * (drawn - image).square().mean(dim=(1, 2, 3)).clamp(min=smallest).log10()
        for image, drawn in pairs
    ]
    return float(torch.cat(decibels).mean())


def _images(test: Path, model: Stellar) -> Iterator[Float[Tensor, "B 3 H W"]]:
    for batch in labelled_batches(test, model.config.size, 256):
        yield batch.images.to(model.mean.device)
