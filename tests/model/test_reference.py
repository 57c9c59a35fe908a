"""The model computes what the authors' code computes, from the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from model import PRESETS, Stellar, get_preset, load_checkpoint
from model.checkpoint import published_layout
from model.decoder import PositionCode

# The tolerances that the references' own rounding (fp32 against fp64) allows.
ENCODER = 2e-5
IMAGE = 5e-4


def assert_near(got: Tensor, want: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(got, want, atol=tolerance, rtol=0.0)


def reference(fixtures: Path, name: str) -> tuple[Stellar, dict[str, Tensor]]:
    model = load_checkpoint(fixtures / f"{name}.weights.safetensors")
    return model, load_file(fixtures / f"{name}.io.safetensors")


@pytest.mark.parametrize("name", ["tiny-pixel", "tiny-vq"])
@torch.no_grad()
def test_encoder_and_localization_match_the_reference(fixtures: Path, name: str) -> None:
    model, want = reference(fixtures, name)
    encoding, localization = model(want["image"])
    assert_near(encoding.cls, want["eval.cls"], ENCODER)
    assert_near(encoding.sparse, want["eval.sparse"], ENCODER)
    assert_near(localization, want["eval.spatial"], ENCODER)
    torch.testing.assert_close(localization.sum(-1), torch.ones_like(localization[..., 0]))


@torch.no_grad()
def test_dense_tokens_and_factorized_embedding_match_the_reference(fixtures: Path) -> None:
    model, want = reference(fixtures, "tiny-pixel")
    encoding, localization = model(want["image"])
    assert_near(encoding.dense, want["eval.dense"], ENCODER)
    assert_near(localization @ encoding.sparse, want["eval.lowrank"], ENCODER)


@torch.no_grad()
def test_pixel_reconstruction_matches_the_reference(fixtures: Path) -> None:
    model, want = reference(fixtures, "tiny-pixel")
    features = model.decode(want["eval.sparse"], want["eval.spatial"])
    assert_near(features, want["eval.decoder_output"], ENCODER)
    image = model.predict(features)
    assert_near(image, want["eval.x_hat"], ENCODER)
    torch.testing.assert_close(model.render(want["eval.sparse"], want["eval.spatial"]), image.clamp(0, 1))


@torch.no_grad()
def test_vq_codes_match_the_reference_exactly(fixtures: Path) -> None:
    model, want = reference(fixtures, "tiny-vq")
    assert torch.equal(model.vq_targets(want["image"]), want["tokenizer.codes"])
    logits = model.predict(model.decode(want["eval.sparse"], want["eval.spatial"]))
    assert torch.equal(logits.argmax(-1), want["argmax_codes"])
    assert_near(logits[:1], want["eval.x_hat"], ENCODER)


@torch.no_grad()
def test_vq_reconstruction_matches_the_reference(fixtures: Path) -> None:
    model, want = reference(fixtures, "tiny-vq")
    image = model.render(want["eval.sparse"][:1], want["eval.spatial"][:1])
    assert_near(image, want["tokenizer.decode"], IMAGE)


def test_position_code_matches_the_reference(fixtures: Path) -> None:
    want = load_file(fixtures / "unit.safetensors")
    code = PositionCode(64)
    code.matrix.copy_(want["pe.matrix"])
    for grid, name in (((4, 4), "pe.out_4x4"), ((3, 5), "pe.out_3x5")):
        assert_near(code(grid).T.reshape(64, *grid), want[name], 5e-6)


@pytest.mark.parametrize(("head", "count"), [("vq", 492), ("pixel", 324)])
def test_base_layout_has_the_published_names_and_shapes(fixtures: Path, head: str, count: int) -> None:
    published = json.loads((fixtures / "b16-keys.json").read_text())
    with torch.device("meta"):
        model = Stellar(get_preset("b16", head=head))
    layout = {entry.published: list(entry.shape) for entry in published_layout(model)}
    assert len(layout) == count
    if head == "vq":
        assert layout == published
    else:
        assert {key for key in published if not key.startswith("tokenizer.")} == set(layout)


@pytest.mark.parametrize(("preset", "millions"), [("b16", 86), ("l16", 303), ("h16", 630)])
def test_encoders_have_the_size_of_their_names(preset: str, millions: int) -> None:
    """ViT-B, L and H have 86, 303 and 630 million parameters (MAE, table 3 and its code)."""
    with torch.device("meta"):
        model = Stellar(PRESETS[preset])
    count = sum(p.numel() for part in (model.embedding, model.transformer) for p in part.parameters())
    assert round(count / 1e6) == pytest.approx(millions, abs=1)
