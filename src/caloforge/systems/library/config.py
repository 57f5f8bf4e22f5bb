"""Configuration of a shower library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

__all__ = ["PRESETS", "LibraryConfig", "Recombination"]


@dataclass(frozen=True)
class Recombination:
    """What training showers have to have in common with a new one for its next layer.

    Args:
        incident: weight of log(E_inc), and of the angle.
        before: that of the logarithm of the energy in the layer before.
        so_far: that of the energy in all layers before over the incident one.
        depth: that of the mean depth [layers] of this energy.
        radius: that of the logarithm of the mean radius of the layer before.
    """

    incident: float = 4.0
    before: float = 3.0
    so_far: float = 20.0
    depth: float = 1.0
    radius: float = 1.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class LibraryConfig:
    """A library of showers.

    Args:
        points: whether it holds points; else voxels.
        neighbours: most similar training showers, of which one is sampled.
        angle_weight: a radian between two directions counts as so much of log(E_inc).
        images: rotate and mirror showers, as far as voxels or direction allow.
        rescale: scale energies by the ratio of the incident energies.
        layers: how layers of different showers are put together; None for whole showers.

    Raises:
        ValueError: for fewer than one neighbour.
    """

    points: bool = False
    neighbours: int = 8
    angle_weight: float = 3.0
    images: bool = True
    rescale: bool = True
    layers: Recombination | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"a library needs 1 neighbour or more, got {self.neighbours}")


PRESETS = {
    "whole": LibraryConfig(),
    "points": LibraryConfig(points=True),
    "layers": LibraryConfig(neighbours=3, layers=Recombination()),
    "layers-points": LibraryConfig(points=True, neighbours=3, layers=Recombination()),
}
