"""The making of stellar-tiny, as a person starts and stops it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from model.tensor_file import read_metadata
from tests.training.stopping import stopped
from training.config import DistillationConfig
from training.data.sources import SOURCES
from training.experiments.tiny import stages
from training.run.learnt import NOTE, note

CHECKPOINT = Path(__file__).parents[3] / "training/cards/stellar-tiny.safetensors"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder to work in, where one picture of each source lies as its package would unpack it."""
    work = tmp_path / "tiny work"
    drawings = {
        "stamps": "usr/share/tuxpaint/stamps/animals/birds/owl.png",
        "emoji": "package/img/hand/64/1f431.png",
        "clipart": "usr/share/openclipart/png/people/jo.png",
    }
    for number, source in enumerate(SOURCES):
        unpacked = work / "pictures/sources" / source.name
        path = unpacked / drawings.get(source.kind, "usr/share/photo.png")
        path.parent.mkdir(parents=True)
        image = Image.new("RGB", (160, 160), (30 * number, 90, 160))
        image.paste("white", (0, 0, 160, 10 * (number + 1)))
        image.save(path)
        if source.kind == "emoji":
            listed = [{"image": "1f431.png", "category": "Animals & Nature"}]
            (unpacked / "package/emoji.json").write_text(json.dumps(listed))
    (work / "teacher").mkdir()
    (work / "teacher/efficientnet-lite0.onnx").write_bytes(b"")  # a later stage reads it
    return work


def test_the_bundled_models_making_ends_with_75_where_a_signal_stops_it(sources: Path) -> None:
    ended = stopped("tiny", sources, "runs/reconstruction")
    assert ended.exit_code == 75, ended.output
    assert "stopped and saved; to go on: stellar-train tiny" in ended.stdout
    assert (sources / "runs/reconstruction/checkpoint.safetensors").exists()


def test_the_bundled_checkpoint_notes_the_losses_of_its_last_stage() -> None:
    last = list(stages(DistillationConfig(teacher="teacher.onnx")).values())[-1]
    assert read_metadata(CHECKPOINT)[NOTE] == note(last)[NOTE]
