"""Bespoke solvers: non-stationary solvers with trainable coefficients, and what they minimise."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from caloforge.matching.nonstationary import NonStationary
from caloforge.matching.path import Velocity
from caloforge.matching.reference import Reference, position_weights, velocity_weights

__all__ = ["Bespoke", "global_error", "local_error"]


class Bespoke(nn.Module):
    """The N (N + 5) / 2 - 1 coefficients of a `NonStationary` solver, which begins as Euler's.

    N of a, N (N + 1) / 2 of b and N - 1 times between t_0 = 0 and t_N = 1, which rise: their
    distances are a softmax. At the start a_i = 1, b_ij = 1 / N and t_i = i / N (CaloDREAM, section
    3.4). All are in double precision, whatever the velocity computes in.

    Args:
        steps: number N of steps, of one evaluation each.

    Raises:
        ValueError: for less than one step.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"a solver takes 1 step or more, got {steps}")
        self.a = nn.Parameter(torch.ones(steps, dtype=torch.float64))
        # rows of the lower triangle, one after the other
        n_lower = steps * (steps + 1) // 2
        self.b = nn.Parameter(torch.full((n_lower,), 1 / steps, dtype=torch.float64))
        # logarithms of the distances of times in units of the first
        self.distances = nn.Parameter(torch.zeros(steps - 1, dtype=torch.float64))

    def solver(self) -> NonStationary:
        """The solver of the present coefficients, differentiable in them."""
        n = len(self.a)
        zero = self.a.new_zeros(1)
        distances = torch.cat([zero, self.distances]).softmax(0)
        times = torch.cat([zero, distances[:-1].cumsum(0)])
        b = self.b.new_zeros(n, n).index_put(tuple(torch.tril_indices(n, n)), self.b)
        return NonStationary(times, self.a, b)


def global_error(solver: NonStationary, velocity: Velocity, reference: Reference) -> Tensor:
    """Mean square of x_ref(1) - x_N, a scalar (CaloDREAM, equation 16).

    Args:
        solver: the solver.
        velocity: v(x, t, context), through which the gradient goes.
        reference: where the trajectories lead.
    """
    reached = solver(velocity, reference.noise, reference.context)
    return (reached - reference.data).square().mean()


def local_error(solver: NonStationary, moments: Tensor) -> Tensor:
    """Mean square error of each step alone, begun from the reference (CaloDREAM, equation 17).

        sum_i < [x_ref(t_i+1) - (a_i x_0 + sum_j<=i b_ij v_ref(t_j))]^2 >

    States and velocities between those of the reference are interpolated: then the error is a
    quadratic form in its second moments, and needs no evaluation of the velocity.

    Args:
        solver: the solver.
        moments: those of a `Reference`, or their mean over several.
    """
    steps = len(moments) // 2 - 1
    ends = torch.cat([solver.times, solver.times.new_ones(1)])
    positions = position_weights(ends, steps)
    velocities = velocity_weights(solver.times, steps)
    residual = positions[1:] - solver.a[:, None] * positions[0] - solver.b.tril() @ velocities
    return (residual @ moments * residual).sum()
