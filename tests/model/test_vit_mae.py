"""Starting from a ViT-MAE checkpoint that transformers made, and whose output it computed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import CheckpointError, Stellar, get_preset, load_vit_mae


def encoder_output(model: Stellar, pixels: torch.Tensor) -> torch.Tensor:
    """What the encoder makes of normalised pixels by itself, without sparse tokens."""
    with torch.no_grad():
        return model.transformer(model.embedding(pixels))  # type: ignore[no-any-return]


def version_5(name: str) -> str:
    name = re.sub(r"vit\.encoder\.layer\.(\d+)", r"vit.layers.\1", name)
    for old, new in (
        ("attention.attention.query", "attention.q_proj"),
        ("attention.attention.key", "attention.k_proj"),
        ("attention.attention.value", "attention.v_proj"),
        ("attention.output.dense", "attention.o_proj"),
        ("intermediate.dense", "mlp.fc1"),
        ("output.dense", "mlp.fc2"),
    ):
        name = name.replace(old, new)
    return name


@pytest.mark.parametrize("form", ["version 4", "version 5", "without prefix"])
def test_the_encoder_computes_what_transformers_computes(fixtures: Path, tmp_path: Path, form: str) -> None:
    weights = load_file(fixtures / "vit-mae.weights.safetensors")
    if form == "version 5":
        weights = {version_5(name): tensor for name, tensor in weights.items()}
    elif form == "without prefix":
        weights = {name.removeprefix("vit."): tensor for name, tensor in weights.items()}
    save_file(weights, tmp_path / "mae.safetensors")
    expected = load_file(fixtures / "vit-mae.io.safetensors")
    model = Stellar(get_preset("debug")).eval()
    tokens = model.sparse_tokens.clone()
    load_vit_mae(tmp_path / "mae.safetensors", model)
    got = encoder_output(model, expected["pixels"])
    torch.testing.assert_close(got, expected["last_hidden_state"], atol=2e-5, rtol=0)
    assert torch.equal(model.sparse_tokens, tokens)


def test_what_does_not_fit_is_named_and_changes_nothing(fixtures: Path, tmp_path: Path) -> None:
    weights = load_file(fixtures / "vit-mae.weights.safetensors")
    weights["vit.extra"] = torch.zeros(1)
    del weights["vit.layernorm.bias"]
    save_file(weights, tmp_path / "mae.safetensors")
    model = Stellar(get_preset("debug", depth=3))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"unknown key encoder\.extra; missing key vit\."):
        load_vit_mae(tmp_path / "mae.safetensors", model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_positions_of_a_square_are_not_taken_for_another_shape_s_of_as_many_patches(fixtures: Path) -> None:
    model = Stellar(get_preset("debug", image_size=(16, 64)))
    with pytest.raises(ValueError, match="are squares; got image_size 16 × 64"):
        load_vit_mae(fixtures / "vit-mae.weights.safetensors", model)
