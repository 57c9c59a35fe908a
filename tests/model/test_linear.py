"""Linear layers, whichever way their products take."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from model import linear
from model.linear import Linear


@pytest.fixture(params=[True, False], ids=["Intel's", "another's"])
def intel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor is taken for Intel's."""
    monkeypatch.setattr(linear, "_is_intel", lambda: request.param)
    return bool(request.param)


@pytest.mark.usefixtures("intel")
@pytest.mark.parametrize("bias", [True, False])
def test_results_and_gradients_are_those_of_pytorchs_own(bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = Linear(48, 30, bias=bias), torch.randn(3, 20, 48, requires_grad=True)
    inputs = [x, *layer.parameters()]
    got, expected = layer(x), F.linear(x, layer.weight, layer.bias)
    torch.testing.assert_close(got, expected)
    upstream = torch.randn_like(got)
    gradients = torch.autograd.grad(got, inputs, upstream)
    for one, other in zip(gradients, torch.autograd.grad(expected, inputs, upstream), strict=True):
        torch.testing.assert_close(one, other)


def test_float32_goes_through_onednn_on_processors_that_are_not_intels(
    intel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts: list[str] = []
    own = F.linear

    def watched(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        layouts.append(str(x.layout))
        return own(x, *rest)

    monkeypatch.setattr(F, "linear", watched)
    layer = Linear(8, 4)
    assert layer(torch.randn(2, 8)).layout == torch.strided
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(2, 8)).dtype == torch.bfloat16
    layer.bfloat16()(torch.randn(2, 8).bfloat16())
    by_mkl = intel and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    assert layouts == ["torch.strided" if by_mkl else "torch._mkldnn", "torch.strided", "torch.strided"]
