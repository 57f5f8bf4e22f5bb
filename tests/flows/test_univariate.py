"""Maps of single numbers: the affine one, and the block that sets maps by the context alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from caloforge.flows import Affine, Elementwise, LinearSpline, Spline, Univariate
from caloforge.nets import MLP

ALL = pytest.mark.parametrize("univariate", [Affine(), Spline(5, 4.0), LinearSpline(5, 4.0)])


def block(univariate: Univariate) -> Elementwise:
    torch.manual_seed(0)
    network = MLP(2, 3 * univariate.n_parameters, 8, 1)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return Elementwise(network, univariate).double()


def test_an_affine_map_by_hand() -> None:
    raw = torch.tensor([math.atanh(math.log(2)), 3.0], dtype=torch.float64)
    y, log_slope = Affine().forward(torch.tensor(5.0, dtype=torch.float64), raw)
    assert float(y) == pytest.approx(2 * 5 + 3)
    assert float(log_slope) == pytest.approx(math.log(2))
    x, log_slope = Affine().inverse(y, raw)
    assert float(x) == pytest.approx(5)
    assert float(log_slope) == pytest.approx(-math.log(2))


def test_an_affine_map_is_no_steeper_than_e_whatever_a_network_puts_out() -> None:
    raw = torch.tensor([[1e30, 0.0], [-1e30, 0.0], [0.0, 0.0]])
    _, log_slope = Affine().forward(torch.zeros(3), raw)
    assert log_slope.tolist() == [1, -1, 0]


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_the_axis_of_parameters_is_the_one_named(dim: int) -> None:
    x = torch.randn(4, 3)
    last = torch.randn(4, 3, 2)
    expected, _ = Affine().forward(x, last)
    torch.testing.assert_close(Affine().forward(x, last.movedim(-1, dim), dim)[0], expected)


@ALL
def test_features_of_an_element_wise_block_do_not_see_each_other(univariate: Univariate) -> None:
    x, context = torch.randn(3, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    made = block(univariate)
    jacobian = torch.autograd.functional.jacobian(lambda x: made(x[None], context)[0][0], x)
    assert torch.equal(jacobian, jacobian.diag().diag())
    torch.testing.assert_close(jacobian.diag().log().sum()[None], made(x[None], context)[1])
    assert len(jacobian.diag().unique()) == 3  # each feature has a map of its own


def test_an_element_wise_block_follows_its_context() -> None:
    made, x = block(LinearSpline(5, 4.0)), torch.ones(2, 3, dtype=torch.float64)
    z, _ = made(x, torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64))
    assert ((z[0] - z[1]).abs() > 1e-3).all()


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_an_element_wise_block_without_context_is_refused(direction: str) -> None:
    with pytest.raises(ValueError, match="nothing but a context to go by, got None"):
        getattr(block(Affine()), direction)(torch.zeros(1, 3))
