"""The training loop: a run in a folder that can be stopped at any time and goes on exactly.

B batch · S side of the stored picture
"""

from __future__ import annotations

import math
import signal
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from model import Stellar
from training.config import RunConfig
from training.config_file import save_config
from training.data.draws import Draws
from training.data.masking import draw_kept
from training.data.pictures import PictureBatch, picture_batches
from training.data.streams import State, Stream, open_stream
from training.data.views import make_views
from training.errors import DivergedError
from training.losses.named import Losses
from training.losses.objective import Objective, make_objective
from training.run.groups import freeze, parameter_groups
from training.run.memory import keep_freed_memory
from training.run.parallel import gradient_norm, parallelize, synchronized
from training.run.processes import Processes, this_process
from training.run.provenance import record_start
from training.run.report import Report
from training.run.schedule import learning_rate
from training.run.start import start_model
from training.run.state import Progress, RunState, read_state, restore, save_state
from training.run.trackers import expect_installed
from training.run.validation import Validation

DRAWS_PER_SEED = 1 << 32
"""Steps between the draws of one seed and the next's."""


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


class StepResult(NamedTuple):
    """What one step gave, the same on every process."""

    metrics: dict[str, float]
    finite: bool
    """Whether the step was taken."""
    unreadable: int
    """Pictures that could not be read for it."""
    stop: bool
    """Whether any process was told to stop."""


