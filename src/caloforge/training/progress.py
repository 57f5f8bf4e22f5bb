"""What a training reports while it runs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrainingProgress"]


@dataclass(frozen=True)
class TrainingProgress:
    """Where the training of a stage stands, or its fit.

    Args:
        stage: its name.
        step: steps done, or showers sampled.
        steps: steps in all.
        loss: mean training loss since the epoch began, NaN for a fit.
        validation: last validation loss, NaN before the first.
        showers_per_second: speed.
        finished: whether the stage is trained.
    """

    stage: str
    step: int
    steps: int
    loss: float
    validation: float
    showers_per_second: float
    finished: bool
