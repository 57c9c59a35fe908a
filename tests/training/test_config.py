"""Configurations: defaults, and what is refused."""

from __future__ import annotations

import pytest

from model import get_preset
from training.config import DistillationConfig, RunConfig, TrainingConfig
from training.loss_weights import LossWeights
from training.recipes import get_recipe


def run_config(**overrides: object) -> RunConfig:
    training = get_recipe("debug", **overrides)
    return RunConfig(pictures="photos", model=get_preset("debug"), training=training)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("masked_views", -1),
        ("learning_rate", float("nan")),
        ("warmup_share", 1.5),
        ("mask_ratio", -0.1),
        ("gradient_clip", 0.0),
        ("global_scale", (0.9, 0.2)),
        ("save_every", True),
        ("accumulation", 0),
        ("mixing", 1.5),
        ("reference_colour_strength", -0.5),
    ],
)
def test_an_impossible_value_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected .* got"):
        get_recipe("debug", **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("size", 0), ("momentum", 2.0), ("mean", (0.0, float("nan"), 0.0)), ("std", (1.0, 0.0, 1.0))],
)
def test_an_impossible_teacher_is_refused_with_the_settings_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^distillation\.{name}: expected .* got"):
        DistillationConfig(**{name: value})  # type: ignore[arg-type]


def test_losses_of_distillation_and_a_teacher_need_each_other() -> None:
    with pytest.raises(ValueError, match=r"^distillation\.teacher: .*expected an ONNX file or .*, got none"):
        TrainingConfig(losses=LossWeights(distil_dense=1.0))
    teacher = DistillationConfig(teacher="teacher.onnx")
    with pytest.raises(ValueError, match=r"^losses: nothing learns from distillation\.teacher; expected"):
        TrainingConfig(distillation=teacher)
    with pytest.raises(ValueError, match=r"objective 'mae'"):
        TrainingConfig(distillation=teacher, losses=LossWeights(distil_cls=1.0), objective="mae")
    assert TrainingConfig(losses=LossWeights(distil_cls=1.0), distillation=teacher).distils


def test_a_teacher_needs_two_masked_views() -> None:
    with pytest.raises(ValueError, match="masked_views: a teacher"):
        TrainingConfig(teacher=True, masked_views=1)


def test_autoencoding_has_no_teacher_and_no_views_but_one_mask() -> None:
    with pytest.raises(ValueError, match="teacher: mae has none"):
        TrainingConfig(objective="mae", teacher=True)
    config = TrainingConfig(objective="mae")
    assert (config.num_masked_views, config.num_local_crops, config.num_masks) == (0, 0, 1)


def test_local_crops_that_are_no_whole_patches_are_refused() -> None:
    with pytest.raises(ValueError, match="local_size: expected a multiple of the patch size 8, got 20"):
        run_config(local_size=20)
    assert run_config(local_size=20, local_crops=0).training.local_size == 20
