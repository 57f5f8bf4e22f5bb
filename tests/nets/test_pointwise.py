"""The network of points: published size, and that points and clouds leave each other alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caloforge.nets import ConcatSquash, PointWiseNet


@pytest.fixture
def net() -> PointWiseNet:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return PointWiseNet(4, 6, hidden=(8, 12, 8)).double()


@pytest.fixture
def clouds(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Points of three clouds, one of them empty; contexts; the cloud of each point."""
    cloud = torch.tensor([0] * 5 + [2] * 7)
    x = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    return x, torch.randn(3, 6, generator=generator, dtype=torch.float64), cloud


def test_it_has_the_published_parameters() -> None:
    """Latent of 256, energy, number of points and three time features (CaloClouds, figure 3)."""
    net = PointWiseNet(4, 256 + 2 + 3)
    assert sum(weights.numel() for weights in net.parameters()) == 1_001_520
    a_point = [layer.layer.weight.numel() for layer in net.layers]
    assert sum(a_point) == 328_704


def test_a_layer_is_gated_and_shifted_by_its_cloud() -> None:
    layer = ConcatSquash(1, 1, 1)
    for weights, value in zip(layer.parameters(), (2.0, 1.0, 3.0, 0.5, 4.0), strict=True):
        weights.data.fill_(value)
    x, context = torch.tensor([[5.0]]), torch.tensor([[0.25]])
    expected = (2 * 5 + 1) * torch.sigmoid(torch.tensor(3 * 0.25 + 0.5)) + 4 * 0.25
    assert layer(x, context, torch.zeros(1, dtype=torch.long)).item() == pytest.approx(
        expected.item()
    )


def test_clouds_are_drawn_as_if_alone(
    net: PointWiseNet, clouds: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, context, cloud = clouds
    together = net(x, context, cloud)
    for number in range(3):
        own = cloud == number
        alone = net(x[own], context[number : number + 1], torch.zeros(int(own.sum())).long())
        torch.testing.assert_close(together[own], alone)


def test_points_keep_their_order(
    net: PointWiseNet, clouds: tuple[Tensor, Tensor, Tensor], generator: torch.Generator
) -> None:
    x, context, cloud = clouds
    order = torch.randperm(len(x), generator=generator)
    moved = net(x[order], context, cloud[order])
    torch.testing.assert_close(moved, net(x, context, cloud)[order])


def test_a_point_depends_on_itself_and_the_context_of_its_cloud(
    net: PointWiseNet, clouds: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, context, cloud = (t.clone() for t in clouds)
    x.requires_grad_()
    context.requires_grad_()
    point = net(x, context, cloud)[6].sum()
    by_point, by_context = torch.autograd.grad(point, [x, context])
    assert by_point.abs().sum(1).nonzero().flatten().tolist() == [6]
    assert by_context.abs().sum(1).nonzero().flatten().tolist() == [2]


def test_clouds_side_by_side_are_clouds_behind_each_other(
    net: PointWiseNet, generator: torch.Generator
) -> None:
    x = torch.randn(3, 5, 4, generator=generator, dtype=torch.float64)
    context = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    flat = net(x.flatten(0, 1), context, torch.arange(3).repeat_interleave(5))
    torch.testing.assert_close(net(x, context).flatten(0, 1), flat)


def test_a_cloud_alone_has_the_gradients_of_one_among_others(
    net: PointWiseNet, clouds: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Alone, its gates go into the weights."""
    x, context, cloud = clouds
    own = cloud == 2
    weights = list(net.parameters())
    among = torch.autograd.grad(net(x, context, cloud)[own].square().sum(), weights)
    alone = torch.autograd.grad(net(x[own], context[2:]).square().sum(), weights)
    for one, other in zip(among, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_half_precision_rounds_and_no_more(
    net: PointWiseNet, clouds: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, context, cloud = clouds
    x, context, net = x.float(), context.float(), net.float()
    own = cloud == 2
    with torch.no_grad():
        exact = net(x[own], context[2:])
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(x[own], context[2:])
    assert rounded.dtype == torch.float32
    assert not rounded.equal(exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.02)
