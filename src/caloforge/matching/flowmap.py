"""Flow maps: networks that jump along the trajectories of a velocity, trained on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from caloforge.matching.path import Velocity
from caloforge.matching.rungekutta import RungeKutta
from caloforge.matching.solver import Fresh, Solver

__all__ = ["FlowMap", "Jumps", "MeanVelocity", "flow_map_loss", "jumps"]

MeanVelocity = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""u(x, times, context) of the shape of x (n, ...), with start and end of each jump (n, 2)."""


@dataclass(frozen=True, eq=False)
class Jumps:
    """Pairs of points on trajectories.

    Args:
        start: where jumps begin, shape (n, ...).
        end: where they lead, shape (n, ...).
        times: t of both, shape (n, 2).
        context: what the velocity is conditioned on, first dimension n.
    """

    start: Tensor
    end: Tensor
    times: Tensor
    context: Tensor | None

    @property
    def velocity(self) -> Tensor:
        """Mean velocity of each jump, the shape of its start."""
        duration = self.times[:, 1] - self.times[:, 0]
        return (self.end - self.start) / duration.reshape(-1, *[1] * (self.start.ndim - 1))


@torch.no_grad()
def jumps(
    velocity: Velocity,
    noise: Tensor,
    context: Tensor | None,
    *,
    solver: RungeKutta,
    largest: int,
) -> Jumps:
    """Jumps along trajectories, as `FlowMap` of 1, 2, 4 … `largest` steps makes them.

    Each trajectory gives 2 largest - 1 of them: what is solved once is used many times.

    Args:
        velocity: v(x, t, context), trained.
        noise: where trajectories begin, shape (n, ...).
        context: first dimension n.
        solver: follows them, in a multiple of `largest` steps.
        largest: largest number of steps, a power of two.

    Raises:
        ValueError: for numbers of steps that do not fit.
    """
    if largest < 1 or largest & (largest - 1) or solver.steps % largest:
        raise ValueError(
            "trajectories are cut into 1, 2, 4 … pieces: expected a power of two that divides the "
            f"steps of the solver, got {largest} for {solver.steps} steps"
        )
    every = solver.steps // largest
    points = list(islice(solver.path(velocity, noise, context), 0, None, every))
    ends = [
        (piece * size, (piece + 1) * size)
        for size in _halvings(largest)
        for piece in range(largest // size)
    ]
    times = noise.new_tensor(ends) / largest
    return Jumps(
        torch.cat([points[first] for first, _ in ends]),
        torch.cat([points[last] for _, last in ends]),
        times.repeat_interleave(len(noise), 0),
        None if context is None else context.repeat(len(ends), *[1] * (context.ndim - 1)),
    )


def _halvings(number: int) -> Iterator[int]:
    while number:
        yield number
        number //= 2


def flow_map_loss(mean_velocity: MeanVelocity, found: Jumps) -> Tensor:
    """Mean square error of the mean velocities of jumps, a scalar.

        < [u(x(s), s, t) - (x(t) - x(s)) / (t - s)]^2 >

    The flow map x(s) -> x(s) + (t - s) u is the exact solution of the velocity's equation where the
    loss is 0 (arXiv:2406.07507, section 3). Unlike a velocity's it can be: nothing is averaged
    over, as one trajectory alone leads through a point.

    Args:
        mean_velocity: the network u.
        found: jumps along trajectories.
    """
    u = mean_velocity(found.start, found.times, found.context)
    return (u - found.velocity).square().mean()


@dataclass(frozen=True, eq=False)
class FlowMap(Solver):
    """Equal jumps of a network that gives where trajectories lead.

        x(t_k+1) = x(t_k) + (t_k+1 - t_k) u(x(t_k), t_k, t_k+1),   t_k = k / N

    The velocity that it is called with is ignored.

    Args:
        mean_velocity: u, trained.
        steps: number N of jumps, of one evaluation each.
    """

    mean_velocity: MeanVelocity = field(repr=False)
    steps: int

    @property
    def n_evaluations(self) -> int:
        return self.steps

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        context: Tensor | None = None,
        fresh: Fresh | None = None,
    ) -> Tensor:
        x = noise
        for number in range(self.steps):
            times = torch.arange(number, number + 2, dtype=x.dtype, device=x.device) / self.steps
            u = self.mean_velocity(x, times.expand(len(x), 2), context)
            x = x.add(u, alpha=1 / self.steps)
        return x
