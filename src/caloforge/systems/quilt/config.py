"""What a Quilt may be, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import ConfigDict

from caloforge.cascade.variants import Variant
from caloforge.stages.layerenergies import SCORES, Scores
from caloforge.stages.patterns import Patterns

__all__ = ["PRESETS", "QuiltConfig"]


@dataclass(frozen=True)
class QuiltConfig:
    """Learned layer energies, resampled layers.

    Args:
        scores: how layer energies depend on each other.
        patterns: how the pattern of a layer is chosen.
    """

    scores: Annotated[Scores, Variant(SCORES)]
    patterns: Patterns = field(default_factory=Patterns)

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


PRESETS = {
    "small": QuiltConfig(SCORES["quantile-flow"]),
    "copula": QuiltConfig(SCORES["copula"]),
    "best": QuiltConfig(SCORES["resampled"]),
}
