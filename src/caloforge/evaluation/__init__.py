"""Compare generated showers with Geant4's: observables, distances, classifiers, scores."""

from caloforge.evaluation.assessment import METRICS, evaluate
from caloforge.evaluation.comparison import EvaluationWarning, SmallSampleWarning
from caloforge.evaluation.distances import separation_power, wasserstein
from caloforge.evaluation.observables import features, high_level
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.scores import Score, Scores

__all__ = [
    "METRICS",
    "EvaluationWarning",
    "Sample",
    "Score",
    "Scores",
    "SmallSampleWarning",
    "evaluate",
    "features",
    "high_level",
    "separation_power",
    "wasserstein",
]
