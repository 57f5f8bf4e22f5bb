"""The geometries of the field, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from caloforge.geometry.layers import CartesianLayer, Floats, PolarLayer
from caloforge.geometry.readout import Geometry
from caloforge.units import GeV, MeV, TeV, keV, mm


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
        energy_range=(2**8 * MeV, 2**22 * MeV),
        particle=particle,
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
        energy_range=(1 * GeV, 1 * TeV),
        particle="e-",
    )


# Lower faces of the silicon layers of the ILD electromagnetic calorimeter, distance from the beam
# axis [mm] (CaloClouds), written as the gaps behind the first one. The first silicon lies 2.3 mm
# behind the front face: 2.1 mm of tungsten and 0.2 mm of air.
_ILD_FIRST_SILICON = 2.3 * mm
_ILD_SILICON_THICKNESS = 0.525 * mm
_ILD_GAPS = (3.125, 9.345) * 9 + (3.125, 11.445) + (5.225, 11.445) * 4 + (5.225,)


def ild_silicon_depths() -> Floats:
    """Depth of the lower face of each of the 30 ILD silicon layers [mm], shape (30,)."""
    return _ILD_FIRST_SILICON + np.concatenate([[0.0], np.cumsum(_ILD_GAPS)])


def _ild_30() -> Geometry:
    # 30 layers of 30 x 30 cells of 5 mm around the impact point (Convolutional L2LFlows,
    # section 2.1); the threshold is half the energy of a minimum ionising particle (section 5).
    edges = tuple(5.0 * (i - 15) * mm for i in range(31))
    depths = ild_silicon_depths() + _ILD_SILICON_THICKNESS / 2
    return Geometry(
        name="ild-30",
        layers=(CartesianLayer(edges, edges),) * 30,
        z=tuple(round(float(depth), 4) for depth in depths),
        threshold=100 * keV,
        energy_range=(10 * GeV, 100 * GeV),
        particle="gamma",
    )


def _ild_core() -> Geometry:
    # the 10 x 10 cells around the impact point (L2LFlows, arXiv:2302.11594)
    return _ild_30().crop(10, 10, name="ild-core")


_PRESETS: dict[str, Callable[[], Geometry]] = {
    "calochallenge-1-photons": lambda: _calochallenge_1("gamma"),
    "calochallenge-1-pions": lambda: _calochallenge_1("pi+"),
    "calochallenge-2": lambda: _calochallenge_23(2, 16, 4.65 * mm),
    "calochallenge-3": lambda: _calochallenge_23(3, 50, 2.325 * mm),
    "ild-30": _ild_30,
    "ild-core": _ild_core,
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
        raise ValueError(f"there is no geometry {name!r}: choose one of {', '.join(_PRESETS)}")
    return _built(name)
