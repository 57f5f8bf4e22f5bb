"""What a comparison keeps of a sample of showers: everything but the voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.clouds import Clouds
from caloforge.evaluation.observables import (
    CONVENTIONS,
    Floats,
    ShowerSource,
    count_rho,
    features,
    put,
    stream,
)
from caloforge.evaluation.projection import Projected
from caloforge.evaluation.rings import RingSpectra, count_rings, voxels_of_rings
from caloforge.evaluation.spectrum import (
    Spectrum,
    find_logarithmic_bins,
    spectrum_edges,
)
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.showers import VoxelShowers

__all__ = ["Profile", "Sample", "pack", "unpack"]

N_EVENTS = 8  # showers kept for the event display
EVENT_COLUMNS = (*VoxelShowers.of_showers, "offset", *VoxelShowers.columns)
SAMPLE_COLUMNS = ("energy_inc", "pdg", "mean_shower", "mean_shower_error")
TAKEN = ("calochallenge", "l2lflows")  # conventions that every sample is described in

MAX_POSITIONS = 256  # a profile with more distinct positions is kept in this many equal bins


@dataclass(frozen=True, eq=False)
class Profile:
    """Energy of each shower along one direction.

    Args:
        position: where the energy sits: layer number along z, [mm] along x, y and r, shape (k,).
        energy: energy there [MeV], shape (n, k).
        n_hits: active voxels of the whole sample there, shape (k,).
    """

    position: Floats
    energy: NDArray[np.float32]
    n_hits: Floats

    def mean(self) -> Floats:
        """Mean energy of a shower at each position [MeV], shape (k,)."""
        return np.asarray(self.energy.mean(axis=0, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Sample:
    """The observables of a sample of showers.

    Args:
        source: the showers themselves, in memory or an open file.
        threshold: read-out threshold [MeV]: voxels below it count as empty.
        energy_inc: incident energy [MeV], shape (n,).
        pdg: codes of the kinds of the incident particles, see `Particles`, shape (n,).
        features: CaloChallenge features, see `features`; arrays (n,) or (n, layers).
        moments: L2LFlows observables, see `features`; arrays (n,).
        profiles: profiles by direction: "z" and "r", for cartesian layers "x" and "y" as well.
        spectrum: voxel energies.
        rings: voxel energies in the rings of each layer.
        rho: correlations of adjacent layers, see `count_rho`; arrays (n, bins).
        mean_shower: mean energy of each voxel [MeV], shape (n_voxels,).
        mean_shower_error: its statistical error [MeV], shape (n_voxels,).
        events: a few showers for the event display.
        clouds: observables of the point clouds that the showers are projected from, None where
            they are given in voxels.
        origin: where the showers come from, for the record.
    """

    source: ShowerSource = field(repr=False)
    threshold: float
    energy_inc: NDArray[np.floating[Any]]
    pdg: NDArray[np.int32]
    features: Mapping[str, Floats]
    moments: Mapping[str, Floats]
    profiles: Mapping[str, Profile]
    spectrum: Spectrum
    rings: RingSpectra
    rho: Mapping[str, NDArray[Any]]
    mean_shower: Floats
    mean_shower_error: Floats
    events: VoxelShowers
    clouds: Clouds | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.energy_inc)

    @property
    def geometry(self) -> Geometry:
        """The voxels."""
        return self.source.geometry

    @property
    def n_training(self) -> int | None:
        """Showers that the generator was trained on, as the file says; None if it does not."""
        known = self.origin.get("n_training_showers")
        return int(known) if isinstance(known, Integral) and int(known) > 0 else None

    def may_know(self, training: Sized) -> bool:
        """Whether the generator may have learned from these showers: it says no other number."""
        return self.n_training in (None, len(training))

    def voxels(self) -> VoxelShowers:
        """All showers in memory, without the voxels below the threshold."""
        return VoxelShowers.concatenate(list(stream(self.source, self.threshold)))

    @cached_property
    def caloclouds(self) -> dict[str, NDArray[Any]]:
        """CaloClouds observables, see `features`; taken when they are first asked for."""
        return features(self.source, "caloclouds", threshold=self.threshold)

    @classmethod
    def of(
        cls,
        showers: ShowerSource,
        *,
        threshold: float | None = None,
        edges: Floats | None = None,
        point_edges: Floats | None = None,
        event_energies: NDArray[Any] | None = None,
    ) -> Sample:
        """Take the observables of showers in a stream.

        Args:
            showers: showers in memory, or an open file; or point clouds as `Projected`, whose own
                observables are taken as well.
            threshold: read-out threshold [MeV], by default the geometry's.
            edges: borders of the voxel spectrum [MeV]. By default those that the sample has as a
                reference: the CaloChallenge's 50 logarithmic borders from the threshold to its
                highest voxel energy, each bin cut into ten.
            point_edges: likewise of the spectrum of points [MeV], see `Clouds`.
            event_energies: incident energies [MeV] for which the nearest shower is kept, by default
                eight over the sample's range.

        Raises:
            ValueError: if borders are to be found and no voxel is above the threshold.
        """
        geometry, n, particles = showers.geometry, len(showers), showers.particles
        threshold = geometry.threshold if threshold is None else threshold
        edges = spectrum_edges(showers, threshold) if edges is None else edges
        if event_energies is None:
            event_energies = _event_energies(particles.energy)
        places = {name: _places(geometry, name) for name in _directions(geometry)}
        energy = {name: np.empty((n, len(p)), np.float32) for name, (p, _) in places.items()}
        n_hits = {name: np.zeros(len(p)) for name, (p, _) in places.items()}
        k, small = len(edges) - 1, np.min_scalar_type(geometry.n_voxels)
        spectrum, total = Spectrum.empty(n, edges, small), np.zeros((2, geometry.n_voxels))
        taken: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in TAKEN}
        rho: dict[str, NDArray[Any]] = {}
        n_ring_voxels = voxels_of_rings(geometry)
        in_rings = np.zeros((*n_ring_voxels.shape, k), np.int64)
        start = 0
        for whole in stream(showers):
            rows, batch = slice(start, start + len(whole)), whole.above(threshold)
            for name in TAKEN:
                put(taken[name], CONVENTIONS[name](batch), start, n)
            for name, (_, number) in places.items():
                energy[name][rows], hits = _profile(batch, number, len(n_hits[name]))
                n_hits[name] += hits
            put(rho, count_rho(batch), start, n, small)
            bins = find_logarithmic_bins(batch.energy, edges)
            spectrum.fill(rows, batch, bins, whole)
            in_rings += count_rings(batch, bins, k)
            total += _voxel_sums(batch)
            start += len(batch)
        return cls(
            source=showers,
            threshold=threshold,
            energy_inc=particles.energy,
            pdg=particles.pdg,
            features=taken["calochallenge"],
            moments=taken["l2lflows"],
            profiles={
                name: Profile(position, energy[name], n_hits[name])
                for name, (position, _) in places.items()
            },
            spectrum=spectrum,
            rings=RingSpectra(edges, in_rings, n * n_ring_voxels),
            rho=rho,
            mean_shower=total[0] / n,
            mean_shower_error=np.sqrt((total[1] / n - (total[0] / n) ** 2).clip(0) / n),
            events=_nearest(showers, event_energies).above(threshold),
            clouds=Clouds.of(showers, point_edges) if isinstance(showers, Projected) else None,
            origin=_origin(showers),
        )


def pack(sample: Sample) -> dict[str, NDArray[Any]]:
    """Everything but the showers themselves, as arrays by name; `unpack` turns them back."""
    spectrum, events, clouds = sample.spectrum, sample.events, sample.clouds
    named = {
        "features": sample.features,
        "moments": sample.moments,
        **{f"profiles/{name}": vars(profile) for name, profile in sample.profiles.items()},
        "spectrum": vars(spectrum),
        "rings": vars(sample.rings),
        "rho": sample.rho,
        "events": {name: getattr(events, name) for name in EVENT_COLUMNS},
        "sample": {name: getattr(sample, name) for name in SAMPLE_COLUMNS},
        "clouds": dict(clouds.features) if clouds else {},
        "points": vars(clouds.spectrum) if clouds else {},
    }
    return {f"{group}/{k}": np.asarray(v) for group, part in named.items() for k, v in part.items()}


def unpack(arrays: Mapping[str, NDArray[Any]], source: ShowerSource, threshold: float) -> Sample:
    """The sample that `pack` was given, of the same showers."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in arrays.items():
        group, _, key = name.rpartition("/")
        groups.setdefault(group, {})[key] = values
    return Sample(
        source=source,
        threshold=threshold,
        features=groups["features"],
        moments=groups["moments"],
        profiles={
            name: Profile(**groups[f"profiles/{name}"]) for name in _directions(source.geometry)
        },
        spectrum=Spectrum(**groups["spectrum"]),
        rings=RingSpectra(**groups["rings"]),
        rho=groups.get("rho", {}),
        events=VoxelShowers(**groups["events"], geometry=source.geometry),
        clouds=Clouds(groups["clouds"], Spectrum(**groups["points"]))
        if "clouds" in groups
        else None,
        origin=_origin(source),
        **groups["sample"],
    )


