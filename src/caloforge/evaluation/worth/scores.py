"""A worth as scores."""

from __future__ import annotations

import math
from collections.abc import Iterator

from caloforge.evaluation.score import Score
from caloforge.evaluation.worth.estimate import Estimate
from caloforge.evaluation.worth.worth import FEWEST_GENERATED, Worth

__all__ = ["WORTH", "worth_scores"]

WORTH = "worth"


def worth_scores(worth: Worth, candidate: str) -> Iterator[Score]:
    """In all, over training showers where their number is known, of each observable.

    Args:
        worth: of the candidate.
        candidate: its name.
    """
    estimates = {"all": worth.all, **{name: worth.of(name) for name in worth.observables}}
    if worth.amplification is not None:
        estimates["amplification"] = worth.amplification
    estimates["together"] = worth.together
    for name, estimate in estimates.items():
        yield Score(
            metric=WORTH,
            observable=name,
            candidate=candidate,
            value=estimate.value,
            error=math.nan,
            floor=math.inf,
            floor_error=0.0,
            n_showers=int(min(worth.n_reference.sum(), worth.n_candidate.sum())),
            low=estimate.low,
            high=estimate.high,
            reason=_reason(worth, estimate),
        )


def _reason(worth: Worth, estimate: Estimate) -> str:
    """Why a value is missing, and where."""
    few = [
        cell.label or "all"
        for cell, n in zip(worth.cells, worth.n_candidate, strict=True)
        if n < FEWEST_GENERATED
    ]
    if few:
        return f"less than {FEWEST_GENERATED} of its showers lie in {', '.join(few)}"
    return "it does not differ between Geant4's showers" if math.isnan(estimate.inverse) else ""
