"""What a Quilt may be, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from caloforge.cascade.recipe import Recipe
from caloforge.stages.patterns import Patterns
from caloforge.stages.scores import Copula, ScoreFlow
from caloforge.stages.similar import SimilarEnergies

__all__ = ["PRESETS", "QuiltConfig"]


@dataclass(frozen=True)
class QuiltConfig:
    """Layer energies, learned or of similar showers, and resampled layers.

    Args:
        scores: how layer energies depend on each other; or those of similar training showers.
        patterns: how the pattern of a layer is chosen.
        points: whether patterns are points; else voxels.
    """

    scores: Annotated[Copula | ScoreFlow | SimilarEnergies, Field(discriminator="kind")]
    patterns: Patterns = field(default_factory=Patterns)
    points: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


_SMALL = ScoreFlow(
    Recipe(
        epochs=10,
        batch_size=256,
        learning_rate=2e-3,
        weight_decay=1.0,  # of so little data, most weights have nothing to learn
        ema=0.98,
        patience=4,
    )
)

PRESETS = {
    "small": QuiltConfig(_SMALL),
    "copula": QuiltConfig(Copula()),
    "points": QuiltConfig(_SMALL, points=True),
    "copula-points": QuiltConfig(Copula(), points=True),
    "directed": QuiltConfig(SimilarEnergies()),
    "directed-points": QuiltConfig(SimilarEnergies(), points=True),
    "best": QuiltConfig(
        ScoreFlow(
            Recipe(
                epochs=40,
                batch_size=512,
                learning_rate=1e-3,
                weight_decay=1.0,
                ema=0.99,
                patience=10,
            ),
            blocks=6,
            hidden=128,
        )
    ),
}
