"""The solver that chooses its own steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from caloforge.matching.path import Velocity
from caloforge.matching.solver import Fresh, Solver

__all__ = ["Adaptive"]

MOST_STEPS = 1000  # a trained velocity takes some tens


@dataclass(frozen=True)
class Adaptive(Solver):
    """Dormand and Prince's method of order 5, by torchdiffeq.

    The steps are chosen for the root mean square of the errors of a whole batch, so that a result
    depends, within the tolerance, on the batch that it is in.

    Args:
        tolerance: of the error of a step, absolute and relative to x.

    Raises:
        ValueError: if the tolerance is not positive.
        FloatingPointError: when called, if no step is small enough, or more than `MOST_STEPS` are
            needed.
    """

    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if not self.tolerance > 0:
            raise ValueError(f"the tolerance must be positive, got {self.tolerance}")

    @property
    def n_evaluations(self) -> None:
        return None

    def __call__(
        self,
        velocity: Velocity,
        noise: Tensor,
        context: Tensor | None = None,
        fresh: Fresh | None = None,
    ) -> Tensor:
        from torchdiffeq import odeint  # takes a second

        if not len(noise):
            return noise

        def derivative(t: Tensor, x: Tensor) -> Tensor:
            # the library mixes no precisions
            return velocity(x, t.expand(len(x)), context).to(x.dtype)

        ends = torch.tensor([0.0, 1.0], dtype=noise.dtype, device=noise.device)
        try:
            path: Tensor = odeint(
                derivative,
                noise,
                ends,
                rtol=self.tolerance,
                atol=self.tolerance,
                method="dopri5",
                options={"max_num_steps": MOST_STEPS},
            )
        except AssertionError as error:  # raised by the library where steps become too small
            raise FloatingPointError(
                f"the adaptive solver cannot follow the velocity to a tolerance of "
                f"{self.tolerance:g} ({error}): the training diverged, or the incident energies "
                "lie far outside those it was trained on; a solver of fixed steps, such as "
                "rk4-20, shows what is sampled"
            ) from error
        return path[-1]
