"""The model's own behaviour: other sizes, kept patches, impossible input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from model import PRESETS, Stellar, get_preset
from model.vit import Attention, sine_positions


@pytest.fixture(scope="module")
def model() -> Stellar:
    torch.manual_seed(0)
    return Stellar(PRESETS["debug"]).eval()


@torch.no_grad()
def test_other_input_sizes_give_other_grids(model: Stellar) -> None:
    encoding, localization = model(torch.rand(2, 3, 48, 24))
    assert encoding.dense.shape == (2, 18, 64)
    assert localization.shape == (2, 18, 4)
    assert model.render(encoding.sparse, localization, (6, 3)).shape == (2, 3, 48, 24)


@torch.no_grad()
def test_positions_are_resized_bicubically_and_cls_keeps_its_own(model: Stellar) -> None:
    plane = model.embedding.positions[0, 1:].T.reshape(1, -1, *model.config.grid)
    want = F.interpolate(plane, size=(2, 3), mode="bicubic", align_corners=False).flatten(2)[0].T
    got = model.embedding.resized_positions((2, 3))[0]
    torch.testing.assert_close(got[1:], want)
    torch.testing.assert_close(got[0], model.embedding.positions[0, 0])


def test_positions_start_as_a_code_of_places() -> None:
    rows, columns = 2, 3
    code = sine_positions((rows, columns), 8)
    assert code.shape == (6, 8)
    row, column = 1, 2
    slow = 1e-2  # the second of two frequencies, which are geometric from 1 to below 1e-4
    want = [math.sin(column), math.sin(column * slow), math.cos(column), math.cos(column * slow)]
    want += [math.sin(row), math.sin(row * slow), math.cos(row), math.cos(row * slow)]
    torch.testing.assert_close(code[row * columns + column], torch.tensor(want))


def test_a_width_that_four_parts_do_not_share_is_refused() -> None:
    with pytest.raises(ValueError, match="width: expected a multiple of 4, got 66"):
        get_preset("debug", width=66, num_heads=3)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-3)])
@torch.no_grad()
def test_attention_is_torch_s_own(dtype: torch.dtype, tolerance: float) -> None:
    attention = Attention(32, 4).to(dtype)
    x = torch.randn(2, 7, 32, dtype=dtype)
    q, k, v = attention.qkv(x).view(2, 7, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind(0)
    want = attention.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 7, 32))
    torch.testing.assert_close(attention(x), want, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(attention(x, 3), want[:, :3], atol=tolerance, rtol=tolerance)


@torch.no_grad()
def test_keeping_all_patches_changes_nothing(model: Stellar) -> None:
    image = torch.rand(2, 3, 32, 32)
    everything = torch.arange(16).expand(2, -1)
    for part, kept in zip(model.encode(image), model.encode(image, everything), strict=True):
        torch.testing.assert_close(part, kept)


@torch.no_grad()
def test_tokens_alone_are_those_of_the_whole_encoding(model: Stellar) -> None:
    image, kept = torch.rand(2, 3, 32, 32), torch.tensor([[0, 1, 3], [5, 9, 2]])
    whole, tokens = model.encode(image, kept), model.encode_tokens(image, kept)
    torch.testing.assert_close(tokens.cls, whole.cls)
    torch.testing.assert_close(tokens.sparse, whole.sparse)
    torch.testing.assert_close(model.encode_cls(image), model.encode(image).cls)


@torch.no_grad()
def test_patches_that_are_not_kept_have_no_influence(model: Stellar) -> None:
    image = torch.rand(1, 3, 32, 32)
    changed = image.clone()
    changed[:, :, 8:, :] = 0  # only the first row of patches stays as it was
    kept = torch.tensor([[0, 1, 3]])
    for before, after in zip(model.encode(image, kept), model.encode(changed, kept), strict=True):
        torch.testing.assert_close(before, after)


def test_patches_that_form_no_square_need_a_grid(model: Stellar) -> None:
    with pytest.raises(ValueError, match="18 patches are no square"):
        model.decode(torch.rand(1, 4, 64), torch.rand(1, 18, 4))


def test_fourteen_pixel_patches_take_their_codes_from_sixteen_pixels_each() -> None:
    model = Stellar(get_preset("debug", head="vq", patch_size=14, image_size=56, vqgan_channels=32))
    assert model.vq_targets(torch.rand(1, 3, 56, 56)).shape == (1, 16)


def test_a_picture_s_size_is_a_square_s_side_or_height_and_width() -> None:
    wide = get_preset("debug", image_size=(32, 48))
    assert (wide.image_size, wide.size, wide.grid, wide.num_patches) == ((32, 48), (32, 48), (4, 6), 24)
    assert get_preset("debug", image_size=(32, 32)) == PRESETS["debug"]
    assert PRESETS["debug"].size == (32, 32)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("patch_size", 5), ("depth", 0), ("num_heads", 7)),
        *(("image_size", size) for size in ((32, 30), (30, 32), (32, 0), (32, 2**31))),
    ],
)
def test_impossible_architectures_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        get_preset("debug", **{field: value})


def test_unknown_presets_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="expected one of b8, b16"):
        get_preset("b17")
