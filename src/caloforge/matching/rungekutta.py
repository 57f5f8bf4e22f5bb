"""Explicit Runge-Kutta solvers with equal steps: a method is a table of coefficients."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from caloforge.matching.path import Velocity, at_time
from caloforge.matching.solver import Fresh, Solver

__all__ = ["EULER", "MIDPOINT", "RK4", "RungeKutta", "Tableau"]


@dataclass(frozen=True)
class Tableau:
    """Butcher's tableau of an explicit Runge-Kutta method, which takes steps of size h.

        u_s = v(x + h sum_r<s a_sr u_r, t + c_s h),   c_s = sum_r a_sr
        x(t + h) = x + h sum_s b_s u_s

    Args:
        a: row s has s entries, so that the first is empty.
        b: weights of the stages, which sum to one.

    Raises:
        ValueError: for coefficients that are no such method.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]

    def __post_init__(self) -> None:
        rows = [len(row) for row in self.a]
        if not self.b or rows != list(range(len(self.b))):
            raise ValueError(
                f"an explicit method of {len(self.b)} stages needs rows of "
                f"{', '.join(map(str, range(len(self.b)))) or 'no'} entries, got {rows}"
            )
        if not math.isclose(sum(self.b), 1):
            raise ValueError(f"the weights of the stages must sum to 1, got {sum(self.b)}")

    @property
    def c(self) -> tuple[float, ...]:
        """Times of the stages, in steps; that of the first is 0."""
        return tuple(sum(row) for row in self.a)


EULER = Tableau(a=((),), b=(1.0,))
MIDPOINT = Tableau(a=((), (1 / 2,)), b=(0.0, 1.0))
RK4 = Tableau(a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6))


@dataclass(frozen=True)
class RungeKutta(Solver):
    """A Runge-Kutta method over equal steps.

    Args:
        tableau: the method.
        steps: number of steps.

    Raises:
        ValueError: for less than one step.
    """

    tableau: Tableau
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"a solver takes 1 step or more, got {self.steps}")

    @property
    def n_evaluations(self) -> int:
        return self.steps * len(self.tableau.b)

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        context: Tensor | None = None,
        fresh: Fresh | None = None,
    ) -> Tensor:
        (end,) = deque(self.path(velocity, noise, context), maxlen=1)
        return end

    def path(
        self, velocity: Velocity, noise: Tensor, context: Tensor | None = None
    ) -> Iterator[Tensor]:
        """x(k / steps) for k from 0, one after the other."""
        x = noise
        yield x
        for number in range(self.steps):
            x, _ = self.step(velocity, x, number, context)
            yield x

    def step(
        self, velocity: Velocity, x: Tensor, number: int, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            velocity: v(x, t, context).
            x: the state x(t) at t = number / steps, shape (n, ...).
            number: which step, from 0.
            context: first dimension n.

        Returns:
            The state after the step, and the velocity v(x, t) before it.
        """
        stages: list[Tensor] = []
        for row, c in zip(self.tableau.a, self.tableau.c, strict=True):
            t = (number + c) / self.steps
            stages.append(at_time(velocity, self._moved(x, stages, row), t, context))
        return self._moved(x, stages, self.tableau.b), stages[0]

    def _moved(self, x: Tensor, stages: list[Tensor], weights: tuple[float, ...]) -> Tensor:
        """x + h sum_s weights_s u_s."""
        for stage, weight in zip(stages, weights, strict=True):
            if weight:
                x = x.add(stage, alpha=weight / self.steps)
        return x
