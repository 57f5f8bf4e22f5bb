"""The encoder of clouds: published size, and what of a cloud its code depends on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from caloforge.nets import EPiCEncoder, EPiCLayer
from caloforge.nets.epic import _pooled

N_POINTS = (5, 1, 7)


@pytest.fixture
def encoder() -> EPiCEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return EPiCEncoder(4, 2, 6, hidden=8, layers=2).double()


@pytest.fixture
def clouds(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Points of three clouds, conditions, and the cloud of each point."""
    cloud = torch.repeat_interleave(torch.tensor(N_POINTS))
    x = torch.randn(len(cloud), 4, generator=generator, dtype=torch.float64)
    return x, torch.randn(3, 2, generator=generator, dtype=torch.float64), cloud


def code(encoder: EPiCEncoder, x: Tensor, context: Tensor, cloud: Tensor) -> Tensor:
    """mu and log sigma^2 beside each other."""
    return torch.cat(encoder(x, context, cloud), 1)


def test_it_has_the_published_parameters() -> None:
    """Four features, energy and number of points, latent of 256 (CaloClouds, section 3.2)."""
    net = EPiCEncoder(4, 2, 256)
    assert sum(weights.numel() for weights in net.parameters()) == 730_368
    assert sum(weights.numel() for weights in net.layers.parameters()) == 3 * 165_632


def test_the_order_of_points_is_without_effect(
    encoder: EPiCEncoder, clouds: tuple[Tensor, Tensor, Tensor], generator: torch.Generator
) -> None:
    x, context, cloud = clouds
    order = torch.randperm(len(x), generator=generator)
    moved = code(encoder, x[order], context, cloud[order])
    torch.testing.assert_close(moved, code(encoder, x, context, cloud))


def test_a_layer_moves_with_the_points(
    clouds: tuple[Tensor, Tensor, Tensor], generator: torch.Generator
) -> None:
    x, context, cloud = clouds
    layer = EPiCLayer(4, 6, 2).double()
    common = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(x), generator=generator)
    points, found = layer(x, common, context, cloud)
    moved, again = layer(x[order], common, context, cloud[order])
    torch.testing.assert_close(moved, points[order])
    torch.testing.assert_close(again, found)
    assert (points.shape, found.shape) == (x.shape, common.shape)


def test_clouds_are_encoded_as_if_alone(
    encoder: EPiCEncoder, clouds: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, context, cloud = clouds
    together = encoder(x, context, cloud)
    assert [values.shape for values in together] == [(3, 6), (3, 6)]
    for number in range(3):
        own = cloud == number
        alone = encoder(x[own], context[number : number + 1], torch.zeros(N_POINTS[number]).long())
        for values, one in zip(together, alone, strict=True):
            torch.testing.assert_close(values[number : number + 1], one)


def test_a_code_depends_on_every_point_of_its_cloud_and_on_no_other(
    encoder: EPiCEncoder, clouds: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, context, cloud = clouds
    x.requires_grad_(), context.requires_grad_()
    for values in encoder(x, context, cloud):
        by_point, by_context = torch.autograd.grad(values[2].sum(), [x, context], retain_graph=True)
        assert by_point.abs().sum(1).nonzero().flatten().tolist() == [6, 7, 8, 9, 10, 11, 12]
        assert by_context.abs().sum(1).nonzero().flatten().tolist() == [2]


def test_means_do_not_know_the_number_of_points_but_sums_do(
    encoder: EPiCEncoder, clouds: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cloud of which every point is there twice."""
    x, context, cloud = clouds
    once, twice = ((x, context, cloud), (x.repeat(2, 1), context, cloud.repeat(2)))
    assert ((code(encoder, *twice) - code(encoder, *once)).abs() > 1e-9).any()
    monkeypatch.setattr("caloforge.nets.epic.SUM_SCALE", 0.0)
    torch.testing.assert_close(code(encoder, *twice), code(encoder, *once))


def test_an_empty_cloud_has_a_finite_code(
    encoder: EPiCEncoder, clouds: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, context, cloud = clouds
    kept = cloud != 1
    found = code(encoder, x[kept], context, cloud[kept])
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[[0, 2]], code(encoder, x, context, cloud)[[0, 2]])


def test_sums_over_thousands_of_points_are_exact_in_half_precision() -> None:
    """Added up in bfloat16, ones stop at 256."""
    x, cloud = torch.ones(9_001, 2, dtype=torch.bfloat16), torch.zeros(9_001, dtype=torch.long)
    cloud[-1] = 2
    mean, total = _pooled(x, cloud, 3)
    assert mean[:, 1].tolist() == [1, 0, 1]
    assert total[:, 1].tolist() == pytest.approx([9, 0, 0.001])


def test_it_learns_in_mixed_precision(
    clouds: tuple[Tensor, Tensor, Tensor],
) -> None:
    torch.manual_seed(0)
    net, (x, context, cloud) = EPiCEncoder(4, 2, 6, hidden=8), clouds
    expected = code(net, x.float(), context.float(), cloud)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = code(net, x.float(), context.float(), cloud)
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.02)
    found.float().square().sum().backward()
    assert all(torch.isfinite(weights.grad).all() for weights in net.parameters())


def test_gradients_are_those_of_finite_differences(
    encoder: EPiCEncoder, clouds: tuple[Tensor, Tensor, Tensor]
) -> None:
    x, context, cloud = clouds
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: code(encoder, x, context, cloud), x, eps=1e-7)


def test_rows_of_weights_have_the_norm_of_their_gain(encoder: EPiCEncoder) -> None:
    linear = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
    assert len(linear) == 2 + 2 + 2 * 4 + 4
    for layer in linear:
        gain = layer.parametrizations.weight.original0[:, 0]
        torch.testing.assert_close(layer.weight.norm(dim=1), gain.abs())
