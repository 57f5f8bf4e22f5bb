"""The fully connected network: along columns it is what it is along rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from caloforge.nets import MLP


@pytest.fixture(params=[0.0, 0.2])
def slope(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture
def net(slope: float) -> MLP:
    torch.manual_seed(0)
    net = MLP(5, 6, 16, 2, slope).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize(("hidden_layers", "expected"), [(0, 2), (1, 3), (3, 5)])
def test_layers_of_the_width_asked_for(hidden_layers: int, expected: int) -> None:
    linear = [layer for layer in MLP(5, 6, 16, hidden_layers) if isinstance(layer, nn.Linear)]
    assert len(linear) == expected
    sizes = [layer.in_features for layer in linear] + [linear[-1].out_features]
    assert sizes == [5, *[16] * (expected - 1), 6]


def test_it_starts_at_zero_and_learns_all_the_same() -> None:
    net, x = MLP(5, 6, 16, 1), torch.randn(3, 5)
    assert not net(x).any()
    net(x).square().sum().backward()
    (net(x) - 1).square().sum().backward()
    assert net[-1].weight.grad.any()


def test_the_slope_is_that_below_zero(net: MLP, slope: float) -> None:
    activations = [layer for layer in net if not isinstance(layer, nn.Linear)]
    assert len(activations) == 3
    for activation in activations:
        assert activation(torch.tensor([-2.0, 3.0])).tolist() == pytest.approx([-2 * slope, 3])


@pytest.mark.parametrize("n", [1, 7])
def test_columns_are_rows_turned_over(net: MLP, n: int) -> None:
    x = torch.randn(n, 5, dtype=torch.float64)
    expected = net(x).t()
    assert expected.std() > 0.1
    torch.testing.assert_close(net.columns(torch.arange(6))(x.t()), expected)
    # some outputs alone, one twice, in another order, and zeros between them
    found = net.columns(torch.tensor([4, -1, 0, 4]))(x.t())
    torch.testing.assert_close(found[[0, 2, 3]], expected[[4, 0, 4]])
    assert not found[1].any()
    assert not found.requires_grad


def test_columns_change_neither_input_nor_weights(net: MLP) -> None:
    x = torch.randn(5, 4, dtype=torch.float64)
    kept, before = x.clone(), [weights.clone() for weights in net.parameters()]
    net.columns(torch.arange(6))(x)
    assert torch.equal(x, kept)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))


def test_nan_comes_out_of_the_column_it_went_into(net: MLP) -> None:
    x = torch.randn(5, 3, dtype=torch.float64)
    x[2, 1] = torch.nan
    found = net.columns(torch.arange(6))(x)
    assert torch.isnan(found).all(0).tolist() == [False, True, False]
    assert torch.isfinite(found[:, [0, 2]]).all()
