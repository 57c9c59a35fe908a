"""Distillation against plain formulas: what heads say, and what the teacher sees less its running mean."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from model import Encoding
from training.config import DistillationConfig
from training.loss_weights import DISTILLED, LossWeights
from training.losses.distillation import Distillation, on_grid
from training.losses.pretrained import Pretrained

EVERY = LossWeights(**dict.fromkeys(DISTILLED, 1.0))
WIDTH, GRID, NUM_TOKENS = 8, (2, 8), 3


def teacher(name: str = "map_teacher") -> Pretrained:
    config = DistillationConfig(teacher=f"tests.training.teachers:{name}", size=16)
    return Pretrained(config, torch.device("cpu"))


def distillation(weights: LossWeights = EVERY, momentum: float = 0.9) -> Distillation:
    torch.manual_seed(1)
    return Distillation(teacher(), WIDTH, GRID, weights, momentum)


def batch(seed: int = 0) -> tuple[torch.Tensor, Encoding, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(5, 3, 16, 16, generator=draw)
    cls, dense, sparse = (
        torch.randn(5, count, WIDTH, generator=draw) for count in (1, math.prod(GRID), NUM_TOKENS)
    )
    localization = (3 * torch.randn(5, math.prod(GRID), NUM_TOKENS, generator=draw)).softmax(dim=2)
    return images, Encoding(cls, dense, sparse), localization


def test_losses_are_what_plain_formulas_give() -> None:
    learns, (images, encoding, localization) = distillation(), batch()
    losses = learns(images, encoding, localization)
    seen = teacher()(images)
    assert seen.grid is not None
    # The first batch is its own running mean.
    whole = seen.whole - seen.whole.mean(dim=0)
    grid = seen.grid - seen.grid.mean(dim=(0, 2, 3))[:, None, None]
    expected: dict[str, list[float]] = {name: [] for name in DISTILLED}
    weights: list[float] = []

    def far(name: str, token: torch.Tensor, feature: torch.Tensor) -> None:
        said = learns.heads[name](token).detach()
        expected[name].append(1 - float(said @ feature / (said.norm() * feature.norm())))

    for i in range(5):
        far("distil_mean", sum(encoding.sparse[i], torch.zeros(WIDTH)) / NUM_TOKENS, whole[i])
        far("distil_cls", encoding.cls[i, 0], whole[i])
        z = (localization[i] @ encoding.sparse[i]).T.reshape(1, WIDTH, *GRID)
        z = F.interpolate(z, size=(2, 2), mode="bilinear", antialias=True)[0]
        shares = localization[i].T.reshape(1, NUM_TOKENS, *GRID)
        shares = F.interpolate(shares, size=(2, 2), mode="bilinear", antialias=True)[0]
        for y in range(2):
            for x in range(2):
                far("distil_dense", z[:, y, x], grid[i, :, y, x])
        for number in range(NUM_TOKENS):
            under = (shares[number] * grid[i]).sum(dim=(1, 2)) / shares[number].sum()
            far("distil_tokens", encoding.sparse[i, number], under)
            weights.append(float(shares[number].sum()))
    of_tokens = expected.pop("distil_tokens")
    for name, values in expected.items():
        assert losses[name].item() == pytest.approx(sum(values) / len(values), abs=1e-5), name
    weighted = sum(weight * value for weight, value in zip(weights, of_tokens, strict=True))
    assert losses["distil_tokens"].item() == pytest.approx(weighted / sum(weights), abs=1e-5)


def test_the_teachers_running_mean_is_first_a_plain_one_and_then_moves_slowly() -> None:
    learns = distillation(momentum=0.6)
    means = []
    for seed in range(4):
        images, encoding, localization = batch(seed)
        learns(images, encoding, localization)
        means.append(teacher()(images).whole.mean(dim=0))
    centre = (means[0] + means[1]) / 2
    for mean in means[2:]:
        centre = 0.6 * centre + 0.4 * mean
    torch.testing.assert_close(learns.centre, centre)
    learns.eval()
    learns(*batch(9))
    torch.testing.assert_close(learns.centre, centre)


def test_what_all_pictures_have_in_common_teaches_nothing() -> None:
    learns, (images, encoding, localization) = distillation(), batch()
    before = learns(images, encoding, localization)
    other = distillation()
    network = other.teacher.network
    assert isinstance(network, torch.nn.Conv2d)
    assert network.bias is not None
    with torch.no_grad():
        network.bias += 5
    for name, loss in other(images, encoding, localization).items():
        torch.testing.assert_close(loss, before[name], msg=name, rtol=1e-4, atol=1e-5)


def test_places_get_no_gradient_from_what_single_tokens_learn() -> None:
    images, encoding, localization = batch()
    localization.requires_grad_()
    losses = distillation()(images, encoding, localization)
    losses["distil_tokens"].backward(retain_graph=True)
    assert localization.grad is None
    losses["distil_dense"].backward()
    assert localization.grad is not None
    assert localization.grad.abs().max() > 0


@pytest.mark.parametrize("name", DISTILLED)
def test_a_loss_of_weight_zero_has_no_head(name: str) -> None:
    learns = distillation(EVERY.only(name))
    assert list(learns.heads) == [name]
    assert list(learns(*batch())) == [name]


def test_a_teacher_that_sees_no_places_teaches_whole_pictures_only() -> None:
    vectors = teacher("vector_teacher")
    with pytest.raises(ValueError, match="distil_dense and distil_tokens want a teacher that sees places"):
        Distillation(vectors, WIDTH, GRID, EVERY, 0.9)
    learns = Distillation(vectors, WIDTH, GRID, EVERY.only("distil_mean", "distil_cls"), 0.9)
    assert set(learns(*batch())) == {"distil_mean", "distil_cls"}


def test_its_state_is_the_heads_and_the_means_without_the_teacher() -> None:
    names = {name.split(".")[0] for name in distillation().state_dict()}
    assert names == {"heads", "centre", "grid_centre", "num_seen"}


def test_a_grid_on_itself_stays_and_a_coarser_one_keeps_what_is_the_same_everywhere() -> None:
    patches = torch.rand(2, 16, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(on_grid(patches, GRID, GRID), patches)
    flat = patches[:, :1].expand(2, 16, 3)
    torch.testing.assert_close(on_grid(flat, GRID, (3, 2)), patches[:, :1].expand(2, 6, 3))
