"""Classifier tests: can a network distinguish generated showers from Geant4's?"""

from caloforge.evaluation.classifiers.adjacent import (
    AdjacentAUC,
    AdjacentLayers,
    adjacent_layer_auc,
    adjacent_metric,
)
from caloforge.evaluation.classifiers.inputs import take_columns
from caloforge.evaluation.classifiers.metric import ClassifierTest, classifier_metric
from caloforge.evaluation.classifiers.protocols import (
    ADJACENT,
    PROTOCOLS,
    Protocol,
    find_protocol,
)
from caloforge.evaluation.classifiers.scoring import calibrate, classifier_weights, score
from caloforge.evaluation.classifiers.testing import ClassifierResult, classify

__all__ = [
    "ADJACENT",
    "PROTOCOLS",
    "AdjacentAUC",
    "AdjacentLayers",
    "ClassifierResult",
    "ClassifierTest",
    "Protocol",
    "adjacent_layer_auc",
    "adjacent_metric",
    "calibrate",
    "classifier_metric",
    "classifier_weights",
    "classify",
    "find_protocol",
    "score",
    "take_columns",
]
