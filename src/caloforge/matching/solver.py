"""The contract of solvers of dx/dt = v(x, t): maps from noise to data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from caloforge.matching.path import Velocity

__all__ = ["Fresh", "Solver"]

Fresh = Callable[..., Tensor]
"""Standard normal numbers, shape (n, *shape) for a given shape; the same at every call."""


class Solver(ABC):
    """Integrates dx/dt = v(x, t, context) from t = 0 to t = 1 (CaloDREAM, equation 5)."""

    @property
    @abstractmethod
    def n_evaluations(self) -> int | None:
        """Evaluations of the velocity, one after the other; None where the velocity decides."""

    @abstractmethod
    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        context: Tensor | None = None,
        fresh: Fresh | None = None,
    ) -> Tensor:
        """x(1) from x(0).

        Args:
            velocity: v(x, t, context), see `Velocity`.
            noise: x(0), shape (n, ...).
            context: what the velocity is conditioned on, first dimension n.
            fresh: more standard normal numbers, for solvers that are random; others ask for none.

        Returns:
            Of the shape, device and precision of the noise.
        """
