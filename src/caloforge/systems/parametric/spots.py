"""Layers filled by spots of energy, independent of each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri, pdtrik
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.kinds import point_showers
from caloforge.cascade.quantities import Quantities, ShowerQuantities, of_particles
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Stage, Upstream
from caloforge.geometry import Geometry
from caloforge.preprocessing import check_centred
from caloforge.showers import ShowerSource
from caloforge.systems.parametric.config import BinnedShape, ParametricConfig
from caloforge.systems.parametric.shapes import BinnedLateral, Hits, Lateral, RadialLateral, Spots
from caloforge.upload import upload

__all__ = ["PointSpotStage", "VoxelSpotStage"]

BLOCK = 10_000  # showers that are read at once
LEVELS = np.linspace(0, 1, 257)  # of the quantiles of a spot's energy
DENSITIES = 8  # energies of layers at which spots have a density of their own
ENERGIES, RADII = 8, 32  # of layers and at which points have a spectrum of their own
ALONE = 0.05  # of all hits are in the voxels that are hit least often
TRIED = 200  # training showers whose hits are compared
LARGEST = 50.0  # logarithm of the spots per MeV, or of MeV per spot
ROUNDS = 4  # of the density, which is raised by more than hits are missing,
BOLDNESS = 1.5  # as several spots hit one voxel
MANY = 100.0  # spots of which a Poisson distribution is a normal one
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class SpotStage(KeepsRows, Stage, ABC):
    """Spots of energy in layers whose energies are known.

    A layer of energy E has a Poisson number of spots, of mean E times their density, and one at the
    least unless E is less than any spot has. Each lies where the lateral shape says, and has an
    energy of the training showers' spectrum of spots; together they are scaled to E. Density and
    spectrum are tabulated in ln(E), as spots merge where they are many. A shower of more spots than
    `most_spots` on average has so many.

    Args:
        config: of the system.
        geometry: the voxels, or the layers of the points.

    Attributes:
        levels: ln(E) of layers at which there is a density, shape (8,).
        density: logarithm of the spots per energy [1/MeV] there, shape (8,).
        spectra: quantiles of the energies of spots [MeV], shape (n_spectra, 257).
    """

    reads = ("energy_inc", "layer_energies")
    learns = ("energy_inc",)
    of_points: bool
    n_spectra: int
    levels: Tensor
    density: Tensor
    spectra: Tensor

    def __init__(self, config: ParametricConfig, geometry: Geometry) -> None:
        super().__init__()
        self.config, self.geometry = config, geometry
        shape = config.shape
        self.lateral: Lateral = (
            BinnedLateral(shape, geometry, of_points=self.of_points)
            if isinstance(shape, BinnedShape)
            else RadialLateral(shape, geometry, of_points=self.of_points)
        )
        self.register_buffer("levels", torch.zeros(DENSITIES))
        self.register_buffer("density", torch.zeros(DENSITIES))
        self.register_buffer("spectra", torch.zeros(self.n_spectra, len(LEVELS)))

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.cpu()
        parts = list(sample.showers.blocks(BLOCK))
        showers: Any = parts[0] if len(parts) == 1 else type(parts[0]).concatenate(parts)
        showers = showers[showers.total_energy() > 0]
        hits = self.hits(showers)
        self.lateral.fit(hits)
        self.fit_spectra(hits, showers)
        log_e = np.log(hits.energies[hits.energies > 0])
        self.levels.copy_(_tensor(np.quantile(log_e, (np.arange(DENSITIES) + 0.5) / DENSITIES)))
        self.fit_density(hits, showers)
        self.to(rng.device)

    def check_kept(self) -> None:
        """Refuse densities and energies that no showers have."""
        known = float(self.density.abs().max()) < LARGEST and bool((self.spectra >= 0).all())
        if not known or bool((self.levels.diff() < 0).any()):
            raise ValueError("the spots of a parametrisation are impossible: train it again")

    @abstractmethod
    def hits(self, showers: Any) -> Hits:
        """What there is to learn from of showers."""

    @abstractmethod
    def fit_spectra(self, hits: Hits, showers: Any) -> None:
        """Fit the energies of spots."""

    def fit_density(self, hits: Hits, showers: Any) -> None:
        """Fit the density of spots; by default that of the hits."""
        n_layers = self.geometry.n_layers
        place = hits.shower * n_layers + hits.layer
        number = np.bincount(place, minlength=hits.energies.size).reshape(hits.energies.shape)
        sums = [self._near_levels(hits.energies, of) for of in (number, hits.energies)]
        self.density.copy_(_tensor(np.log(sums[0].clip(1e-9) / sums[1].clip(1e-9))))

    def _made(self, given: Quantities) -> Quantities:
        """What the stage makes of layer energies as it now is."""
        self.prepare()
        n = len(given["energy_inc"])
        return self.sample(given, {}, Seeds.of(0, range(n)), SamplingOptions())

    def _near_levels(self, energies: Floats, values: NDArray[Any]) -> Floats:
        """Sums of values of the layers whose energies are nearest to each level, shape (8,)."""
        levels = self.levels.double().numpy()
        near = np.searchsorted((levels[1:] + levels[:-1]) / 2, _log(energies))
        sums = np.bincount(near.ravel(), values.ravel(), DENSITIES)
        return np.asarray(sums, dtype=np.float64)

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Numbers "u" of every spot, shape (spots, m), and how many there are of each, (n, L)."""
        layers = seeds.branch("counts").uniform(self.geometry.n_layers)
        together = torch.cat([given["layer_energies"], layers], 1).double().cpu().numpy()
        energies, u = np.split(together, 2, axis=1)
        if not self.is_prepared:
            self.prepare()
        known = self._prepared
        smallest = known["spectra"][:, 0].min()
        mean = energies * np.exp(np.interp(_log(energies), known["levels"], known["density"]))
        mean *= np.minimum(1, self.config.most_spots / mean.sum(1, keepdims=True).clip(1e-9))
        counts = np.where(energies > smallest, _poisson(u, mean).clip(1), 0).astype(np.int64)
        numbers = seeds.branch("spots").uniform_rows(
            torch.from_numpy(counts.sum(1)), 1 + self.lateral.numbers
        )
        return {"u": numbers, "counts": torch.from_numpy(counts)}

    def prepare(self) -> None:
        super().prepare()
        own = self.named_buffers(recurse=False)
        self._prepared = {name: buffer.double().cpu().numpy() for name, buffer in own}

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        if not (self.is_prepared and self.lateral.is_prepared):
            self.prepare()
        known = torch.cat([given["energy_inc"][:, None], given["layer_energies"]], 1)
        energies = known.double().cpu().numpy()
        counts, u = noise["counts"].numpy(), noise["u"].cpu().numpy()
        n_layers = self.geometry.n_layers
        shower, layer = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), n_layers)
        spots = Spots(energies[:, 0], energies[:, 1:], shower, layer)
        made = self.placed(spots, counts, u)
        return {name: upload(torch.from_numpy(v), noise["u"].device) for name, v in made.items()}

    @abstractmethod
    def placed(
        self, spots: Spots, counts: Integers, u: NDArray[np.float32]
    ) -> dict[str, NDArray[Any]]:
        """What the stage writes.

        Args:
            spots: what was fitted of spots.
            counts: numbers of them, shape (n, L).
            u: numbers from 0 to 1: of the energy, and those of the lateral shape.
        """

    def energies(self, spots: Spots, u: NDArray[np.float32], spectrum: Integers | int) -> Floats:
        """Energies of spots [MeV], those of a layer with its sum, shape (m,).

        Args:
            spots: their layers.
            u: numbers from 0 to 1, shape (m,).
            spectrum: which each has, shape (m,) or one for all.
        """
        place = u.astype(np.float64) * (len(LEVELS) - 1)
        j = place.astype(np.int64)
        spectra = self._prepared["spectra"]
        low, high = spectra[spectrum, j], spectra[spectrum, j + 1]
        energy = low + (place - j) * (high - low)
        piece = spots.shower * self.geometry.n_layers + spots.layer
        sums = np.bincount(piece, energy, spots.energies.size)
        scale = spots.energies.ravel() / np.where(sums > 0, sums, 1)
        scaled: Floats = energy * scale[piece]
        return scaled


