"""Consistency models: from any noise to data in one step (Song et al., arXiv:2303.01469)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from caloforge.diffusion.continuous import Denoiser, NoiseLevels
from caloforge.upload import upload

__all__ = ["Consistency", "Neighbours", "consistency_loss", "neighbours"]


@dataclass(frozen=True, eq=False)
class Consistency:
    """A map from all points of a trajectory to its end (equation 5 and appendix C).

        f(x, sigma) = c_skip x + c_out F(c_in x, log(sigma) / 4)

        c_skip = s^2 / ((sigma - e)^2 + s^2),   c_out = s (sigma - e) / sqrt(sigma^2 + s^2)

    so that f(x, e) = x at the lowest level e, whatever the network. c_in is that of
    `Preconditioned`, as is the network, which it may begin with.

    Args:
        network: F(x, level) for x (n, ...) and levels (n,).
        levels: of the noise.
        data_std: standard deviation s of the data.
    """

    network: Callable[[Tensor, Tensor], Tensor]
    levels: NoiseLevels
    data_std: float = 0.5

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """f(x, sigma), the shape of x."""
        wide = sigma.reshape(-1, *[1] * (x.ndim - 1))
        total = (wide.square() + self.data_std**2).sqrt()
        above = wide - self.levels.lowest
        found = self.network(x / total, sigma.log() / 4)
        skip = self.data_std**2 / (above.square() + self.data_std**2)
        return skip * x + self.data_std * above / total * found

    def sample(
        self, noise: Tensor, jumps: int = 1, *, fresh: Callable[[int], Tensor] | None = None
    ) -> Tensor:
        """Data from standard normal noise, shape (n, ...) (algorithm 1).

        Args:
            noise: at the highest level.
            jumps: evaluations; between two, noise of a lower level is added.
            fresh: that noise, standard normal, by the number of the jump; one alone needs none.
        """
        sigmas = self.levels.grid(jumps + 1).tolist()[:jumps]
        x = self.levels.highest * noise
        for number, sigma in enumerate(sigmas):
            if number:
                if fresh is None:
                    raise ValueError("several jumps add noise between them: give it as `fresh`")
                x = x.add(fresh(number), alpha=math.sqrt(sigma**2 - self.levels.lowest**2))
            x = self(x, x.new_full((len(x),), sigma))
        return x


class Neighbours(NamedTuple):
    """Points of trajectories at neighbouring levels.

    Args:
        there: at the higher level, shape (n, ...).
        high: the higher level, shape (n,).
        here: where the trajectories are at the lower level, shape (n, ...).
        low: the lower level, shape (n,).
    """

    there: Tensor
    high: Tensor
    here: Tensor
    low: Tensor


@torch.no_grad()
def neighbours(
    teacher: Denoiser, x: Tensor, levels: NoiseLevels, *, intervals: int, rng: torch.Generator
) -> Neighbours:
    """Data with noise, and where a step of Heun's method takes it (algorithm 2).

    Args:
        teacher: a trained denoiser, which is followed.
        x: data, shape (n, ...).
        levels: of the noise.
        intervals: between the levels of the grid, of which each point has one.
        rng: source of intervals and noise.
    """
    grid = upload(levels.grid(intervals + 1)[:-1], x.device, x.dtype)
    number = torch.randint(intervals, (len(x),), generator=rng, device=x.device)
    noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    high, low = grid[number], grid[number + 1]
    wide = [-1, *[1] * (x.ndim - 1)]
    there = x + high.reshape(wide) * noise
    first = (there - teacher(there, high)) / high.reshape(wide)
    step = (low - high).reshape(wide)
    end = there + step * first
    second = (end - teacher(end, low)) / low.reshape(wide)
    return Neighbours(there, high, there + step / 2 * (first + second), low)


def consistency_loss(student: Consistency, target: Denoiser, pairs: Neighbours) -> Tensor:
    """Distance between the ends that neighbours lead to, a scalar (algorithm 2, mean square).

    Args:
        student: which is trained.
        target: a slowly moving average of it, which gets no gradient.
        pairs: neighbours on the trajectories of a teacher.
    """
    with torch.no_grad():
        wanted = target(pairs.here, pairs.low)
    return (student(pairs.there, pairs.high) - wanted).square().mean()
