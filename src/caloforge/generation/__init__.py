"""Generation: system, energies and seed to showers, in memory or streamed to disk."""

from caloforge.generation.production import GenerationProgress, generate, training_energies

__all__ = ["GenerationProgress", "generate", "training_energies"]
