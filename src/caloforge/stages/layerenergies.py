"""Which stages make layer energies of incident energies: a system's own, or those of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from caloforge.cascade.recipe import Recipe
from caloforge.cascade.stage import Stage
from caloforge.geometry import Geometry
from caloforge.stages.heldenergies import HeldEnergyStage
from caloforge.stages.resampled import Resampled, ResampledStage
from caloforge.stages.scores import Copula, CopulaStage, ScoreFlow, ScoreFlowStage

__all__ = ["SCORES", "Scores", "energy_stages"]

Own = TypeVar("Own")

Scores = Copula | ScoreFlow | Resampled
SCORES: Mapping[str, Scores] = {
    "copula": Copula(),
    "quantile-flow": ScoreFlow(
        Recipe(
            epochs=10,
            batch_size=256,
            learning_rate=2e-3,
            weight_decay=1.0,  # of so little data, most weights have nothing to learn
            ema=0.98,
            patience=4,
        )
    ),
    "resampled": Resampled(),
}
"""Models of scores by their names in settings."""


def energy_stages(
    config: Own | Scores,
    geometry: Geometry,
    own: Callable[[Own, Geometry], Stage] | None = None,
) -> dict[str, Stage]:
    """The stages that sample `layer_energies`, by name in sampling order; the last is "energies".

    Those of scores learn from layer energies alone, and are independent of the stages after them.

    Args:
        config: of scores, or of a stage of the system's own.
        geometry: the voxels.
        own: makes the system's own stage, of one that has such.
    """
    scores: Stage
    if isinstance(config, Copula):
        scores = CopulaStage(config, geometry)
    elif isinstance(config, ScoreFlow):
        scores = ScoreFlowStage(config, geometry)
    elif isinstance(config, Resampled):
        scores = ResampledStage(config, geometry)
    else:
        assert own is not None
        return {"energies": own(config, geometry)}
    return {"scores": scores, "energies": HeldEnergyStage("scores", geometry)}
