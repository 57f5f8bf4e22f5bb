"""Compare generated showers with Geant4's: observables, distances, classifiers, scores."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from caloforge.evaluation.assessment import EvaluationProgress, evaluate
from caloforge.evaluation.catalogue import DEFAULT_METRICS, metric_names
from caloforge.evaluation.comparison import EvaluationWarning, Outputs, SmallSampleWarning
from caloforge.evaluation.leaderboard import leaderboard
from caloforge.evaluation.metrics.correlation import correlation_difference, pearson
from caloforge.evaluation.metrics.neighbours import prdc, voxel_features
from caloforge.evaluation.metrics.physics_distance import fpd, kpd
from caloforge.evaluation.metrics.separation import separation_power, separation_powers
from caloforge.evaluation.metrics.wasserstein import wasserstein, wasserstein_batches
from caloforge.evaluation.observables import (
    features,
    high_level,
    inter_layer_correlation,
    transverse_groups,
)
from caloforge.evaluation.peers import deviation_from_peers
from caloforge.evaluation.rings import RingSpectra, ring_spectra
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.scores import Score, Scores
from caloforge.evaluation.tails import Tail, Tails, find_tails, shower_quantities, shower_weights

# What needs torch, imported on first use.
_HOMES = {
    "ADJACENT",
    "PROTOCOLS",
    "AdjacentAUC",
    "Protocol",
    "adjacent_layer_auc",
    "classifier_weights",
    "classify",
}

if TYPE_CHECKING:
    from caloforge.evaluation.classifiers import (
        ADJACENT,
        PROTOCOLS,
        AdjacentAUC,
        Protocol,
        adjacent_layer_auc,
        classifier_weights,
        classify,
    )

__all__ = [
    "ADJACENT",
    "DEFAULT_METRICS",
    "PROTOCOLS",
    "AdjacentAUC",
    "EvaluationProgress",
    "EvaluationWarning",
    "Outputs",
    "Protocol",
    "RingSpectra",
    "Sample",
    "Score",
    "Scores",
    "SmallSampleWarning",
    "Tail",
    "Tails",
    "adjacent_layer_auc",
    "classifier_weights",
    "classify",
    "correlation_difference",
    "deviation_from_peers",
    "evaluate",
    "features",
    "find_tails",
    "fpd",
    "high_level",
    "inter_layer_correlation",
    "kpd",
    "leaderboard",
    "metric_names",
    "pearson",
    "prdc",
    "ring_spectra",
    "separation_power",
    "separation_powers",
    "shower_quantities",
    "shower_weights",
    "transverse_groups",
    "voxel_features",
    "wasserstein",
    "wasserstein_batches",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("caloforge.evaluation.classifiers"), name)
