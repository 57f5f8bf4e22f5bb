"""The observables of CaloClouds: centres of gravity, hits, energies in ten layers and ten rings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.evaluation.observables.source import Floats, sum_by
from caloforge.geometry import Geometry, geometry_preset
from caloforge.showers import VoxelShowers
from caloforge.units import GeV

__all__ = ["FIXED_ENERGIES", "at_energy", "bins", "caloclouds", "fixed_energy", "is_ild"]

FIXED_ENERGIES = (10 * GeV, 50 * GeV, 90 * GeV)  # incident energies of CaloClouds' figure 7
BAND = 5 * GeV
HITS_POWER = 2 / 3  # of the incident energy that the number of hits grows as

# Layers and radii [mm] that part the hits of 10 to 90 GeV photons in ILD's calorimeter into tenths.
ILD_LAYERS = (0, 8, 11, 13, 15, 16, 18, 19, 21, 24, 29)
ILD_RADII = (
    *(0.0, 6.558, 9.849, 12.96, 17.028, 23.434),
    *(33.609, 40.119, 48.491, 68.808, 300.0),
)


def is_ild(geometry: Geometry) -> bool:
    """Whether the layers lie at the depths of the ILD's, wherever the cells lie in them."""
    return geometry.z == geometry_preset("ild-ecal").z


def at_energy(
    energy: float, values: ArrayLike, energy_inc: ArrayLike, *, power: float = 1.0
) -> Floats:
    r"""What showers of an incident energy have of a number that grows as a power of it.

    .. math:: v\,(E / E_\mathrm{inc})^p, \qquad |E_\mathrm{inc} - E| \le 5\,\mathrm{GeV}

    So a sample of a continuous spectrum has distributions at an energy, and one of this very energy
    is left as it is. In the ILD visible energies grow as the power 0.96, numbers of hits above half
    a MIP as the power 0.66 of the energy (10 to 100 GeV).

    Args:
        energy: E [MeV].
        values: v, shape (n,).
        energy_inc: incident energy [MeV], shape (n,).
        power: p.

    Returns:
        Shape (n,), NaN for showers of other energies.
    """
    incident = np.asarray(energy_inc, np.float64)
    scaled = np.asarray(values, np.float64) * (energy / incident) ** power
    return np.where(np.abs(incident - energy) <= BAND, scaled, np.nan)


def fixed_energy(
    features: Mapping[str, NDArray[Any]], energy_inc: ArrayLike
) -> dict[tuple[str, float], Floats]:
    """Visible energy [MeV] and number of hits at CaloClouds' three incident energies.

    Args:
        features: what `caloclouds` gives.
        energy_inc: incident energy [MeV], shape (n,).

    Returns:
        By ("visible" or "hits", energy [MeV]), see `at_energy`, shape (n,) each.
    """
    incident = np.asarray(energy_inc, np.float64)
    grows = {
        "visible": (features["sampling_fraction"] * incident, 1.0),
        "hits": (features["n_hits"], HITS_POWER),
    }
    return {
        (name, energy): at_energy(energy, values, incident, power=power)
        for name, (values, power) in grows.items()
        for energy in FIXED_ENERGIES
    }


def bins(geometry: Geometry) -> tuple[Floats, Floats]:
    """Borders of the ten groups of layers, the last one closed, and of the ten rings [mm].

    CaloClouds' own for the 30 layers of ILD, elsewhere ten equal steps in depth and radius.
    """
    if is_ild(geometry):
        return np.asarray(ILD_LAYERS, np.float64), np.asarray(ILD_RADII)
    outermost = float(np.nextafter(geometry.voxel_r.max(), np.inf))
    return np.linspace(0, geometry.n_layers - 1, 11), np.linspace(0, outermost, 11)


def caloclouds(showers: VoxelShowers) -> dict[str, Floats]:
    """Centres of gravity, hits, sampling fraction, longitudinal and radial energies: `features`."""
    n, event, geometry = len(showers), showers.event(), showers.geometry
    voxel = showers.index.astype(np.intp)
    energy = showers.energy.astype(np.float64)
    total = sum_by(event, energy, (n,))
    known = np.where(total > 0, total, np.nan)
    result = {
        f"cog_{axis}": sum_by(event, energy * position[voxel], (n,)) / known
        for axis, position in zip(
            "xyz", (geometry.voxel_x, geometry.voxel_y, geometry.voxel_z), strict=True
        )
    }
    result["n_hits"] = sum_by(event, energy > 0, (n,))
    result["sampling_fraction"] = total / showers.energy_inc
    layers, radii = bins(geometry)
    layer_group = np.searchsorted(layers[1:-1], np.arange(geometry.n_layers), side="right")
    ring = np.searchsorted(radii, geometry.voxel_r, side="right") - 1
    inside = ring[voxel] < 10  # half-open: what lies beyond the last radius is in no ring
    longitudinal = event * 10 + layer_group[geometry.voxel_layer[voxel]]
    result["longitudinal"] = sum_by(longitudinal, energy, (n, 10))
    radial = (event * 10 + ring[voxel])[inside]
    result["radial"] = sum_by(radial, energy[inside], (n, 10))
    return result
