"""Precise trajectories that bespoke solvers are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from caloforge.matching.path import Velocity
from caloforge.matching.rungekutta import MIDPOINT, RungeKutta

__all__ = ["Batch", "Reference", "follow", "position_weights", "velocity_weights"]

Batch = tuple[Tensor, Tensor | None]
"""Noise, shape (n, ...), and the context that it comes with, first dimension n."""

ELEMENTS = 1 << 16  # of a trajectory that are widened to double precision at once


@dataclass(frozen=True, eq=False)
class Reference:
    """A batch carried from noise to data in many steps, K of them.

    The states x_k = x(k / K) and their velocities v_k, stacked to z = (x_0 … x_K, v_0 … v_K), are
    kept by their second moments alone. Whatever is linear in them has a mean square that follows
    from these: < (w z)^2 > = w < z z^T > w^T, the mean over the batch and over the features.

    Args:
        noise: x(0), shape (n, ...).
        context: first dimension n.
        data: x(1), shape (n, ...).
        moments: < z z^T > in double precision, shape (2 (K + 1), 2 (K + 1)).
    """

    noise: Tensor
    context: Tensor | None
    data: Tensor
    moments: Tensor


@torch.no_grad()
def follow(
    velocity: Velocity,
    batches: Iterable[Batch],
    *,
    steps: int = 100,
    progress: Callable[[], None] | None = None,
) -> list[Reference]:
    """Carry batches of noise to data by the midpoint method (CaloDREAM, table 5).

    A whole trajectory is held in memory, 2 (steps + 1) times the size of a batch.

    Args:
        velocity: v(x, t, context), trained.
        batches: the noise, with contexts as they occur when showers are sampled.
        steps: number K of steps, of two evaluations each.
        progress: called when a batch is done.
    """
    solver = RungeKutta(MIDPOINT, steps)
    references = []
    for noise, context in batches:
        states, velocities = [noise], []
        for number in range(steps):
            x, u = solver.step(velocity, states[-1], number, context)
            states.append(x)
            velocities.append(u)
        velocities.append(velocity(states[-1], noise.new_ones(len(noise)), context))
        moments = _moments([*states, *velocities])
        references.append(Reference(noise, context, states[-1], moments))
        if progress is not None:
            progress()
    return references


def _moments(trajectory: list[Tensor]) -> Tensor:
    """< z z^T > in double precision, shape (len(trajectory), len(trajectory))."""
    rows = torch.stack([point.flatten() for point in trajectory])
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for columns in rows.split(ELEMENTS, 1):
        exact = columns.double()
        total.addmm_(exact, exact.t())
    return (total / rows.shape[1]).cpu()


def position_weights(t: Tensor, steps: int) -> Tensor:
    """Weights w of z with w z = x(t), by cubic Hermite interpolation between the states.

    Args:
        t: times between 0 and 1, shape (m,).
        steps: number K of steps of the reference.

    Returns:
        Shape (m, 2 (K + 1)), differentiable in t.
    """
    k, s = _located(t, steps)
    left, right = (1 + 2 * s) * (1 - s).square(), s.square() * (3 - 2 * s)
    rise, fall = s * (1 - s).square() / steps, s.square() * (s - 1) / steps
    return _scattered(k, (left, right), (rise, fall), steps)


def velocity_weights(t: Tensor, steps: int) -> Tensor:
    """Weights w of z with w z = dx/dt(t), the derivative of `position_weights`."""
    k, s = _located(t, steps)
    left = 6 * s * (s - 1) * steps
    rise, fall = (1 - s) * (1 - 3 * s), s * (3 * s - 2)
    return _scattered(k, (left, -left), (rise, fall), steps)


def _located(t: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The step that a time lies in, and where in it, from 0 to 1."""
    k = (t.detach() * steps).floor().clamp(0, steps - 1).long()
    return k, t * steps - k


def _scattered(
    k: Tensor, states: tuple[Tensor, Tensor], velocities: tuple[Tensor, Tensor], steps: int
) -> Tensor:
    """Weights of the states and velocities at both ends of step k, at their places in z."""
    places = torch.stack([k, k + 1, k + steps + 1, k + steps + 2], 1)
    weights = torch.stack([*states, *velocities], 1)
    return weights.new_zeros(len(k), 2 * (steps + 1)).scatter(1, places, weights)