class VoxelSpotStage(SpotStage):
    """Spots that fill voxels.

    Their spectrum is that of the voxels that are hit least often, hence by single particles; their
    density such that as many voxels are hit as in training showers.

    Args:
        config: of the system.
        geometry: the voxels.
    """

    writes = ("showers",)
    of_points = False
    n_spectra = 1

    def check(self, sample: ShowerSource[Any]) -> None:
        """Refuse showers with a preferred side where spots have none."""
        super().check(sample)
        shape = self.config.shape
        if not self.geometry.is_regular or (isinstance(shape, BinnedShape) and not shape.images):
            return
        layers = ShowerQuantities(sample, ("showers",), budget=0)
        summed = (q["showers"].sum(1) for q in layers.batches())
        try:
            check_centred(summed, cyclic=self.geometry.cyclic_axis is not None)
        except ValueError as error:
            remedy = (
                "set shape.images=false"
                if isinstance(shape, BinnedShape)
                else ("take parametric/binned with shape.images=false")
            )
            raise ValueError(
                f"the shape has no preferred side, as the showers have: {remedy}"
            ) from error

    def hits(self, showers: Any) -> Hits:
        voxel = showers.index.astype(np.int64)
        return Hits(
            energy_inc=showers.energy_inc.astype(np.float64),
            energies=showers.layer_energies().astype(np.float64),
            shower=np.repeat(np.arange(len(showers)), np.diff(showers.offset)),
            layer=self.geometry.voxel_layer[voxel],
            radius=self.geometry.voxel_r[voxel],
            weight=showers.energy.astype(np.float64),
            voxel=voxel,
        )

    def fit_spectra(self, hits: Hits, showers: Any) -> None:
        times = np.bincount(showers.index, minlength=self.geometry.n_voxels)
        often = np.sort(times)[::-1].cumsum()
        fewest = np.sort(times)[np.searchsorted(-often[::-1], -(1 - ALONE) * often[-1])]
        alone = hits.weight[times[hits.voxel] <= max(fewest, 1)]
        chosen = alone if len(alone) else hits.weight
        self.spectra.copy_(_tensor(np.quantile(chosen, LEVELS)[None]))

    def fit_density(self, hits: Hits, showers: Any) -> None:
        tried = showers[_evenly(len(showers))]
        given, threshold = _given(tried), max(self.geometry.threshold, 1e-9)
        energies = given["layer_energies"].double().numpy()

        def hits_of(dense: NDArray[Any]) -> Floats:
            hit = dense.reshape(len(tried), -1) >= threshold
            number = np.add.reduceat(hit, self.geometry.offsets[:-1], axis=1, dtype=np.int64)
            return self._near_levels(energies, number)

        wanted = hits_of(tried.dense())
        self.density.fill_(-np.log(float(self.spectra.mean())))
        for _ in range(ROUNDS):
            made = self._made(given)
            more = np.log(wanted.clip(1) / hits_of(made["showers"].numpy()).clip(1))
            self.density.add_(_tensor(BOLDNESS * more))

    def placed(self, spots: Spots, counts: Any, u: Any) -> dict[str, Any]:
        voxel = self.lateral.voxels(spots, u[:, 1:])
        if (voxel < 0).any():
            inside = voxel >= 0
            spots = Spots(
                spots.energy_inc, spots.energies, spots.shower[inside], spots.layer[inside]
            )
            voxel, u = voxel[inside], u[inside]
        n, n_voxels = len(counts), self.geometry.n_voxels
        place = spots.shower * n_voxels + voxel
        dense = np.bincount(place, self.energies(spots, u[:, 0], 0), n * n_voxels)
        return {"showers": dense.reshape(n, n_voxels).astype(np.float32)}


