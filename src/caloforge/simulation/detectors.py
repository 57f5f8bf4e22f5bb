"""Detectors as stacks of plates, described without any simulation program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from caloforge.geometry import Geometry, geometry_preset, ild_silicon_depths
from caloforge.names import did_you_mean
from caloforge.units import mm

__all__ = [
    "Detector",
    "Material",
    "Plate",
    "detector_preset",
    "detector_presets",
    "place_plates",
    "sandwich",
]


@dataclass(frozen=True)
class Material:
    """A mixture of elements.

    Args:
        name: a name of letters and digits that begins with a capital.
        density: [g/cm³].
        fractions: symbol and mass fraction of each element; they add up to 1.

    Raises:
        ValueError: for another name, a density that is not positive, or other fractions.
    """

    name: str
    density: float
    fractions: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        if not (self.name.isalnum() and self.name[0].isupper()):
            raise ValueError(
                f"a material's name has letters and digits and begins with a capital, "
                f"got {self.name!r}: write for example 'Board'"
            )
        total = sum(fraction for _, fraction in self.fractions)
        if not self.density > 0 or not np.isclose(total, 1.0):
            raise ValueError(
                f"{self.name} needs a positive density [g/cm³] and mass fractions that add up "
                f"to 1, got {self.density:g} and {total:g}"
            )


@dataclass(frozen=True)
class Plate:
    """One plate of a stack.

    Args:
        material: an element's symbol ("W"), "air", "vacuum", a NIST name of Geant4
            ("G4_POLYSTYRENE"), or a `Material`.
        thickness: [mm].
        layer: the read-out layer that it feeds, None for a passive plate.

    Raises:
        ValueError: if the thickness is not positive or the layer negative.
    """

    material: str | Material
    thickness: float
    layer: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.thickness < np.inf:
            raise ValueError(f"a plate needs a positive thickness [mm], got {self.thickness:g}")
        if self.layer is not None and self.layer < 0:
            raise ValueError(f"read-out layers count from 0, got {self.layer}")


@dataclass(frozen=True)
class Detector:
    """A stack of plates with its read-out.

    The front face lies at z = 0, the stack extends to z = `depth`. As "planes" the plates are
    square and perpendicular to z. As a "cylinder" they are shells around an axis along y that
    passes through z = -inner_radius, so that both shapes touch at the point (0, 0, 0).

    Args:
        plates: from front to back, without gaps (a gap is a plate of air).
        readout: the voxels. Energy in a plate of `layer` i goes to the voxels of read-out layer i.
        sampling_fraction: deposited energies are divided by it.
        threshold: voxels below it are dropped [MeV]; of the read-out if not given.
        medium: material around the stack; plates of it cost no computing.
        axis: "particle" places voxels around the particle's line of flight, "detector" leaves
            them where they are, around (x, y) = (0, 0).
        shape: "planes" or "cylinder".
        width: side of the planes, or length of the cylinder [mm].
        inner_radius: of the cylinder [mm].

    Raises:
        ValueError: if a read-out layer is fed by no plate, or a plate feeds one that is not there.
    """

    plates: tuple[Plate, ...]
    readout: Geometry
    sampling_fraction: float = 1.0
    threshold: float | None = None
    medium: str | Material = "vacuum"
    axis: Literal["particle", "detector"] = "particle"
    shape: Literal["planes", "cylinder"] = "planes"
    width: float = 1000.0 * mm
    inner_radius: float = 800.0 * mm

    def __post_init__(self) -> None:
        object.__setattr__(self, "plates", tuple(self.plates))
        fed = {plate.layer for plate in self.plates} - {None}
        if fed != set(range(self.readout.n_layers)):
            raise ValueError(
                f"the plates must feed each of the {self.readout.n_layers} read-out layers of "
                f"{self.readout.name}, and no other, got plates for {sorted(fed, key=str)}: "
                "give every active plate its layer"
            )
        for name, known in (("axis", ("particle", "detector")), ("shape", ("planes", "cylinder"))):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be {known[0]!r} or {known[1]!r}, got {getattr(self, name)!r}"
                )
        for name in ("sampling_fraction", "width", "inner_radius"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)!r}")

    @property
    def name(self) -> str:
        """Name of the read-out."""
        return self.readout.name

    @property
    def voxel_threshold(self) -> float:
        """The threshold that applies [MeV]: the detector's, else that of its read-out."""
        return self.readout.threshold if self.threshold is None else self.threshold

    @cached_property
    def borders(self) -> tuple[float, ...]:
        """Depth of the front of each plate and, last, of the back [mm], shape (n_plates + 1,)."""
        return tuple(np.cumsum([0.0, *(plate.thickness for plate in self.plates)]).tolist())

    @property
    def depth(self) -> float:
        """Thickness of the whole stack [mm]."""
        return self.borders[-1]


