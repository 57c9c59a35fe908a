"""Images/s of one whole training step, and where its time goes: `make benchmark-training`.

A step has a reference view, 8 masked views and 8 local crops of each picture, forward, backward and the
optimizer. Ours is compared with the authors' way (`authors_step.py`) on the same views; that both have the
same loss is checked. On a CPU one thread works, and its processor time counts, not the clock, so that other
work on the machine matters little; rounds are interleaved, each in a new process, and the fastest step
counts.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any
from unittest import mock

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from model import Stellar, get_preset
from model.clustering import ClusteringHead
from tests.benchmarks.authors_step import AuthorsStep
from training.data.draws import Draws
from training.data.masking import draw_kept
from training.data.views import make_views
from training.losses import objective as objective_module
from training.losses.objective import Objective
from training.recipes import get_recipe
from training.run.memory import keep_freed_memory

BATCH_SIZES = {"tiny": 32, "b16": 2}
"""Pictures of a step on a CPU; a GPU gets 8 times as many."""
ROUNDS, STEPS = 2, 3
STAGES = (
    "views",
    "encode reference",
    "encode masked",
    "encode local",
    "decoder",
    "VQ codes",
    "heads",
    "Sinkhorn, matching",
    "other losses",
    "backward",
    "optimizer",
)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def now() -> float:
    """Seconds, of this process's work on a CPU."""
    if DEVICE == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


class Stopwatch:
    """Gives every moment to the innermost stage that runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.running: list[str] = []
        self.since = now()

    def enter(self, stage: str) -> None:
        self._book()
        self.running.append(stage)

    def leave(self) -> None:
        self._book()
        self.running.pop()

    def _book(self) -> None:
        moment = now()
        if self.running:
            self.seconds[self.running[-1]] += moment - self.since
        self.since = moment

    def timed(self, function: Callable[..., Any], *stages: str) -> Callable[..., Any]:
        """The function, its calls in turn booked on the stages."""
        calls = 0

        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            self.enter(stages[calls % len(stages)])
            calls += 1
            try:
                return function(*arguments, **options)
            finally:
                self.leave()

        return wrapped


def measure(size: str, bf16: bool, ours: bool) -> tuple[float, float, dict[str, float]]:
    """Images/s of the fastest step, the first step's loss, and the seconds of each stage of one more; the
    stages are ours alone.
    """
    torch.set_num_threads(1)
    if ours:
        keep_freed_memory()
    recipe = get_recipe(size, masked_views=8, local_crops=8, bf16=bf16)
    batch_size = BATCH_SIZES[size] * (1 if DEVICE == "cpu" else 8)
    torch.manual_seed(0)
    model = Stellar(get_preset(size)).to(DEVICE).train()
    losses_of = (Objective if ours else AuthorsStep)(model, recipe)
    optimizer = AdamW(model.parameters(), lr=1e-5, fused=True)
    shape = batch_size, 3, recipe.picture_size, recipe.picture_size
    pictures = torch.randint(0, 256, shape, dtype=torch.uint8).to(DEVICE)
    aspect = torch.ones(batch_size, device=DEVICE)

    def step(number: int, watch: Stopwatch) -> float:
        watch.enter("views")
        draws = Draws(number, batch_size, device=DEVICE)
        views = make_views(pictures, aspect, model.config.size, recipe, draws)
        kept = draw_kept(draws, recipe.num_masked_views, model.config.grid, recipe.mask_ratio)
        watch.leave()
        watch.enter("other losses")
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=bf16):
            losses = losses_of(views, kept)
        watch.leave()
        watch.enter("backward")
        losses.total.backward()
        watch.leave()
        watch.enter("optimizer")
        clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        watch.leave()
        return float(losses.total.detach())

    loss = step(0, Stopwatch())
    fastest = float("inf")
    for number in range(STEPS):
        began = now()
        step(number + 1, Stopwatch())
        fastest = min(fastest, now() - began)
    watch = Stopwatch()
    if ours:
        with watched(model, watch):
            step(STEPS + 1, watch)
    return batch_size / fastest, loss, dict(watch.seconds)


def watched(model: Stellar, watch: Stopwatch) -> ExitStack:
    """Book the parts of the forward pass on their stages while the context lasts."""
    parts = ExitStack()
    for owner, name, stages in (
        (model, "encode", ("encode reference",)),
        (model, "encode_tokens", ("encode masked",)),
        (model, "encode_cls", ("encode local",)),
        (model, "localize", ("decoder",)),
        (model, "decode", ("decoder",)),
        (model, "predict", ("decoder",)),
        (model, "vq_targets", ("VQ codes",)),
        (ClusteringHead, "forward", ("heads",)),
        (objective_module, "assign", ("Sinkhorn, matching",)),
        (objective_module, "match", ("Sinkhorn, matching",)),
    ):
        parts.enter_context(mock.patch.object(owner, name, _timed(watch, owner, name, stages)))
    return parts


def _timed(watch: Stopwatch, owner: Any, name: str, stages: tuple[str, ...]) -> Callable[..., Any]:
    return watch.timed(getattr(owner, name), *stages)


def in_a_process(*arguments: Any) -> tuple[float, float, dict[str, float]]:
    """`measure` in a fresh process: what one way did to memory is no matter to the next."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)


def main() -> None:
    """Measure, check, print."""
    speeds = Table("size", "precision", "images/s", "the authors' way", "times as fast")
    shares = Table("% of the step", *(f"{size} {p}" for size in BATCH_SIZES for p in ("bf16", "fp32")))
    columns = []
    for size in BATCH_SIZES:
        for bf16 in (True, False):
            rounds = [
                (in_a_process(size, bf16, True), in_a_process(size, bf16, False)) for _ in range(ROUNDS)
            ]
            ours, theirs = (max(speed for speed, _, _ in way) for way in zip(*rounds, strict=True))
            (_, loss, seconds), (_, other_loss, _) = rounds[0]
            if abs(loss - other_loss) > (0.02 if bf16 else 1e-4) * abs(loss):
                raise AssertionError(f"{size}: expected the same loss, got {loss} and {other_loss}")
            precision = "bf16" if bf16 else "fp32"
            speeds.add_row(size, precision, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}")
            columns.append([100 * seconds.get(stage, 0.0) / sum(seconds.values()) for stage in STAGES])
    for stage, *row in zip(STAGES, *columns, strict=True):
        shares.add_row(stage, *(f"{share:.0f}" for share in row))
    for table in (speeds, shares):
        Console(width=100).print(table)


if __name__ == "__main__":
    main()
