"""The recipes that have names."""

from __future__ import annotations

import pytest
import torch

from model import PRESETS, get_preset
from training.config import RunConfig
from training.data.crops import draw_boxes
from training.data.draws import Draws
from training.recipes import TRAINING_PRESETS, get_recipe


def test_every_model_has_a_recipe_that_fits_it() -> None:
    assert set(TRAINING_PRESETS) == set(PRESETS)
    for name in PRESETS:
        run = RunConfig(pictures="photos", model=get_preset(name), training=get_recipe(name))
        expected = 10.0 if run.model.head == "pixel" else 0.05
        assert run.training.losses.reconstruction == expected


def test_an_unknown_recipe_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="unknown preset 'huge': expected one of b8"):
        get_recipe("huge")


@pytest.mark.parametrize("name", [name for name in TRAINING_PRESETS if name not in ("tiny", "debug")])
def test_the_views_of_published_models_are_hardly_ever_enlarged(name: str) -> None:
    """Of photos that are 3:4 to 4:3 and no smaller than the square that they are stretched to."""
    recipe, aspect = get_recipe(name), torch.tensor([0.75, 1.0, 4 / 3])
    for scale, size in (
        (recipe.global_scale, get_preset(name).size[0]),
        (recipe.local_scale, recipe.local_size),
    ):
        boxes = draw_boxes(aspect, 2000, scale, Draws(0, 3))
        shorter = torch.minimum(boxes.width, boxes.height) * recipe.picture_size
        assert (shorter < size).double().mean() < 0.03