def _directions(geometry: Geometry) -> str:
    cartesian = all(isinstance(layer, CartesianLayer) for layer in geometry.layers)
    return "zrxy" if cartesian else "zr"


def _places(geometry: Geometry, direction: str) -> tuple[Floats, NDArray[np.int64]]:
    """Distinct positions of the voxels along a direction, and which of them each voxel has."""
    if direction == "z":
        return np.arange(geometry.n_layers, dtype=np.float64), geometry.voxel_layer
    of_voxel: Floats = getattr(geometry, f"voxel_{direction}")
    position, number = np.unique(of_voxel.round(6), return_inverse=True)
    if len(position) <= MAX_POSITIONS:
        return position, number
    borders = np.linspace(position[0], position[-1], MAX_POSITIONS + 1)
    number = np.clip(np.searchsorted(borders, of_voxel, "right") - 1, 0, MAX_POSITIONS - 1)
    return (borders[:-1] + borders[1:]) / 2, number


def _voxel_sums(showers: VoxelShowers) -> Floats:
    """Sum over the showers of each voxel's energy and of its square, shape (2, n_voxels)."""
    energy = showers.energy.astype(np.float64)
    sums = [
        np.bincount(showers.index, weights=values, minlength=showers.geometry.n_voxels)
        for values in (energy, energy**2)
    ]
    return np.asarray(sums)


