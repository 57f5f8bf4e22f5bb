"""The state of a layer: what a pattern is chosen by."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

__all__ = ["PatternWeights"]


@dataclass(frozen=True)
class PatternWeights:
    """What a unit of each part of a state counts in the distance.

    What the layers before let expect of a pattern is measured by what remains unknown of it, see
    `ExpectedPatterns`.

    Args:
        energy: of the layer, as a logarithm. It sets by which factors patterns are scaled.
        energy_inc: incident energy, as a logarithm.
        age: share of the shower's energy in the layers before.
        radius: expected logarithm of the mean radius.
        hits: expected logarithm of the hits.
        width: expected standard deviation of the radius.
        centre: expected centre of gravity. Little of one layer's is known, and that little is the
            same for many layers: hence the large weight.
        direction: of the particle, across the axis.
    """

    energy: float = 5.0
    energy_inc: float = 4.0
    age: float = 10.0
    radius: float = 3.0
    hits: float = 0.5
    width: float = 1.0
    centre: float = 16.0
    direction: float = 12.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not all(0 <= weight < np.inf for weight in astuple(self)):
            raise ValueError(f"weights of a state must be 0 or more, got {self}")

    def vector(self) -> NDArray[np.float64]:
        """All weights in the order above, shape (8,)."""
        return np.array(astuple(self))
