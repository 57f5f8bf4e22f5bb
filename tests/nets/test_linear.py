"""Linear layers: the same function prepared or not, in either precision, and gradients as ever."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.nets.linear import Linear

INPUTS, OUTPUTS = 24, 40
GELUS = [None, nn.GELU(), nn.GELU(approximate="tanh")]


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(INPUTS, OUTPUTS).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 50, INPUTS, generator=torch.Generator().manual_seed(1))


def exact(layer: Linear, x: Tensor, activation: nn.GELU | None) -> Tensor:
    """The formula in double precision."""
    y = x.double() @ layer.weight.double().T + layer.bias.double()
    return y if activation is None else functional.gelu(y, approximate=activation.approximate)


@pytest.mark.parametrize("activation", GELUS)
@pytest.mark.parametrize("prepared", [False, True])
@torch.no_grad()
def test_it_is_the_formula(
    layer: Linear, x: Tensor, activation: nn.GELU | None, prepared: bool
) -> None:
    if prepared:
        layer.prepare()
    y = layer(x, activation)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), exact(layer, x, activation), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", GELUS)
@pytest.mark.parametrize("prepared", [False, True])
@torch.no_grad()
def test_in_lower_precision_inputs_weights_and_result_are_rounded(
    layer: Linear, x: Tensor, activation: nn.GELU | None, prepared: bool
) -> None:
    if prepared:
        layer.prepare()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x, activation)
    assert y.dtype == torch.bfloat16
    rounded = Linear(INPUTS, OUTPUTS)
    rounded.weight.copy_(layer.weight.bfloat16())
    rounded.bias.copy_(layer.bias.bfloat16())
    expected = exact(rounded, x.bfloat16(), activation)
    # 8 bits: a relative 2^-9 at each rounding, of the result and of what the activation sees
    torch.testing.assert_close(y.double(), expected, rtol=2**-8, atol=2**-8)
    assert not torch.allclose(y.double(), exact(layer, x, activation), rtol=1e-4, atol=1e-4)


def test_gradients_do_not_know_that_it_is_prepared(layer: Linear, x: Tensor) -> None:
    gelu, wanted = GELUS[2], [x.requires_grad_(), *layer.parameters()]
    expected = torch.autograd.grad(layer(x, gelu).square().sum(), wanted)
    layer.prepare()
    found = torch.autograd.grad(layer(x, gelu).square().sum(), wanted)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@torch.no_grad()
def test_new_weights_are_noticed(layer: Linear, x: Tensor) -> None:
    layer.prepare()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).any()
        layer.load_state_dict({name: torch.zeros_like(p) for name, p in layer.named_parameters()})
        assert not layer(x).any()


@torch.no_grad()
def test_in_double_precision_it_is_as_precise(layer: Linear, x: Tensor) -> None:
    layer.double().prepare()
    expected = exact(layer, x, GELUS[2])
    torch.testing.assert_close(layer(x.double(), GELUS[2]), expected, rtol=1e-13, atol=1e-14)


@torch.no_grad()
def test_of_no_rows_it_makes_none(layer: Linear) -> None:
    layer.prepare()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.empty(0, INPUTS), GELUS[2]).shape == (0, OUTPUTS)
