"""Likeness of reconstructions: figures against plain formulas, and figures whose networks can't be had."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from model import Stellar, get_preset
from training.evaluation.likeness import likeness
from training.evaluation.reconstruction import reconstructed


@pytest.fixture(scope="module")
def model() -> Stellar:
    torch.manual_seed(0)
    return Stellar(get_preset("debug")).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_errors_are_means_over_pictures_whatever_the_batches(model: Stellar, images: torch.Tensor) -> None:
    figures = likeness(model, images.split([4, 2]), {}).figures  # type: ignore[no-untyped-call]
    drawn = reconstructed(model, images)
    assert figures["mse"] == pytest.approx(float((drawn - images).square().mean()), rel=1e-4)
    decibels = [
        peak_signal_noise_ratio(one.numpy(), other.numpy(), data_range=1)  # type: ignore[no-untyped-call]
        for one, other in zip(images, drawn, strict=True)
    ]
    assert figures["psnr_db"] == pytest.approx(sum(decibels) / 6, abs=1e-3)
    assert 0 < figures["ssim"] < 1


class Colours(nn.Module):
    """A feature extractor that needs no weights: mean colours."""

    num_features = 3

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.float().mean(dim=(2, 3))


def test_a_set_is_as_far_from_its_reconstructions_as_its_features_say(
    model: Stellar, images: torch.Tensor
) -> None:
    def make() -> FrechetInceptionDistance:
        return FrechetInceptionDistance(feature=Colours(), normalize=False)

    got = likeness(model, [images], {"rfid": (make, "nothing")})
    real, drawn = (Colours()(part).double() for part in (images, reconstructed(model, images)))
    apart = (real.mean(dim=0) - drawn.mean(dim=0)).square().sum()
    product = torch.linalg.eigvals(real.T.cov() @ drawn.T.cov()).sqrt().real.sum()
    expected = apart + real.T.cov().trace() + drawn.T.cov().trace() - 2 * product
    assert got.figures["rfid"] == pytest.approx(float(expected), abs=1e-4)
    assert got.missing == {}


@pytest.mark.parametrize("error", [ModuleNotFoundError("no torchvision"), OSError("no\nnetwork")])
def test_what_needs_a_network_that_cannot_be_had_is_named_and_the_rest_is_measured(
    model: Stellar, images: torch.Tensor, error: Exception
) -> None:
    def make() -> FrechetInceptionDistance:
        raise error

    got = likeness(model, [images], {"lpips": (make, "torchvision")})
    assert got.figures.keys() == {"mse", "psnr_db", "ssim"}
    expected = "it needs pip install 'stellar-service[perception]': torchvision"
    assert got.missing["lpips"] == f"{expected} ({' '.join(str(error).split())})"
