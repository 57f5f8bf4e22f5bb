"""Compare generated showers with Geant4's: observables, distances, classifiers, scores."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from caloforge.evaluation.assessment import evaluate
from caloforge.evaluation.catalogue import (
    DEFAULT_METRICS,
    default_metrics,
    fitting_metrics,
    metric_names,
)
from caloforge.evaluation.clouds import Clouds
from caloforge.evaluation.comparison import (
    EvaluationWarning,
    Outputs,
    SharedShowersWarning,
    SmallSampleWarning,
)
from caloforge.evaluation.frame import observable_columns, to_dataframe
from caloforge.evaluation.leaderboard import leaderboard
from caloforge.evaluation.metrics.copies import copied
from caloforge.evaluation.metrics.correlation import correlation_difference, pearson
from caloforge.evaluation.metrics.neighbours import prdc, voxel_features
from caloforge.evaluation.metrics.nplm import LearnedRatio, Region, nplm_test
from caloforge.evaluation.metrics.permutation import (
    at_like_energy,
    frechet_test,
    kolmogorov_smirnov_test,
    shower_columns,
    sliced_wasserstein_test,
)
from caloforge.evaluation.metrics.physics_distance import fpd, kpd
from caloforge.evaluation.metrics.separation import separation_power, separation_powers
from caloforge.evaluation.metrics.undetermined import UndeterminedWarning
from caloforge.evaluation.metrics.wasserstein import wasserstein, wasserstein_batches
from caloforge.evaluation.nearest import Nearest, nearest_training
from caloforge.evaluation.observables import (
    at_energy,
    features,
    high_level,
    inter_layer_correlation,
    point_features,
    transverse_groups,
)
from caloforge.evaluation.peers import deviation_from_peers
from caloforge.evaluation.projection import Projected, holds_points
from caloforge.evaluation.rings import RingSpectra, ring_spectra
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.scores import Score, Scores
from caloforge.evaluation.steps import EvaluationProgress
from caloforge.evaluation.tails import Tail, Tails, find_tails, shower_quantities, shower_weights
from caloforge.evaluation.worth import Estimate, Worth, energy_distance, mean_difference, worth

# What needs torch, imported on first use.
_MODULES = {
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
    "Clouds",
    "Estimate",
    "EvaluationProgress",
    "EvaluationWarning",
    "LearnedRatio",
    "Nearest",
    "Outputs",
    "Projected",
    "Protocol",
    "Region",
    "RingSpectra",
    "Sample",
    "Score",
    "Scores",
    "SharedShowersWarning",
    "SmallSampleWarning",
    "Tail",
    "Tails",
    "UndeterminedWarning",
    "Worth",
    "adjacent_layer_auc",
    "at_energy",
    "at_like_energy",
    "classifier_weights",
    "classify",
    "copied",
    "correlation_difference",
    "default_metrics",
    "deviation_from_peers",
    "energy_distance",
    "evaluate",
    "features",
    "find_tails",
    "fitting_metrics",
    "fpd",
    "frechet_test",
    "high_level",
    "holds_points",
    "inter_layer_correlation",
    "kolmogorov_smirnov_test",
    "kpd",
    "leaderboard",
    "mean_difference",
    "metric_names",
    "nearest_training",
    "nplm_test",
    "observable_columns",
    "pearson",
    "point_features",
    "prdc",
    "ring_spectra",
    "separation_power",
    "separation_powers",
    "shower_columns",
    "shower_quantities",
    "shower_weights",
    "sliced_wasserstein_test",
    "to_dataframe",
    "transverse_groups",
    "voxel_features",
    "wasserstein",
    "wasserstein_batches",
    "worth",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("caloforge.evaluation.classifiers"), name)
