"""How many Geant4 showers a sample replaces."""

from __future__ import annotations

from caloforge.evaluation.worth.energy_distance import (
    energy_distance,
    mean_difference,
    worth_of_shift,
)
from caloforge.evaluation.worth.estimate import Estimate
from caloforge.evaluation.worth.scores import WORTH, worth_scores
from caloforge.evaluation.worth.worth import Worth, worth, worth_of_samples

__all__ = [
    "WORTH",
    "Estimate",
    "Worth",
    "energy_distance",
    "mean_difference",
    "worth",
    "worth_of_samples",
    "worth_of_shift",
    "worth_scores",
]