class Trainer:
    """One run: model, optimizer and pictures of a `RunConfig`, in its folder.

    Where processes train together, each makes its own Trainer on the same run and folder.
    """

    def __init__(self, run: RunConfig, folder: Path, processes: Processes | None = None) -> None:
        """Build the model, or read it from `init`, or else restore the folder's state if it holds one.

        Raises `ValueError` where `init` is of another architecture, the state is of another run, or there
        are no pictures.
        """
        self.run_config, self.config, self.folder = run, run.training, folder
        self.processes = processes or this_process()
        config, self.device = self.config, self.processes.device
        # Before the model is built, which can take minutes.
        expect_installed(config.trackers)
        left_out = self._open_stream(None).left_out
        torch.manual_seed(config.seed)
        saved, fallback = read_state(folder)
        # What a run began from may be gone: all that it has learnt is in its state.
        model, adapted = start_model(run) if saved is None else (Stellar(run.model), "")
        model = model.to(self.device).train()
        freeze(model, config)
        self.objective = make_objective(model, config)
        self.step_objective = parallelize(self.objective, config, self.processes)
        groups = parameter_groups(self.objective, config)
        self.rate_shares = [group.rate_share for group in groups]
        self.optimizer = AdamW(
            [{"params": group.parameters, "weight_decay": group.weight_decay} for group in groups],
            lr=config.learning_rate,
            betas=(0.9, config.beta2),
            fused=True,
        )
        state = RunState(Progress(0, 0, 0), None)
        if saved is not None:
            state = restore(saved, folder, self.objective, self.optimizer, self.processes)
        self.progress, self.stream_state = state
        self.stream = self._open_stream(self.stream_state)
        self.saved_step = self.progress.step
        lines = (left_out, fallback, adapted, self.stream.changed)
        self.notices = [line for line in lines if line]
        """What may be otherwise than expected: pictures, the state, the weights."""
        looks = run.held_out is not None or config.held_out_share > 0
        self.validation = Validation(run, self.processes) if looks else None

    def _open_stream(self, state: State | None) -> Stream:
        return open_stream(
            self.run_config.pictures,
            seed=self.config.seed,
            batch_size=self.config.batch_size,
            rank=self.processes.rank,
            world_size=self.processes.world_size,
            state=state,
            held_out_share=self.config.held_out_share,
            others=self.run_config.held_out,
        )

    def run(self) -> bool:
        """Train to the last step; True where it was reached, False where a signal stopped the run before.

        Either way the state is saved. Raises `DivergedError`, `OSError` where the state can't be written, and
        `ValueError` where the pictures can't be read.
        """
        config, stop = self.config, Stop()
        keep_freed_memory()
        if self.processes.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_config(self.run_config, self.folder)
            record_start(self.folder, self.progress.step, self.processes)
        if self.validation is not None:
            self.validation.open(self.folder, self.progress.step)
        batches = self._batches()
        with stop.listening(), closing(batches), self._report() as report:
            if self.validation is not None and self.validation.told:
                report.say(self.validation.told)
            begun, skipped_in_a_row = self.progress, 0
            self._validate(report)
            while self.progress.step < config.steps:
                step = self.progress.step
                measured = self._step(step, batches, stop)
                skipped_in_a_row = 0 if measured.finite else skipped_in_a_row + 1
                self.progress = Progress(
                    step + 1,
                    self.progress.skipped + (not measured.finite),
                    self.progress.unreadable + measured.unreadable,
                )
                if step % config.log_every == 0 or self.progress.step == config.steps or not measured.finite:
                    counts = {"skipped": self.progress.skipped, "unreadable": self.progress.unreadable}
                    report.log(step, measured.metrics | counts)
                if skipped_in_a_row >= config.max_skipped:
                    raise DivergedError(
                        f"{skipped_in_a_row} steps in a row had no finite loss and gradient: "
                        f"the state before step {step + 1 - skipped_in_a_row} is kept; try a lower rate"
                    )
                if self.progress.step % config.save_every == 0 and not skipped_in_a_row:
                    self._save()
                if measured.stop:
                    break
                if not skipped_in_a_row:
                    self._validate(report)
            done, skipped = self.progress.step - begun.step, self.progress.skipped - begun.skipped
            if done == skipped > 0 and self.progress.step >= config.steps:
                raise DivergedError(
                    f"none of {done} steps had a finite loss and gradient: "
                    "the state before them is kept; try a lower rate"
                )
            self._save()
        return self.progress.step >= config.steps

    def _step(self, step: int, batches: Iterator[PictureBatch], stop: Stop) -> StepResult:
        """One step; a loss or gradient that is not finite, on any process, leaves the weights as they are."""
        config, rate = self.config, learning_rate(step, self.config)
        for group, share in zip(self.optimizer.param_groups, self.rate_shares, strict=True):
            group["lr"] = rate * share
        self.optimizer.zero_grad(set_to_none=True)
        sums, unreadable = None, 0
        for part in range(config.accumulation):
            batch = next(batches)
            unreadable, self.stream_state = unreadable + batch.unreadable, batch.state
            last = part + 1 == config.accumulation
            with synchronized(self.step_objective, last):
                losses = self._losses(step * config.accumulation + part, batch)
                if not losses.total.requires_grad:
                    raise ValueError("frozen: expected something that a loss with a weight reaches, got none")
                (losses.total / config.accumulation).backward()  # type: ignore[no-untyped-call]
            values = torch.stack([losses.total.detach(), *(loss.detach() for loss in losses.named.values())])
            sums = values if sums is None else sums + values
        assert sums is not None
        norm = gradient_norm(clip_grad_norm_(self.objective.parameters(), config.gradient_clip))
        told = sums.new_tensor([float(stop.requested), float(unreadable)])
        *means, stopped, unreadable_mean = self.processes.mean(
            torch.cat([sums / config.accumulation, told])
        ).tolist()
        finite = math.isfinite(means[0]) and math.isfinite(norm)
        if finite:
            self.optimizer.step()
            if isinstance(self.objective, Objective) and self.objective.teacher is not None:
                self.objective.teacher.update(self.objective.model)
        metrics = dict(zip(("loss", *losses.named), means, strict=True))
        metrics |= {"learning_rate": rate, "gradient_norm": norm}
        unreadable_of_all = round(unreadable_mean * self.processes.world_size)
        return StepResult(metrics, finite, unreadable_of_all, stopped > 0)

    def _losses(self, number: int, batch: PictureBatch) -> Losses:
        """Losses of the batch with this number, counted from 0 over the whole run."""
        return self._losses_of(self.config.seed * DRAWS_PER_SEED + number, batch)

    def _losses_of(self, seed: int, batch: PictureBatch) -> Losses:
        """Losses of a batch whose views are drawn from a seed on."""
        config, processes, grid = self.config, self.processes, self.run_config.model.grid
        size = len(batch.pixels)
        first, total = processes.rank * size, processes.world_size * size
        draws = Draws(seed, size, first=first, total=total, device=self.device)
        pixels = batch.pixels.to(self.device, non_blocking=True)
        aspect = batch.aspect.to(self.device, non_blocking=True)
        views = make_views(pixels, aspect, self.run_config.model.size, config, draws)
        kept = draw_kept(draws, config.num_masks, grid, config.mask_ratio) if config.num_masks else None
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=config.bf16):
            return self.step_objective(views, kept)  # type: ignore[no-any-return]

    def _batches(self) -> Generator[PictureBatch]:
        return picture_batches(
            self.stream,
            batch_size=self.config.batch_size,
            size=self.config.picture_size,
            workers=self.config.workers,
            pin_memory=self.device.type == "cuda",
        )

    def _report(self) -> Report:
        config = self.config
        return Report(
            self.run_config,
            self.folder if self.processes.first else None,
            first_step=self.progress.step,
            batch_size=config.batch_size * config.accumulation * self.processes.world_size,
        )

    def _validate(self, report: Report) -> None:
        """Look at the held-out pictures where it is time; keep the weights if they are better than ever."""
        step = self.progress.step
        if self.validation is None or not self.validation.due(step):
            return
        self.step_objective.eval()
        figures = self.validation.measure(self._losses_of)
        self.step_objective.train()
        kept = self.validation.best
        assert kept is not None
        best = kept.beaten_by(figures)
        if best:
            if step:
                self._save()  # a run that goes on has then done what is the best
            kept.keep(step, figures, self.objective)
        self.validation.add(step, figures)
        report.held_out(step, figures, best)

    def _save(self) -> None:
        if self.saved_step == self.progress.step:
            return
        self.saved_step = self.progress.step
        state = RunState(self.progress, self.stream_state)
        save_state(self.folder, self.objective, self.optimizer, state, self.run_config, self.processes)