class PointSpotStage(SpotStage):
    """Spots that are points, of the density and the spectra of the training showers' points.

    Spectra are tabulated in the distance from the axis, where points are of more energy, too.

    Args:
        config: of the system.
        geometry: the layers.

    Attributes:
        radii: borders of the spectra [mm], shape (31,).
        borders: those in ln(E) of the layer, shape (7,).
    """

    writes = ("n_points", "points")
    of_points = True
    n_spectra = ENERGIES * RADII
    radii: Tensor
    borders: Tensor

    def __init__(self, config: ParametricConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        self.register_buffer("radii", torch.zeros(RADII - 1))
        self.register_buffer("borders", torch.zeros(ENERGIES - 1))

    def hits(self, showers: Any) -> Hits:
        return Hits(
            energy_inc=showers.energy_inc.astype(np.float64),
            energies=showers.layer_energies().astype(np.float64),
            shower=np.repeat(np.arange(len(showers)), np.diff(showers.offset)),
            layer=showers.layer.astype(np.int64),
            radius=np.hypot(showers.x, showers.y).astype(np.float64),
            weight=np.ones(len(showers.energy)),
        )

    def fit_spectra(self, hits: Hits, showers: Any) -> None:
        of_layer = _log(hits.energies)[hits.shower, hits.layer]
        for borders, values in ((self.radii, hits.radius), (self.borders, of_layer)):
            n = len(borders) + 1
            borders.copy_(_tensor(np.quantile(values, np.arange(1, n) / n)))
        self.prepare()
        which, energy = self._spectrum(hits, hits.radius), showers.energy.astype(np.float64)
        ends = np.bincount(which, minlength=self.n_spectra).cumsum()[:-1]
        order = np.argsort(which.astype(np.int16), kind="stable")  # a radix sort
        spectra = np.split(energy[order], ends)
        quantiles = [np.quantile(some if len(some) else energy, LEVELS) for some in spectra]
        self.spectra.copy_(_tensor(np.stack(quantiles)))

    def fit_density(self, hits: Hits, showers: Any) -> None:
        """Fit the density, and scale the spectra so that each radius has its energy.

        Else points of much energy would lose of it, as layers with several are scaled down.
        """
        super().fit_density(hits, showers)
        tried = showers[_evenly(len(showers))]
        given = _given(tried)

        def energies_of(hits: Hits, energy: NDArray[Any]) -> Floats:
            spectrum = self._spectrum(hits, hits.radius)
            return np.bincount(spectrum, energy, self.n_spectra).clip(1e-9)

        wanted = energies_of(self.hits(tried), tried.energy)
        for _ in range(ROUNDS):
            made = point_showers(given | self._made(given), self.geometry)
            here = energies_of(self.hits(made), made.energy)
            self.spectra.mul_(_tensor((wanted / here).clip(0.5, 2))[:, None])

    def _spectrum(self, spots: Spots, radius: Floats) -> Integers:
        """The spectrum of points at distances from the axis [mm], shape (m,)."""
        known = self._prepared
        row = np.searchsorted(known["borders"], _log(spots.energies))[spots.shower, spots.layer]
        spectrum: Integers = row * RADII + np.searchsorted(known["radii"], radius)
        return spectrum

    def placed(self, spots: Spots, counts: Any, u: Any) -> dict[str, Any]:
        x, y = self.lateral.points(spots, u[:, 1:])
        energy = self.energies(spots, u[:, 0], self._spectrum(spots, np.hypot(x, y)))
        points = np.stack([x, y, spots.layer, energy], 1).astype(np.float32)
        return {"n_points": counts.sum(1), "points": points}


def _poisson(u: Floats, mean: Floats) -> Floats:
    """Poisson numbers of a mean that uniform ones stand for, shape of both."""
    few = np.nan_to_num(np.ceil(pdtrik(u, mean.clip(1e-9, MANY))))
    many = np.rint(mean + np.sqrt(mean.clip(0)) * ndtri(u.clip(1e-7, 1 - 1e-7)))
    numbers: Floats = np.where(mean < MANY, few, many)
    return numbers


def _evenly(n: int) -> Integers:
    """Numbers of some of n training showers, with which sampled ones are compared."""
    return np.linspace(0, n - 1, min(n, TRIED)).astype(np.int64)


def _given(showers: Any) -> Quantities:
    """What the stage reads of showers."""
    layer_energies = torch.from_numpy(showers.layer_energies().astype(np.float32))
    return {**of_particles(showers.particles), "layer_energies": layer_energies}


def _log(energies: Floats) -> Floats:
    logarithms: Floats = np.log(energies.clip(1e-9))
    return logarithms


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
