"""The training loop: a run in a folder that can be stopped at any time and goes on exactly.

B batch · S side of the stored picture
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import AdamW

from model import Stellar, load_checkpoint, save_checkpoint
from training.config import RunConfig
from training.draws import Draws
from training.masking import draw_kept
from training.objective import Losses, Objective
from training.pictures import PictureBatch, PictureFolder, picture_batches
from training.report import Report
from training.schedule import learning_rate
from training.state import CHECKPOINT_FILE, Progress, load_state, save_state
from training.views import make_views

UNDECAYED = ("cls_token", "positions", "sparse_tokens")
"""Parameters with two axes and more that are embeddings, not matrices."""
DRAWS_PER_SEED = 1 << 32
"""Steps between the draws of one seed and the next's."""


class DivergedError(RuntimeError):
    """Too many steps in a row had a loss or gradient that was not finite."""


class Stop:
    """Set by SIGTERM or SIGINT; the loop looks at it between steps."""

    def __init__(self) -> None:
        self.requested = False

    def request(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over, and give them back at the end."""
        before = {number: signal.signal(number, self.request) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Trainer:
    """One run: model, optimizer and data of a `RunConfig`, in its folder."""

    def __init__(self, run: RunConfig, folder: Path, device: torch.device | None = None) -> None:
        """Build the model, or read it from `init`, and restore the folder's state if it holds one.

        Raises `ValueError` where `init` is of another architecture or the folder has no pictures.
        """
        self.config, self.folder = run.training, folder
        self.pictures = PictureFolder(Path(run.pictures), run.training.picture_size)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(self.config.seed)
        self.objective = Objective(_start_model(run).to(self.device).train(), self.config)
        self.image_size, self.grid = run.model.image_size, run.model.grid
        self.optimizer = AdamW(
            _parameter_groups(self.objective.model, self.config.weight_decay),
            lr=self.config.learning_rate,
            betas=(0.9, self.config.beta2),
            fused=True,
        )
        self.progress = load_state(folder, self.objective, self.optimizer)

    def run(self) -> bool:
        """Train to the last step; True where it was reached, False where a signal stopped the run before.

        Either way the state is saved. Raises `DivergedError`.
        """
        config, stop = self.config, Stop()
        with stop.listening(), self._report() as report, _attention(self.device):
            batches = self._batches()
            saved_step, skipped_in_a_row = self.progress.step, 0
            while self.progress.step < config.steps and not stop.requested:
                step = self.progress.step
                batch = next(batches)
                metrics, finite = self._step(step, batch)
                skipped_in_a_row = 0 if finite else skipped_in_a_row + 1
                self.progress = Progress(
                    step + 1,
                    self.progress.skipped + (not finite),
                    self.progress.unreadable + int(batch.unreadable.sum()),
                )
                if step % config.log_every == 0 or self.progress.step == config.steps or not finite:
                    counts = {"skipped": self.progress.skipped, "unreadable": self.progress.unreadable}
                    report.log(step, metrics | counts)
                if skipped_in_a_row >= config.max_skipped:
                    raise DivergedError(
                        f"{skipped_in_a_row} steps in a row had no finite loss and gradient: "
                        f"the state before step {step + 1 - skipped_in_a_row} is kept; try a lower rate"
                    )
                if self.progress.step % config.save_every == 0 and not skipped_in_a_row:
                    self._save()
                    saved_step = self.progress.step
            if saved_step != self.progress.step:
                self._save()
        return self.progress.step >= config.steps

    def _step(self, step: int, batch: PictureBatch) -> tuple[dict[str, float], bool]:
        """Metrics of one step, and whether it was taken: a loss or gradient that is not finite skips it."""
        rate = learning_rate(step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = self._losses(step, batch)
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.objective.model.parameters(), self.config.gradient_clip)
        total, gradient_norm = losses.total.item(), norm.item()
        finite = math.isfinite(total) and math.isfinite(gradient_norm)
        if finite:
            self.optimizer.step()
            if self.objective.teacher is not None:
                self.objective.teacher.update(self.objective.model)
        named = {name: loss.item() for name, loss in losses.named.items()}
        return {"loss": total, **named, "learning_rate": rate, "gradient_norm": gradient_norm}, finite

    def _losses(self, step: int, batch: PictureBatch) -> Losses:
        config = self.config
        draws = Draws(config.seed * DRAWS_PER_SEED + step, len(batch.aspect), device=self.device)
        pixels = batch.pixels.to(self.device, non_blocking=True)
        aspect = batch.aspect.to(self.device, non_blocking=True)
        views = make_views(pixels, aspect, self.image_size, config, draws)
        num_masked = config.num_masked_views
        kept = draw_kept(draws, num_masked, self.grid, config.mask_ratio) if num_masked else None
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=config.bf16):
            return self.objective(views, kept)  # type: ignore[no-any-return]

    def _batches(self) -> Iterator[PictureBatch]:
        return picture_batches(
            self.pictures,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            workers=self.config.workers,
            first_batch=self.progress.step,
            pin_memory=self.device.type == "cuda",
        )

    def _report(self) -> Report:
        return Report(
            self.folder,
            first_step=self.progress.step,
            steps=self.config.steps,
            batch_size=self.config.batch_size,
        )

    def _save(self) -> None:
        save_state(self.folder, self.objective, self.optimizer, self.progress)


def _start_model(run: RunConfig) -> Stellar:
    if run.init is None:
        return _new_model(run)
    model = load_checkpoint(run.init, vqgan=run.vqgan, num_heads=run.model.num_heads)
    if model.config != run.model:
        raise ValueError(f"init: expected {run.model}, got {model.config} in {run.init}")
    return model


def _new_model(run: RunConfig) -> Stellar:
    """Random weights, and a trained VQGAN under a VQ head."""
    model = Stellar(run.model)
    if run.model.head == "pixel":
        return model
    if run.vqgan is None:
        raise ValueError("vqgan: a VQ head learns the codes of a trained VQGAN; expected its file, got none")
    # Reading checkpoints is what knows the VQGAN's names, so the new weights take the way through a file.
    with TemporaryDirectory() as folder:
        path = Path(folder) / CHECKPOINT_FILE
        save_checkpoint(model, path)
        return load_checkpoint(path, vqgan=run.vqgan, num_heads=run.model.num_heads)


def _parameter_groups(model: Stellar, weight_decay: float) -> list[dict[str, object]]:
    """Matrices, which decay, and the rest, which does not."""
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and not name.endswith(UNDECAYED)
            (matrices if decays else others).append(parameter)
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


@contextmanager
def _attention(device: torch.device) -> Iterator[None]:
    """On a CPU, plain matrix products: for some hundred tokens they beat the fused kernel."""
    with nullcontext() if device.type == "cuda" else sdpa_kernel(SDPBackend.MATH):
        yield
