"""The training of bespoke solvers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from caloforge.matching.bespoke import Bespoke, global_error, local_error
from caloforge.matching.nonstationary import NonStationary
from caloforge.matching.path import Velocity
from caloforge.matching.reference import Reference

__all__ = ["BespokeTraining", "CurvePoint", "TrainedSolver", "Truncation", "train_bespoke"]

Truncation = Literal["global", "local"]
"""Whose truncation error is minimised: that of all steps together, or of each alone."""

Error = Callable[[NonStationary], Tensor]


@dataclass(frozen=True)
class BespokeTraining:
    """How a bespoke solver is trained, by default as in CaloDREAM, table 5.

    Args:
        learning_rate: of Adam.
        iterations: the most of them.
        patience: stop after so many iterations without a lower validation error.
        interval: iterations between two validations.
        validation: fraction of the references that chooses the best coefficients.

    Raises:
        ValueError: for numbers that train nothing.
    """

    learning_rate: float = 1e-3
    iterations: int = 5000
    patience: int = 200
    interval: int = 10
    validation: float = 0.25

    def __post_init__(self) -> None:
        if min(self.iterations, self.patience, self.interval) < 1 or not self.learning_rate > 0:
            raise ValueError(
                "a training needs a positive learning rate and iterations, patience and interval "
                f"of 1 or more, got {self}"
            )
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must lie between 0 and 1, got {self.validation}")


class CurvePoint(NamedTuple):
    """Errors before the update of an iteration: in the batch that it trains on, in validation."""

    iteration: int
    error: float
    validation: float


@dataclass(frozen=True, eq=False)
class TrainedSolver:
    """A bespoke solver and how it came about.

    Args:
        solver: the coefficients of the lowest validation error, in double precision.
        curve: the errors; those of the first point are Euler's.
    """

    solver: NonStationary
    curve: tuple[CurvePoint, ...]


def train_bespoke(
    velocity: Velocity,
    references: Sequence[Reference],
    steps: int,
    *,
    truncation: Truncation,
    training: BespokeTraining | None = None,
    progress: Callable[[], None] | None = None,
) -> TrainedSolver:
    """Train a bespoke solver for a velocity (CaloDREAM, section 3.4 and table 5).

    The references are solved once and used in turn, as in arXiv:2403.01329; nothing else is random,
    so that the same ones give the same solver.

    Args:
        velocity: v(x, t, context), trained; its own parameters get no gradients.
        references: what `follow` gave for it, 2 or more: some are kept to validate.
        steps: number N of steps, of one evaluation each.
        truncation: which error is minimised. The local one needs no evaluation of the velocity.
        training: learning rate, length and validation; None for those published.
        progress: called when an iteration is done.

    Raises:
        ValueError: for fewer than 2 references.
        FloatingPointError: if the validation error is not finite.
    """
    training = training or BespokeTraining()
    n_validation = max(1, round(training.validation * len(references)))
    if len(references) <= n_validation:
        raise ValueError(
            "a bespoke solver is trained with some references and validated with others, got "
            f"{len(references)} of which {n_validation} validate: follow more batches"
        )
    errors = _errors(velocity, references[n_validation:], truncation)
    validations = _errors(velocity, references[:n_validation], truncation)
    bespoke = Bespoke(steps)
    parameters = list(bespoke.parameters())
    optimizer = torch.optim.Adam(parameters, lr=training.learning_rate, fused=True)
    curve: list[CurvePoint] = []
    best, chosen = CurvePoint(0, math.inf, math.inf), bespoke.solver()
    for iteration in range(training.iterations + 1):
        solver = bespoke.solver()
        error = errors[iteration % len(errors)](solver)
        if iteration % training.interval == 0 or iteration == training.iterations:
            curve.append(CurvePoint(iteration, error.item(), _mean(validations, solver)))
            if curve[-1].validation < best.validation:
                best, chosen = curve[-1], solver.detached()
            if iteration == training.iterations or iteration - best.iteration >= training.patience:
                break
        optimizer.zero_grad()
        error.backward(inputs=parameters)
        optimizer.step()
        if progress is not None:
            progress()
    return TrainedSolver(chosen, tuple(curve))


def _errors(
    velocity: Velocity, references: Sequence[Reference], truncation: Truncation
) -> list[Error]:
    """The error of each reference, or of all in one where that costs no more."""
    if truncation == "local":
        moments = torch.stack([reference.moments for reference in references]).mean(0)
        return [partial(local_error, moments=moments)]
    return [
        partial(global_error, velocity=velocity, reference=reference) for reference in references
    ]


@torch.no_grad()
def _mean(errors: Sequence[Error], solver: NonStationary) -> float:
    mean = sum(error(solver).item() for error in errors) / len(errors)
    if not math.isfinite(mean):
        raise FloatingPointError(
            f"the truncation error of the bespoke solver is {mean}: start again with a lower "
            "learning rate"
        )
    return mean
