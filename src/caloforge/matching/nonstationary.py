"""Non-stationary solvers: every step has coefficients of its own, for all that it has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caloforge.matching.path import Velocity
from caloforge.matching.solver import Fresh, Solver
from caloforge.upload import upload

__all__ = ["NonStationary"]


@dataclass(frozen=True, eq=False)
class NonStationary(Solver):
    """A solver of N steps, each of which sees the start and all velocities up to it.

        x_i+1 = a_i x_0 + sum_j<=i b_ij u_j,   u_j = v(x_j, t_j),   i = 0 … N - 1

    (CaloDREAM, equation 15; arXiv:2403.01329, section 3). Every explicit method with fixed steps
    has this form.

    Args:
        times: t_0 … t_N-1, from 0 and rising below 1, shape (N,).
        a: shape (N,).
        b: shape (N, N), of which the upper triangle is ignored.

    Raises:
        ValueError: for tensors of other shapes.
    """

    times: Tensor
    a: Tensor
    b: Tensor

    def __post_init__(self) -> None:
        n = len(self.times)
        shapes = [tuple(tensor.shape) for tensor in (self.times, self.a, self.b)]
        if n < 1 or shapes != [(n,), (n,), (n, n)]:
            raise ValueError(
                "a non-stationary solver needs times, a and b of shapes (N,), (N,) and (N, N), "
                f"got {shapes[0]}, {shapes[1]} and {shapes[2]}"
            )

    @property
    def n_evaluations(self) -> int:
        return len(self.times)

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        context: Tensor | None = None,
        fresh: Fresh | None = None,
    ) -> Tensor:
        times, a, b = (
            upload(table, noise.device, noise.dtype) for table in (self.times, self.a, self.b)
        )
        x, velocities = noise, noise.new_empty(0, *noise.shape)
        for i in range(len(times)):
            u = velocity(x, times[i].expand(len(x)), context)
            velocities = torch.cat([velocities, u[None]])
            # no matrix product, which accelerators may compute in half precision
            weights = b[i, : i + 1].reshape(-1, *[1] * noise.ndim)
            x = a[i] * noise + (weights * velocities).sum(0)
        return x

    def detached(self) -> NonStationary:
        """A copy without gradients, which no training changes any more."""
        return NonStationary(*(table.detach().clone() for table in (self.times, self.a, self.b)))

    def state(self) -> dict[str, Any]:
        """The coefficients in JSON's types."""
        rows = self.b.tolist()
        return {
            "times": self.times.tolist(),
            "a": self.a.tolist(),
            "b": [row[: i + 1] for i, row in enumerate(rows)],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> NonStationary:
        """Inverse of `state`, in double precision.

        Raises:
            ValueError: for coefficients that are no such solver.
        """
        n = len(state["a"])
        if [len(row) for row in state["b"]] != list(range(1, n + 1)):
            raise ValueError(f"b needs rows of 1 to {n} entries, one for each of a, got {state}")
        padded = [[*row, *[0.0] * (n - len(row))] for row in state["b"]]
        tables = (
            torch.tensor(v, dtype=torch.float64) for v in (state["times"], state["a"], padded)
        )
        return cls(*tables)
