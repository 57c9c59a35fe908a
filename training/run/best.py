"""The weights that did best on held-out pictures, in a file that notes how they were judged."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from model.tensor_file import read_metadata
from training.config import RunConfig
from training.run.learnt import note
from training.run.processes import Processes
from training.run.state import write_model

BEST_FILE = "best.safetensors"
PREVIOUS_BEST_FILE = "best.previous.safetensors"
NOTE = "held_out"
"""The note's name beside the tensors: a JSON object of step, losses, and the settings that they depend on."""
SETTINGS = (
    *("held_out_share", "held_out_pictures", "batch_size", "picture_size", "local_size"),
    *("masked_views", "mask_ratio", "local_crops", "global_scale", "local_scale", "mixing"),
    *("colour_strength", "reference_colour_strength", "reference_crop", "distillation", "bf16"),
)
"""What losses of the same weights depend on, beside the pictures."""


class Best:
    """The best weights of a run so far.

    Their losses are noted without the losses' weights: a run that goes on with others judges by those what it
    has kept, too. Where that can't be done, it looks for the best anew, and says so.
    """

    def __init__(self, run: RunConfig, folder: Path, processes: Processes) -> None:
        self.run, self.folder, self.processes = run, folder, processes
        self.loss = math.inf
        self.told = ""
        """A line on how the weights that were kept are judged, where that is new."""
        path = folder / BEST_FILE
        notes = read_metadata(path) if processes.first and path.is_file() else None
        notes = processes.gather(notes)[0]
        self.superseded = notes is not None and not self._judged(notes)
        if self.superseded:
            self.told += f"; the best is looked for anew, and that one will be {PREVIOUS_BEST_FILE}"

    def beaten_by(self, losses: dict[str, float]) -> bool:
        """Whether these losses, by their names, are less in all."""
        return self._total(losses) < self.loss

    def keep(self, step: int, losses: dict[str, float], objective: nn.Module) -> None:
        """Write the weights of a step. Every process must call this; the first one writes."""
        self.loss = self._total(losses)
        counted = {name: losses[name] for name in self.run.training.counted_losses}
        held_out = {"step": step, "losses": counted, "settings": self._settings()}
        path = self.folder / BEST_FILE
        if self.superseded and self.processes.first and path.exists():
            path.replace(self.folder / PREVIOUS_BEST_FILE)
        self.superseded = False
        notes = note(self.run.training) | {NOTE: json.dumps(held_out)}
        write_model(path, objective, self.run.model, notes, self.processes)

    def _judged(self, notes: dict[str, str]) -> bool:
        """Judge weights by their notes; False where that can't be done."""
        try:
            kept = json.loads(notes[NOTE])
            step, losses, settings = int(kept["step"]), dict(kept["losses"]), dict(kept["settings"])
            losses = {str(name): float(loss) for name, loss in losses.items()}
        except (KeyError, TypeError, ValueError):
            self.told = f"{BEST_FILE} does not say how it was judged"
            return False
        own = self._settings()
        others = [name for name in own if settings.get(name) != own[name]]
        others += [f"losses.{name}" for name in self.run.training.counted_losses if name not in losses]
        if others:
            self.told = f"{BEST_FILE}, of step {step}, was judged by other {', '.join(others)}"
            return False
        self.loss = self._total(losses)
        if any(notes.get(name) != own_note for name, own_note in note(self.run.training).items()):
            self.told = f"{BEST_FILE}, of step {step}, has a loss of {self.loss:.4f} as losses now weigh"
        return True

    def _settings(self) -> dict[str, Any]:
        """As JSON has them."""
        recipe = asdict(self.run.training)
        settings = {"held_out": self.run.held_out} | {name: recipe[name] for name in SETTINGS}
        return dict(json.loads(json.dumps(settings)))

    def _total(self, losses: dict[str, float]) -> float:
        training = self.run.training
        if training.objective == "mae":
            return losses["reconstruction"]
        total = sum(getattr(training.losses, name) * losses[name] for name in training.counted_losses)
        return total if math.isfinite(total) else math.inf
