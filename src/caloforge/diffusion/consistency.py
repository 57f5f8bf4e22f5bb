"""Consistency models: from any noise to data in one step (Song et al., arXiv:2303.01469)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from caloforge.diffusion.continuous import Denoiser, NoiseLevels

__all__ = ["Consistency", "consistency_loss"]


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

    def sample(self, noise: Tensor) -> Tensor:
        """Data from standard normal noise, shape (n, ...), in one evaluation."""
        highest = noise.new_full((len(noise),), self.levels.highest)
        return self(self.levels.highest * noise, highest)


def consistency_loss(
    student: Consistency,
    target: Denoiser,
    teacher: Denoiser,
    x: Tensor,
    *,
    intervals: int,
    rng: torch.Generator,
) -> Tensor:
    """Distance between the ends that two neighbouring points of a trajectory lead to, a scalar.

    The point at the higher level is data with noise; the other one follows from it by a step of
    Heun's method with the teacher (algorithm 2, mean square distance).

    Args:
        student: which is trained.
        target: a slowly moving average of it, which gets no gradient.
        teacher: a trained denoiser.
        x: data, shape (n, ...).
        intervals: between the levels of the student's grid.
        rng: source of levels and noise.
    """
    grid = student.levels.grid(intervals + 1)[:-1].to(x)
    number = torch.randint(intervals, (len(x),), generator=rng, device=x.device)
    noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
    high, low = grid[number], grid[number + 1]
    wide = [-1, *[1] * (x.ndim - 1)]
    there = x + high.reshape(wide) * noise
    with torch.no_grad():
        first = (there - teacher(there, high)) / high.reshape(wide)
        step = (low - high).reshape(wide)
        end = there + step * first
        second = (end - teacher(end, low)) / low.reshape(wide)
        here = there + step / 2 * (first + second)
        wanted = target(here, low)
    return (student(there, high) - wanted).square().mean()
