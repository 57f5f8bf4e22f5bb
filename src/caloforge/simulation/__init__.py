"""Geant4 through calzone: detectors, particle gun, steps to voxels or points, production."""

from caloforge.simulation.clustering import Clustering, cluster
from caloforge.simulation.detectors import (
    Detector,
    Material,
    Plate,
    detector_preset,
    detector_presets,
    place_plates,
    sandwich,
)
from caloforge.simulation.gun import (
    EnergySpectrum,
    Fixed,
    Gun,
    LogUniform,
    Uniform,
)
from caloforge.simulation.production import LossWarning, Progress, simulate
from caloforge.simulation.scoring import Steps, score, share_outside

__all__ = [
    "Clustering",
    "Detector",
    "EnergySpectrum",
    "Fixed",
    "Gun",
    "LogUniform",
    "LossWarning",
    "Material",
    "Plate",
    "Progress",
    "Steps",
    "Uniform",
    "cluster",
    "detector_preset",
    "detector_presets",
    "place_plates",
    "sandwich",
    "score",
    "share_outside",
    "simulate",
]
