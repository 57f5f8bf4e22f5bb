"""Generation: system, energies and seed to showers, in memory or streamed to disk, and its time."""

from caloforge.generation.energies import training_energies
from caloforge.generation.production import GenerationProgress, generate, upsample
from caloforge.generation.timing import Timing, TimingProgress, TimingRow, time_generation

__all__ = [
    "GenerationProgress",
    "Timing",
    "TimingProgress",
    "TimingRow",
    "generate",
    "time_generation",
    "training_energies",
    "upsample",
]
