"""MADE is autoregressive, whatever its weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from caloforge.nets import MADE

SIZES = [(5, 3, 20, 1, 2), (45, 4, 48, 1, 1), (7, 2, 3, 2, 0), (1, 5, 8, 1, 2), (6, 1, 16, 0, 0)]
EACH = pytest.mark.parametrize(
    ("features", "multiplier", "hidden", "hidden_layers", "context"), SIZES
)


def made(*sizes: int) -> MADE:
    torch.manual_seed(0)
    net = MADE(*sizes).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    return net


def inputs(features: int, context: int) -> tuple[Tensor, Tensor | None]:
    x = torch.randn(64, features, dtype=torch.float64)
    return x, torch.randn(64, context, dtype=torch.float64) if context else None


@EACH
def test_an_output_sees_the_features_before_its_own_alone(
    features: int, multiplier: int, hidden: int, hidden_layers: int, context: int
) -> None:
    net = made(features, multiplier, hidden, hidden_layers, context)
    x, given = inputs(features, context)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, given).sum(0), x)
    seen = jacobian.abs().sum(2)  # (multiplier, output, input)
    future = torch.triu(torch.ones(features, features, dtype=torch.bool))
    assert not seen[:, future].any()
    if features > 1 and hidden >= features - 1:
        direct_past = torch.diagonal(seen, -1, 1, 2)
        assert (direct_past > 0).float().mean() > 0.9  # a ReLU may be off for all inputs
        assert seen[:, -1, :-1].any(0).all()


@EACH
def test_outputs_see_the_context(
    features: int, multiplier: int, hidden: int, hidden_layers: int, context: int
) -> None:
    if not context:
        assert made(features, multiplier, hidden, hidden_layers, context).context is None
        return
    net = made(features, multiplier, hidden, hidden_layers, context)
    x, given = inputs(features, context)
    jacobian = torch.autograd.functional.jacobian(lambda c: net(x, c).sum(0), given)
    seen = jacobian.abs().sum((2, 3)) > 0
    assert seen.all()


@EACH
def test_feature_by_feature_the_outputs_are_those_of_one_pass(
    features: int, multiplier: int, hidden: int, hidden_layers: int, context: int
) -> None:
    net = made(features, multiplier, hidden, hidden_layers, context)
    x, given = inputs(features, context)
    together = net(x, given)
    assert together.shape == (len(x), multiplier, features)
    steps = net.stepwise().begin(len(x), given)
    for i, feature in enumerate(x.unbind(1)):
        torch.testing.assert_close(steps.outputs().T, together[:, :, i], rtol=1e-12, atol=1e-12)
        steps.append(feature)


def test_steps_give_outputs_in_the_order_that_is_wanted() -> None:
    net = made(6, 3, 10, 1, 0)
    x, _ = inputs(6, 0)
    every, some = net.stepwise(), net.stepwise(torch.tensor([2, -1, 0]))
    first, second = every.begin(len(x), None), some.begin(len(x), None)
    for feature in x.unbind(1):
        all_of_them = first.outputs()
        expected = torch.stack([all_of_them[2], torch.zeros(len(x)).double(), all_of_them[0]])
        torch.testing.assert_close(second.outputs(), expected, rtol=1e-12, atol=1e-12)
        first.append(feature)
        second.append(feature)


def test_outputs_begin_at_zero() -> None:
    net = MADE(4, 3, 10, 1, 2)
    assert not net(torch.randn(5, 4), torch.randn(5, 2)).any()
