"""What a dropped token changes, on pictures where the answer is known and against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model import PRESETS, Stellar
from training.data.photos import sample_photos
from training.evaluation.locality import LEAST_REGION, compare, drops, locality, without


@pytest.fixture(scope="module")
def model() -> Stellar:
    torch.manual_seed(0)
    return Stellar(PRESETS["debug"]).eval()


def test_dropping_a_token_keeps_rows_whole() -> None:
    localization = torch.rand(2, 9, 4).softmax(dim=-1)
    after = without(localization, 2)
    assert (after[..., 2] == 0).all()
    torch.testing.assert_close(after.sum(dim=-1), torch.ones(2, 9))
    torch.testing.assert_close(after[..., 0] / after[..., 1], localization[..., 0] / localization[..., 1])


def test_a_patch_that_is_all_one_tokens_survives_its_drop() -> None:
    cosines = torch.tensor([[[1.0, -1.0, -1.0]]])
    after = without((cosines / 0.06).softmax(dim=-1), 0)
    torch.testing.assert_close(after, torch.tensor([[[0.0, 0.5, 0.5]]]))


def test_change_is_told_by_where_it_lies() -> None:
    region = torch.tensor([[True, False], [False, False]])
    change = torch.zeros(8, 8)
    change[:4, :4] = 0.3
    change[4:, 4:] = 0.1
    told = compare(change, region)
    assert told.inside == pytest.approx(0.3)
    assert told.outside == pytest.approx(0.1 / 3)
    assert told.share == pytest.approx(0.09 / (0.09 + 0.01))


def test_no_change_has_no_share_inside() -> None:
    assert compare(torch.zeros(4, 4), torch.eye(2).bool()) == (0, 0, 0)


@torch.no_grad()
def test_figures_are_those_of_a_plain_loop(model: Stellar) -> None:
    inside, outside, shares, areas = [], [], [], []
    for image in sample_photos(32).values():
        encoding, localization = model(image[None])
        before = model.render(encoding.sparse, localization)[0].numpy()
        regions = localization[0].argmax(dim=1).numpy()
        for token in np.unique(regions):
            after = model.render(encoding.sparse, without(localization, int(token)))[0].numpy()
            change = np.abs(after - before).mean(axis=0)
            mask = np.kron((regions == token).reshape(4, 4), np.ones((8, 8))).astype(bool)
            if mask.all():
                continue
            inside.append(change[mask].mean())
            outside.append(change[~mask].mean())
            shares.append((change[mask] ** 2).sum() / (change**2).sum())
            areas.append(mask.mean())
    figures = locality(model)
    assert figures["each_drop_change_inside"] == pytest.approx(np.mean(inside), rel=1e-4)
    assert figures["each_drop_change_outside"] == pytest.approx(np.mean(outside), rel=1e-4)
    assert figures["each_drop_share_inside"] == pytest.approx(np.mean(shares), rel=1e-4)
    assert figures["each_drop_area_share"] == pytest.approx(np.mean(areas))
    # Of 16 patches the smallest region is above the least one: both ways of counting see the same tokens.
    assert min(areas) > LEAST_REGION
    assert figures["drop_change_share_inside"] == pytest.approx(figures["each_drop_share_inside"])
    ratios = np.array(inside) / np.array(outside)
    assert figures["drop_change_inside_to_outside"] == pytest.approx(np.median(ratios), rel=1e-4)


def test_a_model_that_uses_one_token_has_no_figures(model: Stellar) -> None:
    lone = Stellar(PRESETS["debug"]).eval()
    lone.load_state_dict(model.state_dict())
    torch.nn.init.zeros_(lone.factorization.dense_proj.weight)
    torch.nn.init.zeros_(
        lone.factorization.dense_proj.bias
    )  # every cosine is 0, every patch the first token's
    assert locality(lone) == {}


def test_figures_are_the_same_each_time(model: Stellar) -> None:
    first, second = locality(model), locality(model)
    assert first == second
    assert all(math.isfinite(value) for value in first.values())


def test_random_regions_are_as_large_but_no_better_than_chance() -> None:
    """Over many draws a random region holds about its own share of the change."""
    torch.manual_seed(0)
    model = Stellar(PRESETS["debug"]).eval()
    image = sample_photos(32)["coffee"]
    generator = torch.Generator().manual_seed(1)
    found = [drop for _ in range(100) for drop in drops(model, image, generator)]
    share, area = (np.mean(x) for x in zip(*((d.random.share, d.area) for d in found), strict=True))
    assert share == pytest.approx(area, abs=0.02)
