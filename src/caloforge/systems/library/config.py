"""What a shower library may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

__all__ = ["PRESETS", "LibraryConfig"]


@dataclass(frozen=True)
class LibraryConfig:
    """A library of whole showers.

    Args:
        points: whether it holds points; else voxels.
        neighbours: showers of the most similar particles, of which one is sampled.
        angle_weight: a radian between two directions counts as so much of log(E_inc).
        images: rotate and mirror showers, as far as voxels or direction allow.
        rescale: scale energies by the ratio of the incident energies.

    Raises:
        ValueError: for fewer than one neighbour.
    """

    points: bool = False
    neighbours: int = 8
    angle_weight: float = 3.0
    images: bool = True
    rescale: bool = True

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"a library needs 1 neighbour or more, got {self.neighbours}")


PRESETS = {"whole": LibraryConfig(), "points": LibraryConfig(points=True)}
