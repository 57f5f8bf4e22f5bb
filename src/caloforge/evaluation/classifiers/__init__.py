"""Classifier tests: can a network tell generated showers from Geant4's?"""

from caloforge.evaluation.classifiers.inputs import take_columns
from caloforge.evaluation.classifiers.metric import ClassifierTest, classifier_metric
from caloforge.evaluation.classifiers.protocols import PROTOCOLS, Protocol, find_protocol
from caloforge.evaluation.classifiers.scoring import calibrate, classifier_weights, score
from caloforge.evaluation.classifiers.testing import ClassifierResult, classify

__all__ = [
    "PROTOCOLS",
    "ClassifierResult",
    "ClassifierTest",
    "Protocol",
    "calibrate",
    "classifier_metric",
    "classifier_weights",
    "classify",
    "find_protocol",
    "score",
    "take_columns",
]
