"""What a Quilt may be, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import ConfigDict

from caloforge.cascade.variants import Variant
from caloforge.stages.layerenergies import SCORES, Scores
from caloforge.stages.patterns import Patterns
from caloforge.stages.similar import SimilarEnergies

__all__ = ["PRESETS", "QuiltConfig"]

_SIMILAR = SimilarEnergies()


@dataclass(frozen=True)
class QuiltConfig:
    """Layer energies, learned or of similar showers, and resampled layers.

    Args:
        scores: how layer energies depend on each other; or those of similar training showers.
        patterns: how the pattern of a layer is chosen.
        points: whether patterns are points; else voxels.
    """

    scores: Annotated[Scores | SimilarEnergies, Variant({**SCORES, "similar": _SIMILAR})]
    patterns: Patterns = field(default_factory=Patterns)
    points: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


PRESETS = {
    "small": QuiltConfig(SCORES["quantile-flow"]),
    "copula": QuiltConfig(SCORES["copula"]),
    "best": QuiltConfig(SCORES["resampled"]),
    "points": QuiltConfig(SCORES["quantile-flow"], points=True),
    "copula-points": QuiltConfig(SCORES["copula"], points=True),
    "directed": QuiltConfig(_SIMILAR),
    "directed-points": QuiltConfig(_SIMILAR, points=True),
}
