"""The teacher follows the model slowly and never learns by itself."""

from __future__ import annotations

import torch

from model import Stellar, get_preset
from training.data.views import Views
from training.losses.objective import Objective
from training.losses.teacher import Teacher
from training.recipes import get_recipe


def test_an_update_moves_a_share_of_the_way() -> None:
    torch.manual_seed(0)
    model = Stellar(get_preset("debug"))
    teacher = Teacher(model, momentum=0.75)
    before = model.sparse_tokens.detach().clone()
    with torch.no_grad():
        model.sparse_tokens.add_(1)
    assert torch.equal(teacher.average.sparse_tokens, before)
    teacher.update(model)
    torch.testing.assert_close(teacher.average.sparse_tokens.detach(), before + 0.25)


def test_it_averages_all_that_is_learnt_and_no_tokenizer() -> None:
    model = Stellar(get_preset("debug", head="vq", vqgan_channels=32, image_size=32, patch_size=16))
    teacher = Teacher(model, momentum=0.9)
    learnt = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, _ in teacher.average.named_parameters()} == learnt
    assert any(name.startswith("decoder.") for name in learnt)


def test_no_gradient_reaches_it(views: Views) -> None:
    objective = Objective(Stellar(get_preset("debug")), get_recipe("debug", teacher=True))
    objective(views).total.backward()
    assert objective.teacher is not None
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())
