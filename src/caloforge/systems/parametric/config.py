"""Configuration of a parametrisation, and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from caloforge.stages.principal import PrincipalEnergies

__all__ = ["PRESETS", "BinnedShape", "GammaEnergies", "ParametricConfig", "RadialShape"]


@dataclass(frozen=True)
class GammaEnergies:
    """Layer energies by a gamma distribution along the depth.

    Args:
        kind: distinguishes it from other energies in a stored configuration.
        degree: of the polynomials in log(E_inc) that are the means of its parameters.

    Raises:
        ValueError: for a negative degree.
    """

    kind: Literal["gamma"] = "gamma"
    degree: int = 2

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.degree < 0:
            raise ValueError(f"degree must be 0 or more, got {self.degree}")


@dataclass(frozen=True)
class RadialShape:
    """Spots at radii of a core and a tail.

    Args:
        kind: distinguishes it from other shapes in a stored configuration.
        rings: annuli in which the average profiles are compared.
        energy_bins: of log(E_inc), for each of which there are average profiles.
        depth_bins: of the mean depth at each of them.

    Raises:
        ValueError: for fewer than one bin of something.
    """

    kind: Literal["radial"] = "radial"
    rings: int = 60
    energy_bins: int = 6
    depth_bins: int = 3

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        for name in ("rings", "energy_bins", "depth_bins"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class BinnedShape:
    """Spots in the voxels, or rings, of average showers.

    Args:
        kind: distinguishes it from other shapes in a stored configuration.
        bins: of the age of a layer, of each of which there is an average.
        rings: in which points lie.
        images: average over rotations and reflections, as far as the voxels allow.

    Raises:
        ValueError: for fewer than one bin or ring.
    """

    kind: Literal["binned"] = "binned"
    bins: int = 10
    rings: int = 80
    images: bool = True

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        for name in ("bins", "rings"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class ParametricConfig:
    """A parametrisation: energies of the layers, and spots in them.

    Args:
        energies: of the layers.
        shape: where the spots of a layer lie.
        points: whether spots are given as points; else they fill voxels.
        most_spots: of a shower of any energy.

    Raises:
        ValueError: for fewer than one spot.
    """

    energies: GammaEnergies | PrincipalEnergies
    shape: RadialShape | BinnedShape
    points: bool = False
    most_spots: int = 100_000

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.most_spots < 1:
            raise ValueError(f"most_spots must be 1 or more, got {self.most_spots}")


PRESETS = {
    "profile": ParametricConfig(GammaEnergies(), RadialShape()),
    "binned": ParametricConfig(PrincipalEnergies(), BinnedShape()),
    "points": ParametricConfig(GammaEnergies(), RadialShape(), points=True),
    "binned-points": ParametricConfig(PrincipalEnergies(), BinnedShape(), points=True),
}
