"""The state of a layer: what a pattern is chosen by."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from caloforge.stages.layermoments import Moments, Upstream
from caloforge.stages.turning import Turning

__all__ = ["PatternWeights", "states", "traits"]

NARROW = 0.3  # of the mean radius of showers: below it, radii count as equal
LITTLE = 1e-3  # energy that counts as none [MeV]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class PatternWeights:
    """What a unit of each part of a state counts in the distance.

    Args:
        energy: of the layer, as a logarithm. It sets by which factors patterns are scaled.
        energy_inc: incident energy, as a logarithm.
        age: share of the shower's energy in the layers before.
        energy_before: of the layer before, as a logarithm.
        hits: of the layer before, as a logarithm.
        radius: mean radius of the layer before, as a logarithm.
        width: standard deviation of the radius in the layer before, over the mean.
        centre: of gravity of the layer before, over its mean radius.
        centre_so_far: of gravity of all layers before, over the same.
        radius_so_far: mean radius of all layers before, as a logarithm.
        hits_so_far: of all layers before, as a logarithm.
        direction: of the particle, across the axis.
    """

    energy: float = 10.0
    energy_inc: float = 4.0
    age: float = 10.0
    energy_before: float = 1.0
    hits: float = 1.0
    radius: float = 1.0
    width: float = 0.5
    centre: float = 1.0
    centre_so_far: float = 16.0
    radius_so_far: float = 4.0
    hits_so_far: float = 4.0
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
    before: Moments | None,
    run: Upstream,
    frame: Integers,
    turning: Turning,
    unit: float,
) -> Floats:
    """States of a layer in n showers, shape (n, parts).

    Args:
        weights: of the parts.
        layer: its number.
        energies: of all layers [MeV], shape (n, n_layers).
        energy_inc: incident energies [MeV], shape (n,).
        before: of the layer before it, none before the first.
        run: of all layers before it.
        frame: symmetry by which centres are turned, shape (n,).
        turning: the symmetries.
        unit: of radii [mm].
    """
    w, total = weights, energies.sum(1)
    age = energies[:, :layer].sum(1) / np.where(total > 0, total, 1)
    parts = [
        w.energy * np.log(energies[:, layer].clip(LITTLE)),
        w.energy_inc * np.log(energy_inc),
        w.age * age,
    ]
    if before is not None:
        radius = before.radius.clip(NARROW * unit)
        x, y = turning.turned(before.x, before.y, frame)
        far_x, far_y = turning.turned(run.mean(run.moment_x), run.mean(run.moment_y), frame)
        far = run.mean(run.moment_r) / unit
        parts += [
            w.energy_before * np.log(energies[:, layer - 1].clip(LITTLE)),
            w.hits * np.log(before.hits + 0.5),
            w.radius * np.log(radius / unit),
            w.width * before.width / radius,
            w.centre * x / radius,
            w.centre * y / radius,
            w.centre_so_far * far_x / radius,
            w.centre_so_far * far_y / radius,
            w.radius_so_far * np.log(far + NARROW),
            w.hits_so_far * np.log(run.hits + 0.5),
        ]
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
