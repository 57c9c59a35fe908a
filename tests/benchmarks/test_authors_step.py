"""What the training step is compared with has the same losses and gradients."""

from __future__ import annotations

import torch

from model import Stellar, get_preset
from tests.benchmarks.authors_step import AuthorsStep
from training.data.draws import Draws
from training.data.masking import draw_kept
from training.data.views import Views
from training.losses.objective import Objective
from training.recipes import get_recipe


def test_the_authors_way_has_our_losses_and_gradients() -> None:
    draw = torch.Generator().manual_seed(1)
    sizes = {"reference": (3, 3, 32, 32), "masked": (3, 2, 3, 32, 32), "local": (3, 2, 3, 16, 16)}
    views = Views(**{name: torch.rand(size, generator=draw) for name, size in sizes.items()})
    kept = draw_kept(Draws(0, 3), 2, (4, 4), 0.6)
    torch.manual_seed(0)
    model = Stellar(get_preset("debug"))
    parameters = list(model.parameters())
    losses = Objective(model, get_recipe("debug"))(views, kept)
    gradients = torch.autograd.grad(losses.total, parameters)
    others = AuthorsStep(model, get_recipe("debug"))(views, kept)
    other_gradients = torch.autograd.grad(others.total, parameters)
    assert losses.named.keys() == others.named.keys()
    for name, loss in losses.named.items():
        torch.testing.assert_close(loss, others.named[name], msg=name)
    for one, other in zip(gradients, other_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
