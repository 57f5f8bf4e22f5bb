"""The state of a layer: what a pattern is chosen by."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from caloforge.stages.expectedpatterns import NARROW, ExpectedPatterns, Past
from caloforge.stages.layermoments import Moments
from caloforge.stages.turning import Turning

__all__ = ["PatternWeights", "states", "traits"]

LITTLE = 1e-3  # energy that counts as none [MeV]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


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


def states(
    weights: PatternWeights,
    layer: int,
    energies: Floats,
    energy_inc: NDArray[Any],
    past: Past | None,
    expected: ExpectedPatterns | None,
    frame: Integers,
    turning: Turning,
) -> Floats:
    """States of a layer in n showers, shape (n, parts).

    Args:
        weights: of the parts.
        layer: its number.
        energies: of all layers [MeV], shape (n, n_layers).
        energy_inc: incident energies [MeV], shape (n,).
        past: of the layers before it, none before the first.
        expected: what that says of the layer.
        frame: symmetry by which centres are turned, shape (n,).
        turning: the symmetries.
    """
    w, total = weights, energies.sum(1)
    age = energies[:, :layer].sum(1) / np.where(total > 0, total, 1)
    parts = [
        w.energy * np.log(energies[:, layer].clip(LITTLE)),
        w.energy_inc * np.log(energy_inc),
        w.age * age,
    ]
    if past is not None and expected is not None:
        radius, hits, width = expected.shapes(past)
        x, y = turning.turned(*expected.centres(past), frame)
        parts += [w.radius * radius, w.hits * hits, w.width * width, w.centre * x, w.centre * y]
    return np.stack(parts, 1)


def traits(layer: Moments, unit: float) -> NDArray[np.float32]:
    """What a pattern is like, whatever was before it, shape (n, 4).

    Args:
        layer: moments of the pattern.
        unit: of radii [mm].
    """
    radius = np.log((layer.radius / unit).clip(NARROW))
    parts = [radius, radius**2, np.log(layer.hits + 0.5), layer.width / unit]
    return np.stack(parts, 1).astype(np.float32)