def _profile(showers: VoxelShowers, number: NDArray[np.int64], k: int) -> tuple[Floats, Floats]:
    place = number[showers.index]
    key = showers.event() * k + place
    energy = np.bincount(key, weights=showers.energy, minlength=len(showers) * k)
    n_hits = np.bincount(place[showers.energy > 0], minlength=k).astype(np.float64)
    return np.asarray(energy, np.float64).reshape(-1, k), n_hits


def _event_energies(energy_inc: NDArray[Any]) -> Floats:
    """Incident energies for the event display, evenly over the sample's range on a log scale."""
    lowest, highest = np.quantile(energy_inc, [0.02, 0.98])
    return np.geomspace(float(lowest), float(highest), N_EVENTS)


def _nearest(showers: ShowerSource, energies: NDArray[Any]) -> VoxelShowers:
    """The showers with the incident energies nearest to the given ones, each taken once."""
    inc = np.log(np.asarray(showers.energy_inc, dtype=np.float64))
    chosen: list[int] = []
    for energy in energies[: len(inc)]:
        distance = np.abs(inc - np.log(energy))
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
    return VoxelShowers.concatenate([showers[i : i + 1] for i in chosen])


def _origin(showers: ShowerSource) -> dict[str, Any]:
    """File and attributes of an open file; showers in memory say only how many they are."""
    record: dict[str, Any] = {"n_showers": len(showers)}
    if (path := getattr(showers, "path", None)) is not None:
        record["file"] = path.name
    return record | {str(k): v for k, v in getattr(showers, "attributes", {}).items()}
