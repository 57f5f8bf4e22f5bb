"""The variational autoencoder of a three-dimensional grid."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from caloforge.nets import Autoencoder3d, DownSampling, divergence

SECOND = DownSampling(4)


def small(grid: tuple[int, int, int], *first: tuple[int, int, int], cyclic: bool) -> Autoencoder3d:
    return Autoencoder3d(grid, [DownSampling(3, *first), SECOND], 2, 5, cyclic=cyclic)


@pytest.mark.parametrize("cyclic", [False, True])
@pytest.mark.parametrize(
    ("grid", "first", "latent"),
    [
        ((45, 16, 9), [(3, 2, 1), (3, 2, 1), (0, 1, 0)], (2, 15, 9, 9)),
        ((45, 50, 18), [(5, 2, 3), (2, 2, 1), (0, 1, 0)], (2, 21, 26, 16)),
        ((45, 50, 18), [(5, 2, 3), (5, 2, 1), (0, 1, 0)], (2, 9, 26, 16)),
        ((30, 30, 30), [(3, 2, 2), (3, 2, 2), (0, 0, 0)], (2, 10, 15, 15)),
        ((7, 6, 9), [(3, 3, 2), (3, 2, 2), (0, 1, 0)], (2, 2, 3, 4)),  # with points left over
    ],
)
def test_grids_come_back_whole(
    grid: tuple[int, int, int],
    first: list[tuple[int, int, int]],
    latent: tuple[int, ...],
    cyclic: bool,
) -> None:
    """The bottlenecks are those of table 4, for both strides of dataset 3."""
    net = small(grid, *first, cyclic=cyclic)
    assert net.latent_shape == latent
    condition = torch.zeros(2, 5)
    mean, log_variance = net.encode(torch.rand(2, *grid), condition)
    assert mean.shape == log_variance.shape == (2, *latent)
    assert net.decode(mean, condition).shape == (2, *grid)


@pytest.mark.parametrize(
    "first",
    [
        [(3, 2, 2), (4, 2, 2), (0, 0, 0)],  # leaves points out
        [(9, 2, 2), (2, 2, 2), (0, 0, 0)],  # larger than the grid
        [(3, 2, 2), (3, 2, 2), (0, 2, 0)],  # sees nothing but padding
    ],
)
def test_kernels_that_do_not_fit_are_refused(first: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match="coarser and back"):
        small((6, 6, 6), *first, cyclic=False)


def test_divergence_is_that_of_normal_distributions() -> None:
    mean, variance = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([1.0, 4.0, 0.25])
    known = kl_divergence(Normal(mean, variance.sqrt()), Normal(0.0, 1.0))
    torch.testing.assert_close(divergence(mean, variance.log()), known)
    assert divergence(torch.tensor(1.0), torch.tensor(math.log(4.0))).item() == pytest.approx(
        (1 + 4 - 1 - math.log(4.0)) / 2
    )


def test_the_ends_of_a_cyclic_axis_see_each_other() -> None:
    """A change at one end of the second axis reaches the other end only if it wraps around."""
    x = torch.zeros(2, 4, 12, 4)
    x[1, :, 0] = 1
    for cyclic in (False, True):
        torch.manual_seed(2)
        net = small((4, 12, 4), (1, 1, 1), (1, 1, 1), (0, 0, 0), cyclic=cyclic)
        mean, _ = net.encode(x, torch.zeros(2, 5))
        reached = (mean[0] != mean[1]).any(0).any(0).any(-1)
        assert reached.tolist() == [True] * 5 + [False] * 3 + [cyclic] * 4


def test_points_and_conditions_are_distinguished() -> None:
    """Coordinates break the symmetry of a uniform grid, inside as at its border."""
    torch.manual_seed(3)
    net = small((9, 9, 9), (1, 1, 1), (1, 1, 1), (0, 0, 0), cyclic=True)
    condition = torch.tensor([[0.0] * 5, [1.0] * 5])
    logits = net.decode(torch.zeros(2, *net.latent_shape), condition)
    assert (logits[0] - logits[1]).abs().min() > 0
    along_alpha = logits[0, 4, :, 4]
    assert along_alpha.std() > 1e-4


def test_one_grid_is_decoded_as_in_a_batch() -> None:
    net = small((6, 6, 4), (3, 2, 2), (3, 2, 2), (0, 0, 0), cyclic=True)
    latent, condition = torch.randn(3, *net.latent_shape), torch.randn(3, 5)
    one, all_three = net.decode(latent[1:2], condition[1:2]), net.decode(latent, condition)
    torch.testing.assert_close(one, all_three[1:2], rtol=1e-4, atol=1e-5)


def test_every_weight_learns() -> None:
    torch.manual_seed(4)
    net = small((6, 6, 4), (3, 2, 2), (3, 2, 2), (0, 0, 0), cyclic=True)
    condition = torch.randn(8, 5)
    mean, log_variance = net.encode(torch.rand(8, 6, 6, 4), condition)
    net.decode(mean + log_variance.exp(), condition).square().sum().backward()
    assert all(weights.grad.abs().sum() > 0 for weights in net.parameters())
