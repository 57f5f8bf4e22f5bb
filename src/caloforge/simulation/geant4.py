"""Geant4, through the Python package calzone (lengths in cm, energies in MeV)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.simulation.detectors import Detector, Material
from caloforge.simulation.gun import Gun
from caloforge.simulation.scoring import Steps
from caloforge.units import GeV, cm, mm

__all__ = [
    "Geant4",
    "calzone_definition",
    "check_physics",
    "geant4_data",
    "geant4_for",
    "geant4_version",
    "import_calzone",
    "read_steps",
]

EM_MODELS = ("standard", "option1", "option2", "option3", "option4", "livermore", "penelope")
HADRONIC_MODELS = ("FTFP_BERT", "QGSP_BERT", "QGSP_BIC")
MAX_BUNCH_ENERGY = 500 * GeV  # 40 MB of steps
ROOM_BEFORE_FRONT = 1000 * mm


def import_calzone() -> ModuleType:
    """The package calzone.

    Raises:
        ModuleNotFoundError: if it is not installed.
    """
    try:
        import calzone
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "simulation needs Geant4 through calzone, which is not installed: "
            "pip install 'caloforge[geant4]'"
        ) from error
    module: ModuleType = calzone
    return module


def geant4_version() -> str:
    """Versions of Geant4 and calzone, as written in files."""
    calzone = import_calzone()
    release = ".".join(calzone.GEANT4_VERSION.split(".")[:2])
    return f"Geant4 {release} (calzone {calzone.VERSION})"


def geant4_data() -> Path:
    """The folder of Geant4's data: GEANT4_DATA_DIR, else what `python -m calzone download` fetched.

    Raises:
        FileNotFoundError: if neither is there.
    """
    asked = os.environ.get("GEANT4_DATA_DIR")
    folder = Path(asked) if asked else Path.home() / ".local/share/calzone/data"
    if not any(folder.glob("G4EMLOW*")):
        tried = (
            f"GEANT4_DATA_DIR is {asked}, where there is no G4EMLOW"
            if asked
            else f"GEANT4_DATA_DIR is not set and there is none in {folder}"
        )
        raise FileNotFoundError(
            f"Geant4's data are not there ({tried}): "
            "run `python -m calzone download`, or set GEANT4_DATA_DIR to their folder"
        )
    return folder


def check_physics(physics: str) -> tuple[str, str | None]:
    """Split a physics list such as "standard", "option4" or "FTFP_BERT+option4".

    Returns:
        Electromagnetic and hadronic model.

    Raises:
        ValueError: if the name is not known.
    """
    match physics.split("+"):
        case [em] if em in EM_MODELS:
            return em, None
        case [hadronic] if hadronic in HADRONIC_MODELS:
            return "standard", hadronic
        case [hadronic, em] if hadronic in HADRONIC_MODELS and em in EM_MODELS:
            return em, hadronic
    raise ValueError(
        f"physics must be one of {', '.join(EM_MODELS)}, or one of {', '.join(HADRONIC_MODELS)}, "
        f"alone or with '+' before one of the former, got {physics!r}"
    )


def _check_data(physics: str) -> None:
    # Geant4 ends the whole process when a file is missing: look before it does.
    folder = geant4_data()
    if physics not in ("standard", "option1", "option2") and not any(folder.glob("G4EMLOW*/fluor")):
        raise FileNotFoundError(
            f"{folder} holds only what the physics 'standard' needs, not {physics!r}: "
            "run `python -m calzone download` and unset GEANT4_DATA_DIR"
        )


class Geant4:
    """One detector in Geant4.

    Args:
        detector: what is built.
        physics: physics list, see `check_physics`.
        cut: production cut [mm].

    Raises:
        ModuleNotFoundError: if calzone is not installed.
        FileNotFoundError: if Geant4's data are not there.
        ValueError: for an unknown physics list or a cut that is not positive.
    """

    def __init__(self, detector: Detector, physics: str = "standard", cut: float = 0.7) -> None:
        em, hadronic = check_physics(physics)
        if not cut > 0:
            raise ValueError(f"the production cut must be positive [mm], got {cut:g}")
        self._calzone = import_calzone()
        _check_data(physics)
        self.detector = detector
        definition, self._layer_of_volume = calzone_definition(detector)
        self._simulation = self._calzone.Simulation(
            self._calzone.Geometry(definition),
            self._calzone.Physics(em, default_cut=cut / cm, had_model=hadronic),
            sample_deposits="detailed",
        )

    def run(
        self, energy_inc: NDArray[np.float32], gun: Gun, seed: int
    ) -> Iterator[tuple[slice, Steps]]:
        """Simulate one event for each energy, in bunches whose steps fit into memory.

        The random numbers run on from bunch to bunch, so that events do not depend on the bunches.

        Args:
            energy_inc: kinetic energies [MeV], shape (n,).
            gun: particle, position and direction.
            seed: a number below 2**128.

        Yields:
            The events of a bunch and their steps; `Steps.event` counts from 0 in each bunch.
        """
        self._check_in_world(gun)
        primaries = self._calzone.particles(
            len(energy_inc),
            pid=gun.particle,
            position=np.asarray(gun.position) / cm,
            direction=gun.direction,
        )
        primaries["energy"] = energy_inc
        self._simulation.random = self._calzone.Random(seed)
        for bunch in _bunches(energy_inc):
            deposits = self._simulation.run(primaries[bunch]).deposits
            yield bunch, self._near_wall(read_steps(deposits, self._layer_of_volume))

    def _check_in_world(self, gun: Gun) -> None:
        x, y, z = gun.position
        half = self.detector.width / 2
        if max(abs(x), abs(y)) >= half or z <= -ROOM_BEFORE_FRONT:
            raise ValueError(
                f"the gun must stand within {half:g} mm of the axis and {ROOM_BEFORE_FRONT:g} mm "
                f"of the front face, got position {gun.position}"
            )

    def _near_wall(self, steps: Steps) -> Steps:
        """Without what particles that crossed the hollow of a cylinder left in its far wall."""
        if self.detector.shape == "planes":
            return steps
        near = steps.position[:, 2] > -self.detector.inner_radius
        return Steps(steps.event[near], steps.layer[near], steps.position[near], steps.energy[near])


def read_steps(deposits: Mapping[str, Any], layer_of_volume: Mapping[str, int]) -> Steps:
    """Read calzone's deposits.

    A step ends on the border of a volume, where it must not be counted: its energy belongs to its
    middle. The deposits of recoiling nuclei are given as points.

    Args:
        deposits: for each volume, `line` (event, value [MeV], start, end [cm]) and `point` (event,
            value [MeV], position [cm]).
        layer_of_volume: the read-out layer of each volume.
    """
    event, layer, position, energy = [], [], [], []
    for volume, found in deposits.items():
        lines, points = found.line, found.point
        event += [lines["event"], points["event"]]
        position += [(lines["start"] + lines["end"]) / 2, points["position"]]
        energy += [lines["value"], points["value"]]
        layer.append(np.full(len(lines) + len(points), layer_of_volume[volume]))
    if not layer:
        nothing = np.zeros(0, np.int64)
        return Steps(nothing, nothing, np.zeros((0, 3)), np.zeros(0))
    return Steps(
        np.concatenate(event).astype(np.int64),
        np.concatenate(layer),
        np.concatenate(position) * cm,
        np.concatenate(energy),
    )


@lru_cache(maxsize=4)
def geant4_for(detector: Detector, physics: str, cut: float) -> Geant4:
    """The same `Geant4` again for the same arguments, so that a process builds it once."""
    return Geant4(detector, physics, cut)


def _bunches(energy_inc: NDArray[np.float32]) -> Iterator[slice]:
    number = np.floor(np.cumsum(energy_inc, dtype=np.float64) / MAX_BUNCH_ENERGY)
    borders = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(energy_inc)]
    for start, stop in pairwise(borders):
        yield slice(start, stop)


# ---------------------------------------------------------------- detector -> calzone


def calzone_definition(detector: Detector) -> tuple[dict[str, Any], dict[str, int]]:
    """Describe a detector as calzone wants it.

    Returns:
        The definition of the geometry, and the read-out layer of each volume that is read out.
    """
    build = {"planes": _planes, "cylinder": _cylinder}[detector.shape]
    stack, layer_of_volume = build(detector)
    reach = detector.depth + (detector.inner_radius if detector.shape == "cylinder" else 0.0)
    half = max(detector.width / 2, reach) + ROOM_BEFORE_FRONT
    world = {"box": [2 * half / cm] * 3, "material": _material_name(detector.medium), **stack}
    mixtures = {
        material.name: {"density": material.density, "composition": dict(material.fractions)}
        for material in {plate.material for plate in detector.plates} | {detector.medium}
        if isinstance(material, Material)
    }
    definition: dict[str, Any] = {"World": world}
    if mixtures:
        definition["materials"] = {"mixtures": mixtures}
    return definition, layer_of_volume


def _planes(detector: Detector) -> tuple[dict[str, Any], dict[str, int]]:
    width, depth = detector.width / cm, detector.depth / cm
    stack: dict[str, Any] = {
        "box": [width, width, depth],
        "material": _material_name(detector.medium),
        "position": [0.0, 0.0, depth / 2],
    }
    layer_of_volume = {}
    for i, (plate, front) in enumerate(zip(detector.plates, detector.borders, strict=False)):
        if plate.material == detector.medium and plate.layer is None:
            continue
        thickness = plate.thickness / cm
        volume: dict[str, Any] = {
            "box": [width, width, thickness],
            "material": _material_name(plate.material),
            "position": [0.0, 0.0, front / cm + thickness / 2 - depth / 2],
        }
        if plate.layer is not None:
            volume["role"] = "record_deposits"
            layer_of_volume[f"World.Stack.Plate{i}"] = plate.layer
        stack[f"Plate{i}"] = volume
    return {"Stack": stack}, layer_of_volume


def _cylinder(detector: Detector) -> tuple[dict[str, Any], dict[str, int]]:
    # Full cylinders, each inside the next one: Geant4 finds its way through them far faster than
    # through shells side by side, whose bounding boxes all overlap.
    length = detector.width / cm
    name = "Hollow"
    volume: dict[str, Any] = {
        "cylinder": {"length": length, "radius": detector.inner_radius / cm},
        "material": _material_name(detector.medium),
    }
    names, layers = [name], {}
    for i, (plate, back) in enumerate(zip(detector.plates, detector.borders[1:], strict=True)):
        inner, inner_name, name = volume, name, f"Plate{i}"
        volume = {
            "cylinder": {"length": length, "radius": (detector.inner_radius + back) / cm},
            "material": _material_name(plate.material),
            inner_name: inner,
        }
        names.append(name)
        if plate.layer is not None:
            volume["role"] = "record_deposits"
            layers[name] = plate.layer
    volume["rotation"] = [90.0, 0.0, 0.0]  # the axis along y
    volume["position"] = [0.0, 0.0, -detector.inner_radius / cm]
    layer_of_volume, path = {}, "World"
    for plate_name in reversed(names):
        path = f"{path}.{plate_name}"
        if plate_name in layers:
            layer_of_volume[path] = layers[plate_name]
    return {name: volume}, layer_of_volume


_NIST_NAMES = {"air": "G4_AIR", "vacuum": "G4_Galactic"}


def _material_name(material: str | Material) -> str:
    if isinstance(material, Material):
        return material.name
    return material if material.startswith("G4_") else _NIST_NAMES.get(material, f"G4_{material}")
