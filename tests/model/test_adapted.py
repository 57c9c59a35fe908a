"""A model at another size, or with other numbers of tokens."""

from __future__ import annotations

import pytest
import torch

from model import Stellar, get_preset
from model.adapted import adapted
from service.tokens.size import ImageSize, sides


@pytest.fixture
def model() -> Stellar:
    torch.manual_seed(2)
    return Stellar(get_preset("debug")).eval()


@pytest.mark.parametrize(("before", "after"), [(32, 48), (32, (48, 24)), ((24, 40), (48, 32))])
@torch.no_grad()
def test_at_another_size_it_says_to_the_last_bit_what_it_said_of_such_pictures_before(
    before: ImageSize, after: ImageSize
) -> None:
    torch.manual_seed(2)
    model = Stellar(get_preset("debug", image_size=before)).eval()
    images = torch.rand(2, 3, *sides(after))
    other = adapted(model, image_size=after, num_sparse_tokens=4).eval()
    assert other.config.image_size == after
    for one, another in zip(other.encode(images), model.encode(images), strict=True):
        assert torch.equal(one, another)
    encoding, localization = other(images)
    assert other.render(encoding.sparse, localization).shape == images.shape


def test_tokens_are_left_out_from_the_last_on_or_added_and_all_else_stays(model: Stellar) -> None:
    fewer = adapted(model, image_size=32, num_sparse_tokens=3)
    more = adapted(model, image_size=32, num_sparse_tokens=6)
    assert torch.equal(fewer.sparse_tokens, model.sparse_tokens[:3])
    assert torch.equal(more.sparse_tokens[:4], model.sparse_tokens)
    assert more.sparse_tokens[4:].detach().norm(dim=1) == pytest.approx(1, abs=0.3)
    for other in (fewer, more):
        weights = other.state_dict()
        assert all(torch.equal(weights[n], w) for n, w in model.state_dict().items() if n != "sparse_tokens")


def test_a_size_that_is_no_multiple_of_a_patch_is_refused(model: Stellar) -> None:
    with pytest.raises(ValueError, match="image_size: expected a multiple of 8, got 30"):
        adapted(model, image_size=30, num_sparse_tokens=4)