def sandwich(n: int, *plates: Plate, per_layer: int = 1) -> tuple[Plate, ...]:
    """Repeat a group of plates n times; active plates of `per_layer` groups feed one layer.

    Args:
        n: number of repetitions.
        plates: one group; its active plates carry `layer=0`.
        per_layer: number of groups that share a read-out layer.
    """
    return tuple(
        plate if plate.layer is None else dataclasses.replace(plate, layer=i // per_layer)
        for i in range(n)
        for plate in plates
    )


def place_plates(
    placed: Iterable[tuple[float, Plate]], medium: str | Material
) -> tuple[Plate, ...]:
    """Stack plates at given depths and fill what lies between with the medium.

    Args:
        placed: depth of the front [mm] and plate, from front to back.
        medium: material of the gaps.

    Raises:
        ValueError: if two plates overlap.
    """
    stack: list[Plate] = []
    reached = 0.0
    for front, plate in placed:
        gap = front - reached
        if gap < -1e-6 * mm:
            raise ValueError(
                f"a plate at {front:g} mm begins inside the one before it, "
                f"which ends at {reached:g} mm"
            )
        if gap > 1e-6 * mm:
            stack.append(Plate(medium, gap))
        stack.append(plate)
        reached = front + plate.thickness
    return tuple(stack)


# ---------------------------------------------------------------- presets


def _calochallenge(name: str) -> Detector:
    # Par04, the Geant4 example that made the CaloChallenge's datasets 2 and 3: 90 layers of 1.4 mm
    # W and 0.3 mm Si from 800 mm on, two of them to a read-out layer.
    return Detector(
        plates=sandwich(90, Plate("W", 1.4 * mm), Plate("Si", 0.3 * mm, layer=0), per_layer=2),
        readout=geometry_preset(name),
        sampling_fraction=0.033,
    )


# Printed circuit boards with their chips, as one material.
_BOARD = Material("Board", 1.70, (("Si", 0.28), ("O", 0.33), ("C", 0.34), ("H", 0.05)))


def _ild(name: str) -> Detector:
    placed = []
    for i, silicon in enumerate(ild_silicon_depths().tolist()):
        tungsten = 2.1 * mm if i < 20 else 4.2 * mm
        placed.append((silicon - 0.2 * mm - tungsten, Plate("W", tungsten)))
        placed.append((silicon, Plate("Si", 0.525 * mm, layer=i)))
        if i % 2 == 1 and i < 29:
            placed.append((silicon + 1.025 * mm, Plate(_BOARD, 2.4 * mm)))
    return Detector(
        plates=place_plates(placed, "air"),
        readout=geometry_preset(name),
        threshold=0.0,  # generators learn from all cells; the threshold is for the comparison
        medium="air",
        axis="detector",
    )


_PRESETS: dict[str, Callable[[], Detector]] = {
    "calochallenge-2": lambda: _calochallenge("calochallenge-2"),
    "calochallenge-3": lambda: _calochallenge("calochallenge-3"),
    "ild-30": lambda: _ild("ild-30"),
    "ild-ecal": lambda: _ild("ild-ecal"),
}


def detector_presets() -> tuple[str, ...]:
    """Names of the detectors that `detector_preset` builds."""
    return tuple(_PRESETS)


def detector_preset(name: str, *, shape: Literal["planes", "cylinder"] = "planes") -> Detector:
    """Build a detector of the field by the name of its read-out.

    Args:
        name: name of the geometry.
        shape: "planes", or "cylinder" for the shells of 800 mm radius of the CaloChallenge, which
            take twice the time and differ by a millimetre of depth at the outer edge.

    Raises:
        ValueError: if there is no such preset.
    """
    if name not in _PRESETS:
        raise ValueError(
            f"no detector is known for {name!r}{did_you_mean(name, _PRESETS)}; there are "
            f"{', '.join(_PRESETS)}: describe yours as a caloforge.simulation.Detector"
        )
    return dataclasses.replace(_PRESETS[name](), shape=shape)
