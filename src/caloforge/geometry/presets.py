"""The geometries of the field, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import resources

import numpy as np

from caloforge.geometry.layers import CartesianLayer, Floats, Layer, PolarLayer, SensorLayer
from caloforge.geometry.readout import Geometry
from caloforge.names import did_you_mean
from caloforge.units import MeV, keV, mm


def _calochallenge_1(particle: str) -> Geometry:
    # Edges [mm] as in the CaloChallenge's binning_dataset_1_{photons,pions}.xml. The official
    # sample gives no depths for ATLAS' calorimeter at 0.2 < eta < 0.25: the layers' numbers serve.
    presampler = (0, 5, 10, 30, 50, 100, 200, 400, 600)
    back = (0, 50, 100, 200, 400, 600)
    bins: dict[int, tuple[tuple[float, ...], int]]
    if particle == "gamma":
        strips = (0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 50, 70, 90, 120, 150, 200)
        middle = (
            *(0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80),
            *(100, 130, 160, 200, 250, 300, 350, 400),
        )
        bins = {
            0: (presampler, 1),
            1: (strips, 10),
            2: (middle, 10),
            3: (back, 1),
            12: ((0, 100, 200, 400, 1000, 2000), 1),
        }
    else:
        tile = (0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400)
        bins = {
            0: (presampler, 1),
            1: ((0, 1, 4, 7, 10, 15, 30, 50, 90, 150, 200), 10),
            2: ((0, 5, 10, 20, 30, 50, 80, 130, 200, 300, 400), 10),
            3: (back, 1),
            12: ((*tile, 1000, 2000), 10),
            13: ((*tile, 600, 1000, 2000), 10),
            14: ((0, 50, 100, 150, 200, 250, 300, 400, 600, 1000, 2000), 1),
        }
    return Geometry(
        name="calochallenge-1-photons" if particle == "gamma" else "calochallenge-1-pions",
        layers=tuple(PolarLayer(edges, n_alpha) for edges, n_alpha in bins.values()),
        z=tuple(float(number) for number in bins),
        threshold=1 * MeV,
        layer_ids=tuple(bins),
    )


def _calochallenge_23(number: int, n_alpha: int, r_step: float) -> Geometry:
    # 45 read-out layers of two (1.4 mm W + 0.3 mm Si) each; silicon energies are divided by the
    # sampling fraction 0.033, which turns the threshold of 0.5 keV into 15.15 keV.
    n_r = round(41.85 / r_step)
    edges = tuple(round(i * r_step, 6) for i in range(n_r + 1))
    return Geometry(
        name=f"calochallenge-{number}",
        layers=(PolarLayer(edges, n_alpha),) * 45,
        z=tuple((i + 0.5) * 3.4 * mm for i in range(45)),
        threshold=0.5 * keV / 0.033,
    )


# Lower faces of the silicon layers of the ILD electromagnetic calorimeter, distance from the beam
# axis [mm] (CaloClouds), written as the gaps after the first one. The first silicon lies 2.3 mm
# behind the front face: 2.1 mm of tungsten and 0.2 mm of air.
_ILD_FIRST_SILICON = 2.3 * mm
_ILD_SILICON_THICKNESS = 0.525 * mm
_ILD_GAPS = (3.125, 9.345) * 9 + (3.125, 11.445) + (5.225, 11.445) * 4 + (5.225,)


def ild_silicon_depths() -> Floats:
    """Depth of the lower face of each of the 30 ILD silicon layers [mm], shape (30,)."""
    return _ILD_FIRST_SILICON + np.concatenate([[0.0], np.cumsum(_ILD_GAPS)])


def _ild(name: str, layers: tuple[Layer, ...]) -> Geometry:
    # the threshold is half the energy of a minimum ionising particle (Convolutional L2LFlows,
    # section 5; CaloClouds, section 4.1)
    depths = ild_silicon_depths() + _ILD_SILICON_THICKNESS / 2
    return Geometry(
        name=name,
        layers=layers,
        z=tuple(round(float(depth), 4) for depth in depths),
        threshold=100 * keV,
    )


def _ild_30() -> Geometry:
    # 30 x 30 cells of 5 mm around the impact point (Convolutional L2LFlows, section 2.1)
    edges = tuple(5.0 * (i - 15) * mm for i in range(31))
    return _ild("ild-30", (CartesianLayer(edges, edges),) * 30)


def _ild_core() -> Geometry:
    # the 10 x 10 cells around the impact point (L2LFlows, arXiv:2302.11594)
    return _ild_30().crop(10, 10, name="ild-core")


_ILD_IMPACT = (0.0 * mm, 40.0 * mm)  # CaloClouds, section 2


def ild_ecal(impact: tuple[float, float] = _ILD_IMPACT) -> Geometry:
    """The real cells of the ILD's electromagnetic calorimeter around an impact point.

    Cells of 5.0883 mm on sensors with gaps, staggered from layer to layer. x is the detector's X'
    and y its Z', counted from the impact point. The voxels are the same ones, in the same order,
    wherever it lies.

    Example:
        >>> there = ild_ecal((37.5, -36.1))  # the translation test of CaloClouds, section 4.2

    Args:
        impact: (X', Z') of the shower's axis in the detector [mm].
    """
    x, z = float(impact[0]), float(impact[1])
    name = "ild-ecal" if (x, z) == _ILD_IMPACT else f"ild-ecal at ({x:g}, {z:g})"
    stored = resources.files("caloforge.geometry").joinpath("ild_cells.json").read_text("utf-8")
    cells = json.loads(stored)  # made by caloforge.geometry.muon_scan
    y_sensors = tuple(border - z for border in cells["z_sensors_mm"])
    layers = tuple(
        SensorLayer(
            tuple(border - x for border in x_sensors),
            y_sensors,
            n_cells=cells["n_cells"],
            pitch=cells["pitch_mm"],
        )
        for x_sensors in cells["x_sensors_mm"]
    )
    return _ild(name, layers)


def impact_of(geometry: Geometry) -> tuple[float, float] | None:
    """The impact point [mm] whose cells `ild_ecal` gives, to a nanometre; None for other cells."""
    here, there = _built("ild-ecal").layers[0], geometry.layers[0]
    if not (isinstance(here, SensorLayer) and isinstance(there, SensorLayer)):
        return None
    x = _ILD_IMPACT[0] + here.x_sensors[0] - there.x_sensors[0]
    z = _ILD_IMPACT[1] + here.y_sensors[0] - there.y_sensors[0]
    impact = round(x, 6), round(z, 6)
    return impact if ild_ecal(impact).layers == geometry.layers else None


_PRESETS: dict[str, Callable[[], Geometry]] = {
    "calochallenge-1-photons": lambda: _calochallenge_1("gamma"),
    "calochallenge-1-pions": lambda: _calochallenge_1("pi+"),
    "calochallenge-2": lambda: _calochallenge_23(2, 16, 4.65 * mm),
    "calochallenge-3": lambda: _calochallenge_23(3, 50, 2.325 * mm),
    "ild-30": _ild_30,
    "ild-core": _ild_core,
    "ild-ecal": ild_ecal,
}


def geometry_presets() -> tuple[str, ...]:
    """Names of the geometries that `geometry_preset` builds."""
    return tuple(_PRESETS)


@cache  # a geometry is frozen, and the positions of its voxels are worth sharing
def _built(name: str) -> Geometry:
    return _PRESETS[name]()


def geometry_preset(name: str) -> Geometry:
    """Build a geometry of the field by its name.

    Raises:
        ValueError: if there is no such preset.
    """
    if name not in _PRESETS:
        raise ValueError(
            f"there is no geometry {name!r}{did_you_mean(name, _PRESETS)}: choose one of "
            f"{', '.join(_PRESETS)}"
        )
    return _built(name)


def preset_of(geometry: Geometry) -> str | None:
    """Name of the preset whose detector a geometry is, whatever its name.

    Equal are the bins of every layer, and the layers' depths and numbers; the threshold may differ.
    None if there is no such preset.
    """

    def detector(of: Geometry) -> tuple[object, ...]:
        return of.z, of.layer_ids, of.layers

    mine = detector(geometry)
    return next((name for name in _PRESETS if detector(_built(name)) == mine), None)
