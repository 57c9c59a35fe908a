"""The recipes that have names."""

from __future__ import annotations

import pytest

from model import PRESETS, get_preset
from training.config import RunConfig
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
