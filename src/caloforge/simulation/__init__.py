"""Geant4 through calzone: detectors, particle gun, steps to voxels, production of showers."""

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
from caloforge.simulation.production import Progress, simulate
from caloforge.simulation.scoring import Steps, score

__all__ = [
    "Detector",
    "EnergySpectrum",
    "Fixed",
    "Gun",
    "LogUniform",
    "Material",
    "Plate",
    "Progress",
    "Steps",
    "Uniform",
    "detector_preset",
    "detector_presets",
    "place_plates",
    "sandwich",
    "score",
    "simulate",
]
