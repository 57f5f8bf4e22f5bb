"""The density of a flow, its samples, and what is set from a first batch."""

from __future__ import annotations

import math

import pytest
import torch

from caloforge.flows import (
    ActNorm,
    Chain,
    Convolution1x1,
    Coupling,
    Flow,
    Permutation,
    Spline,
    SplineMADE,
)
from caloforge.nets import UNet


def test_density_of_an_affine_flow_is_the_gaussian_it_stands_for(
    generator: torch.Generator,
) -> None:
    """z = 2 x - 3 onto N(0, 1) is x ~ N(3/2, 1/2)."""
    norm = ActNorm(1).double()
    norm.log_scale.data.fill_(math.log(2))
    norm.shift.data.fill_(-3)
    flow = Flow(norm, (1, 1, 1))
    x = torch.linspace(-2, 4, 13, dtype=torch.float64)[:, None, None, None]
    mean, std = torch.tensor([1.5, 0.5], dtype=torch.float64)
    expected = torch.distributions.Normal(mean, std).log_prob(x).flatten()
    torch.testing.assert_close(flow.log_prob(x), expected, rtol=1e-12, atol=1e-12)
    sampled = flow.sample(40_000, rng=generator).detach()
    assert sampled.mean().item() == pytest.approx(1.5, abs=0.01)  # four standard errors
    assert sampled.std().item() == pytest.approx(0.5, abs=0.01)


def test_density_is_normalised() -> None:
    """The integral of exp(log_prob) over the plane is one, whatever the weights."""
    torch.manual_seed(4)
    block = SplineMADE(2, 1, 16, 1, Spline(6, 4.0)).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    flow = Flow(Chain([block, Permutation(torch.tensor([1, 0]))]), (2,))
    axis = torch.linspace(-8, 8, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    context = torch.full((len(grid), 1), 0.7, dtype=torch.float64)
    with torch.no_grad():
        total = flow.log_prob(grid, context).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=2e-3)


def test_samples_depend_on_their_generator_alone() -> None:
    torch.manual_seed(0)
    flow = Flow(Chain([ActNorm(2), Convolution1x1(torch.tensor([1, 0]))]), (2, 3, 3))
    first = flow.sample(4, rng=torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = flow.sample(4, rng=torch.Generator().manual_seed(1))
    other = flow.sample(4, rng=torch.Generator().manual_seed(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_activation_norms_standardise_the_first_batch(generator: torch.Generator) -> None:
    """One after the other too: the second one sees what the first one puts out."""
    x = torch.randn(64, 3, 4, 5, generator=generator, dtype=torch.float64)
    x = (
        x * torch.tensor([1.0, 20.0, 0.01])[:, None, None]
        + torch.tensor([5.0, 0, -7])[:, None, None]
    )
    first, second = ActNorm(3).double(), ActNorm(3).double()
    flow = Flow(Chain([first, Convolution1x1(torch.tensor([1, 2, 0])).double(), second]), (3, 4, 5))
    flow.initialise(x)
    z, _ = first(x)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3, dtype=z.dtype), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(3, dtype=z.dtype), atol=1e-9, rtol=0)
    image, _ = flow.bijection(x)
    torch.testing.assert_close(
        image.mean((0, 2, 3)), torch.zeros(3, dtype=z.dtype), atol=1e-9, rtol=0
    )


def test_a_constant_channel_keeps_its_scale() -> None:
    norm = ActNorm(2)
    norm.initialise(torch.stack([torch.zeros(8, 2, 2), torch.randn(8, 2, 2)], 1))
    assert norm.log_scale[0].item() == 0
    assert torch.isfinite(norm.shift).all()


def test_a_convolution_begins_as_a_permutation_of_the_channels() -> None:
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    x = torch.randn(2, 6, 3, 3)
    z, log_det = Convolution1x1(order)(x)
    assert torch.equal(z, x[:, order])
    assert torch.equal(log_det, torch.zeros(2))


@pytest.mark.parametrize("permutation", [[1, 2, 0], [2, 0, 1], [1, 0, 2], [0, 1, 2]])
def test_every_permutation_is_undone(permutation: list[int], generator: torch.Generator) -> None:
    # only those that are their own inverse forgive a transposed matrix
    x = torch.randn(2, 3, 2, 2, generator=generator)
    layer = Convolution1x1(torch.tensor(permutation))
    torch.testing.assert_close(layer.inverse(layer(x)[0])[0], x)
    order = Permutation(torch.tensor(permutation))
    assert torch.equal(order.inverse(order(x.flatten(1)[:, :3])[0])[0], x.flatten(1)[:, :3])


def test_a_coupling_of_one_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="2 channels or more, got 1: squeeze first"):
        Coupling(1, UNet(1, 1, (2, 2), ((1, 1),), cyclic=False), Spline(4, 2.0))
