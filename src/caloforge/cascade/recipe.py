"""How a stage is trained: one frozen recipe a stage, read by the training loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

__all__ = ["Recipe", "validation_size"]


@dataclass(frozen=True)
class Recipe:
    """The training of one stage.

    Args:
        epochs: passes over the training split.
        batch_size: showers a step.
        learning_rate: the highest learning rate.
        schedule: of the learning rate over the steps. "one-cycle" rises from 1/25 of the
            maximum and falls to 1e-4 of its start, while Adam's β1 falls from 0.95 to 0.85 and
            rises back (arXiv:1708.07120, with PyTorch's values), "exponential" and "cosine"
            fall from the maximum to `final_learning_rate`, "triangular" rises from
            `initial_learning_rate` to the maximum and falls back, in straight lines, `cycles`
            times (arXiv:1506.01186), and then on to `final_learning_rate`.
        initial_learning_rate: where the cycles of "triangular" begin and end.
        final_learning_rate: where "exponential", "cosine" and "triangular" end.
        cycles: cycles of "triangular".
        cycle_decay: maximum of a cycle of "triangular" in units of that before it.
        annihilation: fraction of the steps after the cycles of "triangular", in which the learning
            rate falls on to `final_learning_rate`.
        weight_decay: decoupled weight decay (AdamW, arXiv:1711.05101).
        gradient_clip: largest L2 norm of the gradient, None for no limit.
        ema: decay a step of the exponential moving average of the weights, None for none.
        validation: fraction of the training sample that chooses the best checkpoint.
        patience: stop after so many epochs without a better validation loss, None for never.
        precision: "32", or mixed with "bf16" or "16" where the device has it; of CPUs those with
            matrix units have the former.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Literal["one-cycle", "exponential", "cosine", "triangular", "constant"] = "one-cycle"
    initial_learning_rate: float = 0.0
    final_learning_rate: float = 0.0
    cycles: int = 1
    cycle_decay: float = 1.0
    annihilation: float = 0.0
    weight_decay: float = 0.0
    gradient_clip: float | None = None
    ema: float | None = None
    validation: float = 0.1
    patience: int | None = None
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise ValueError(
                "a recipe needs 1 epoch or more, 1 shower a step or more and a positive learning "
                f"rate, got {self.epochs}, {self.batch_size} and {self.learning_rate}"
            )
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must lie between 0 and 1, got {self.validation}")
        if self.schedule == "exponential" and not self.final_learning_rate > 0:
            raise ValueError("an exponential schedule needs a positive final_learning_rate")
        if self.cycles < 1 or not 0 <= self.annihilation < 1:
            raise ValueError(
                "a triangular schedule needs 1 cycle or more and annihilation between "
                f"0 and 1, got {self.cycles} and {self.annihilation}"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must be a decay between 0 and 1, or None, got {self.ema}")
        for name in ("gradient_clip", "patience"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ValueError(f"{name} must be positive, or None for no limit, got {limit}")


def validation_size(n: int, share: float) -> int:
    """How many of n showers are kept for validation; the others are learned from.

    Raises:
        ValueError: if that leaves none to validate with, or fewer than 2 to learn from.
    """
    size = round(share * n)
    if not 0 < size < n - 1:
        raise ValueError(
            f"{n} showers cannot be split with the fraction {share} for validation, one or more to "
            "validate with and two or more to learn from: give more showers"
        )
    return size
