"""One jump to images of hits: not to their mean, but to hits sampled with their probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from caloforge.matching.flowmap import FlowMap, MeanVelocity
from caloforge.matching.path import Velocity
from caloforge.matching.solver import Fresh, Solver

__all__ = ["DrawnHits", "hit_spread"]

RARE = 1e-3  # probability of a hit below which the mean energy of one is not resolved


@dataclass(frozen=True, eq=False)
class DrawnHits(Solver):
    """A random sample of independent voxels, whose mean a flow map gives in one jump.

        (2 P - 1, P m) = x(0) + u(x(0), 0, 1)
        hit where U < P,   e = m + s Z

    Where a trajectory ends is certain, but not to a network, which averages over what it cannot
    distinguish. A mean square error makes of P the probability of a hit, so that a jump to the mean
    alone leaves out every hit less likely than not, as those of the halo are. A sample has as many
    of them as the ends of trajectories.

    U and Z are new random numbers, independent of the network. The bit is P - U, so that the
    largest of an empty layer is the likeliest. The velocity that it is called with is ignored.

    Args:
        mean_velocity: u, trained; images have two channels, 1 for a hit or -1, and its energy e,
            0 without one.
        spread: gives s, of energies about their mean, a scalar.
    """

    mean_velocity: MeanVelocity = field(repr=False)
    spread: Callable[[], Tensor] = field(repr=False)

    @property
    def n_evaluations(self) -> int:
        return 1

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        context: Tensor | None = None,
        fresh: Fresh | None = None,
    ) -> Tensor:
        if fresh is None:
            raise ValueError("hits are sampled at random: give a source of numbers as `fresh`")
        mean = FlowMap(self.mean_velocity, 1)(velocity, noise, context)
        probability, energy = _hits(mean)
        of_bit, of_energy = fresh(*noise.shape[1:]).to(noise).unbind(1)
        bit = probability - torch.special.ndtr(of_bit)
        sampled = energy + self.spread().to(noise) * of_energy
        return torch.stack([bit, torch.where(bit > 0, sampled, 0.0)], 1)


def hit_spread(mean: Tensor, image: Tensor) -> Tensor:
    """Root mean square of e - m over the hits of images, a scalar; NaN if there is none.

    Args:
        mean: the mean image, where the flow map jumps to, shape (n, 2, ...).
        image: where trajectories end, of the same shape.
    """
    bit, energy = image.unbind(1)
    _, expected = _hits(mean)
    return (energy - expected)[bit > 0].square().mean().sqrt()


def _hits(mean: Tensor) -> tuple[Tensor, Tensor]:
    """P and m of a mean image."""
    bit, energy = mean.unbind(1)
    probability = (1 + bit) / 2
    return probability, energy / probability.clamp_min(RARE)
