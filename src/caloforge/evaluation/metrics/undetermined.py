"""A value that cannot be determined: NaN, with a warning that says why."""

from __future__ import annotations

import warnings

from caloforge.evaluation.comparison import EvaluationWarning

__all__ = ["UndeterminedWarning", "undetermined"]


class UndeterminedWarning(EvaluationWarning):
    """A value is missing, as the samples do not determine it."""


def undetermined(what: str, why: str) -> float:
    """NaN, with a warning.

    Args:
        what: the value that is missing.
        why: what the samples lack, as a whole sentence of its own.
    """
    warnings.warn(f"{what} is not determined: {why}", UndeterminedWarning, stacklevel=3)
    return float("nan")
