"""Masked autoencoding against a plain formula."""

from __future__ import annotations

import pytest
import torch

from model import Stellar, get_preset
from training.data.draws import Draws
from training.data.masking import draw_kept
from training.data.views import Views
from training.losses.autoencoding import MaskedAutoencoding


def test_the_loss_is_the_squared_error_of_the_hidden_patches(views: Views) -> None:
    torch.manual_seed(0)
    objective = MaskedAutoencoding(Stellar(get_preset("debug")))
    torch.nn.init.normal_(objective.mask_token)
    model, image = objective.model, views.reference
    kept = draw_kept(Draws(0, 3), 1, (4, 4), 0.75)
    loss = objective(views, kept)
    dense = model.encode(image, kept[:, 0]).dense
    errors = []
    for picture in range(3):
        grid = objective.mask_token[0].repeat(16, 1)
        for place, patch in enumerate(kept[picture, 0].tolist()):
            grid[patch] = dense[picture, place]
        drawn = model.predict(model.decoder(grid[None], (4, 4)), (4, 4))[0]
        for patch in set(range(16)) - set(kept[picture, 0].tolist()):
            row, column = 8 * (patch // 4), 8 * (patch % 4)
            window = (slice(None), slice(row, row + 8), slice(column, column + 8))
            errors.append((drawn[window] - image[picture][window]).square().mean().item())
    assert len(errors) == 3 * 12
    assert loss.total.item() == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_what_it_uses_learns(views: Views) -> None:
    objective = MaskedAutoencoding(Stellar(get_preset("debug")))
    objective(views, draw_kept(Draws(0, 3), 1, (4, 4), 0.75)).total.backward()
    idle = {name.split(".")[1] for name, p in objective.named_parameters() if p.grad is None}
    assert idle == {"factorization", "clustering_head", "cls_cluster_head"}
    assert objective.mask_token.grad is not None
