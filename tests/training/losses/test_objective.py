"""The objective against reference losses and gradients, and against plain formulas view by view."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from model import Stellar, get_preset, load_checkpoint
from training.config import DistillationConfig, TrainingConfig
from training.data.draws import Draws
from training.data.masking import draw_kept
from training.data.views import Views
from training.loss_weights import DISTILLED, LossWeights
from training.losses.objective import Objective
from training.losses.sinkhorn import sinkhorn
from training.recipes import VQ_LOSSES, get_recipe

REFERENCE_NAMES = {
    "decoder.layernorm.weight": "decoder.transformer.norm.weight",
    "cls_cluster_head.predictor.layers.2.bias": "cls_cluster_head.fc2.bias",
    "clustering_head.predictor.layers.2.weight": "clustering_head.fc2.weight",
    "clustering_head.layer.weight": "clustering_head.prototypes.weight",
    "cls_cluster_head.layer.weight": "cls_cluster_head.prototypes.weight",
    "decoder_proj.weight": "decoder.projection.weight",
    "dense_proj.weight": "factorization.dense_proj.weight",
    "sparse_proj.weight": "factorization.sparse_proj.weight",
    "encoder.embeddings.cls_token": "embedding.cls_token",
    "encoder.embeddings.patch_embeddings.projection.bias": "embedding.projection.bias",
    "encoder.layernorm.weight": "transformer.norm.weight",
    "encoder.layernorm.bias": "transformer.norm.bias",
}


def debug_model(seed: int = 0) -> Stellar:
    torch.manual_seed(seed)
    return Stellar(get_preset("debug"))


EVERY_LOSS = LossWeights(sharpness=1.0, numbering=1.0, **dict.fromkeys(DISTILLED, 1.0))
TEACHER = DistillationConfig(teacher="tests.training.teachers:map_teacher", size=16)


def config(**overrides: object) -> TrainingConfig:
    return get_recipe("debug", **{"losses": EVERY_LOSS, "distillation": TEACHER} | overrides)


def reference_view(image: torch.Tensor) -> Views:
    none = image.new_zeros(image.shape[0], 0, 3, 64, 64)
    return Views(image, none, none)


def test_reference_losses_and_gradients(fixtures: Path) -> None:
    model = load_checkpoint(fixtures / "tiny-pixel.weights.safetensors", num_heads=4)
    expected = load_file(fixtures / "tiny-pixel.io.safetensors")
    losses = Objective(model, TrainingConfig())(reference_view(expected["image"]))
    losses.total.backward()
    for name, value in {
        "train.MSE": losses.named["reconstruction"],
        "train.koleo_loss": 0.1 * losses.named["koleo"],
        "train.clustering_loss": losses.named["clustering"],
        "train.cls_clustering_loss": losses.named["cls_clustering"],
        "train.STELLAR_Loss": losses.total,
    }.items():
        torch.testing.assert_close(value, expected[name], atol=0, rtol=2e-6, msg=name)
    parameters = dict(model.named_parameters())
    gradients = {name: tensor for name, tensor in expected.items() if name.startswith("train.grad.")}
    assert len(gradients) == 14
    for name, gradient in gradients.items():
        published = name.removeprefix("train.grad.")
        got = parameters[REFERENCE_NAMES.get(published, published)].grad
        assert got is not None
        assert (got - gradient).abs().max() <= 2e-5 * gradient.abs().max(), name


def test_a_vq_head_is_held_against_the_reference_codes(fixtures: Path) -> None:
    model = load_checkpoint(fixtures / "tiny-vq.weights.safetensors", num_heads=4)
    expected = load_file(fixtures / "tiny-vq.io.safetensors")
    losses = Objective(model, TrainingConfig(losses=VQ_LOSSES))(reference_view(expected["image"][:1]))
    entropy = F.cross_entropy(expected["eval.x_hat"][0], expected["tokenizer.codes"][0])
    torch.testing.assert_close(losses.named["reconstruction"], entropy, atol=0, rtol=2e-6)
    weighted = 0.05 * entropy + 0.1 * losses.named["koleo"]
    others = losses.named["clustering"] + losses.named["cls_clustering"]
    torch.testing.assert_close(losses.total, weighted + others)


def test_masked_and_local_losses_are_what_plain_formulas_give(views: Views) -> None:
    model = debug_model()
    kept = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i))[:3] for i in range(6)])
    losses = Objective(model, config())(views, kept.view(3, 2, 3)).named
    reference = model.encode(views.reference)
    assignments = sinkhorn(model.clustering_head(reference.sparse).detach().flatten(0, 1) / 0.06).view(
        3, 4, -1
    )
    cls_assignments = sinkhorn(model.cls_cluster_head(reference.cls).detach().flatten(0, 1) / 0.06)

    def entropy(logits: torch.Tensor, target: torch.Tensor) -> float:
        return float(-(target * (logits.detach() / 0.12).log_softmax(-1)).sum())

    masked, masked_cls, local_cls, spread = [], [], [], []
    for picture in range(3):
        for view in range(2):
            seen = model.encode(views.masked[picture, view][None], kept[2 * picture + view][None])
            tokens, targets = seen.sparse[0].detach(), reference.sparse[picture].detach()
            plan = (torch.cdist(tokens, targets) / -0.1).double()
            for _ in range(5):
                plan = plan - plan.logsumexp(1, keepdim=True)
                plan = plan - plan.logsumexp(0, keepdim=True)
            logits = model.clustering_head(seen.sparse)[0]
            for token, match in enumerate(plan.argmax(1).tolist()):
                masked.append(entropy(logits[token], assignments[picture, match]))
            masked_cls.append(entropy(model.cls_cluster_head(seen.cls)[0, 0], cls_assignments[picture]))
            spread.append(_spread(tokens))
            crop = model.encode(views.local[picture, view][None])
            local_cls.append(entropy(model.cls_cluster_head(crop.cls)[0, 0], cls_assignments[picture]))
    for name, values in {
        "masked": masked,
        "masked_cls": masked_cls,
        "local_cls": local_cls,
        "masked_koleo": spread,
    }.items():
        assert losses[name].item() == pytest.approx(sum(values) / len(values), rel=1e-4), name


def _spread(tokens: torch.Tensor) -> float:
    directions = F.normalize(tokens, dim=-1)
    distances = (directions[:, None] - directions).norm(dim=-1) + 9 * torch.eye(len(tokens))
    return float(-(distances.min(1).values / 2).log().mean())


def test_total_is_the_weighted_sum_of_all_named_losses(views: Views) -> None:
    weights = LossWeights(**{loss.name: 0.5 + i for i, loss in enumerate(fields(LossWeights))})
    objective = Objective(debug_model(), config(losses=weights))
    losses = objective(views)
    assert set(losses.named) == {loss.name for loss in fields(LossWeights)}
    expected = sum(getattr(weights, name) * loss for name, loss in losses.named.items())
    torch.testing.assert_close(losses.total, expected)


@pytest.mark.parametrize("name", [loss.name for loss in fields(LossWeights)])
def test_a_loss_of_weight_zero_is_left_out_and_the_others_stay(views: Views, name: str) -> None:
    kept = draw_kept(Draws(0, 3), 2, (4, 4), 0.8)
    whole = Objective(debug_model(), config())
    parted = Objective(debug_model(), config(losses=replace(EVERY_LOSS, **{name: 0.0})))
    parted.load_state_dict(whole.state_dict(), strict=False)  # heads are drawn one after the other
    every, fewer = whole(views, kept).named, parted(views, kept).named
    assert set(every) - set(fewer) == {name}
    for other, loss in fewer.items():
        torch.testing.assert_close(loss, every[other], msg=other)


@pytest.mark.parametrize(
    ("missing", "gone"), [("masked", {"masked", "masked_cls", "masked_koleo"}), ("local", {"local_cls"})]
)
def test_each_kind_of_view_may_be_missing_by_itself(views: Views, missing: str, gone: set[str]) -> None:
    fewer = views._replace(**{missing: getattr(views, missing)[:, :0]})
    losses = Objective(debug_model(), config())(fewer)
    assert {loss.name for loss in fields(LossWeights)} - set(losses.named) == gone


def test_views_without_any_wanted_loss_are_refused(views: Views) -> None:
    objective = Objective(
        debug_model(), config(losses=LossWeights().only("local_cls"), distillation=DistillationConfig())
    )
    with pytest.raises(ValueError, match="views: expected"):
        objective(views._replace(local=views.local[:, :0]))


def test_every_parameter_learns(views: Views) -> None:
    model = debug_model()
    Objective(model, config())(views).total.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_losses_are_float32_under_autocast(views: Views) -> None:
    objective = Objective(debug_model(), config())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = objective(views)
    assert {loss.dtype for loss in losses.named.values()} == {torch.float32}
    exact = objective(views)
    for name, loss in losses.named.items():
        torch.testing.assert_close(loss, exact.named[name], rtol=0.1, atol=0.05, msg=name)


def test_a_teacher_makes_the_targets_from_the_second_masked_view(views: Views) -> None:
    kept = draw_kept(Draws(0, 3), 2, (4, 4), 0.8)
    objective = Objective(debug_model(), config(teacher=True))
    before = objective(views, kept).named
    first, second = views.masked.clone(), views.masked.clone()
    first[:, 0], second[:, 1] = 0, 0
    assert torch.equal(objective(views._replace(masked=first), kept).named["local_cls"], before["local_cls"])
    assert not torch.equal(
        objective(views._replace(masked=second), kept).named["local_cls"], before["local_cls"]
    )


def test_a_teacher_of_the_reference_itself_changes_nothing(views: Views) -> None:
    same = views._replace(masked=views.reference[:, None].expand(-1, 2, -1, -1, -1))
    kept = draw_kept(Draws(0, 3), 2, (4, 4), 0.8)
    taught = Objective(debug_model(), config(teacher=True))(same, kept)
    alone = Objective(debug_model(), config())(same, kept)
    for name, loss in alone.named.items():
        torch.testing.assert_close(taught.named[name], loss, msg=name)
