"""Where the spots of a layer lie: average lateral shapes of the training showers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from caloforge.cascade.kept import KeepsRows
from caloforge.geometry import Geometry, PolarLayer, SensorLayer, voxel_images
from caloforge.nets import Preparable
from caloforge.systems.parametric.config import BinnedShape, RadialShape
from caloforge.systems.parametric.energies import depth_and_width

__all__ = ["BinnedLateral", "Hits", "Lateral", "RadialLateral", "Spots"]

TERMS = 6  # of a polynomial in tau and ln(E_inc)
SHOWN = 0.99  # of the energy lies at a tau that polynomials are fitted to
INNERMOST = 1e-3  # of all points are within the first ring
RADII, AZIMUTHS = 4, 90  # of the points that give the overlap of an annulus with the voxels
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Spots:
    """Spots of showers: what is to be placed.

    Args:
        energy_inc: of the showers [MeV], shape (n,).
        energies: of their layers [MeV], shape (n, L).
        shower: that of each spot, shape (m,).
        layer: of each spot, shape (m,).
    """

    energy_inc: Floats
    energies: Floats
    shower: Integers
    layer: Integers


@dataclass(frozen=True)
class Hits(Spots):
    """Hits of training showers, filled voxels or points: where spots lie.

    Args:
        radius: distance from the axis [mm], of voxels that of their centres, shape (m,).
        weight: of what there is a shape: numbers of points or energies [MeV], shape (m,).
        voxel: of each hit, shape (m,); None for points.
    """

    radius: Floats
    weight: Floats
    voxel: Integers | None = None

    @property
    def shares(self) -> Floats:
        """Weights by which every shower counts alike, whatever its energy, shape (m,)."""
        return self.weight / self.energy_inc[self.shower]


class Lateral(Preparable, ABC):
    """A lateral shape, fitted to hits.

    Attributes:
        numbers: random ones from 0 to 1 that place a spot.
    """

    numbers: int

    def prepare(self) -> None:
        self._prepared = {name: b.double().cpu().numpy() for name, b in self.named_buffers()}

    @abstractmethod
    def fit(self, hits: Hits) -> None:
        """Fit the shape."""

    @abstractmethod
    def points(self, spots: Spots, u: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """x and y [mm] of spots, shape (m,) each, once prepared.

        Args:
            spots: their layers.
            u: random numbers, shape (m, numbers).
        """

    @abstractmethod
    def voxels(self, spots: Spots, u: NDArray[np.float32]) -> Integers:
        """Voxels of spots, as `points`, -1 beyond all voxels, shape (m,)."""


class RadialLateral(Lateral):
    """Spots of a core and a tail about the axis (GFlash, hep-ex/0001020, section 3.2).

        f(r) = p 2 r Rc^2 / (r^2 + Rc^2)^2 + (1 - p) 2 r Rt^2 / (r^2 + Rt^2)^2      (equation 11)

    both up to the outermost voxel or point. ln Rc, ln Rt and logit p are polynomials of second
    degree in tau, with coefficients that are straight lines in ln(E_inc); the paper's equations 12
    to 14 are for one detector. tau is the depth in units of the shower's mean depth, which is known
    better than that of its maximum, the unit of the paper. They are fitted by maximum likelihood
    to average profiles, seen as the voxels see them.

    Args:
        config: bins of the average profiles.
        geometry: the voxels, or the layers of the points.
        of_points: whether hits are points.

    Attributes:
        coefficients: of the three polynomials, shape (6, 3).
        scale: mean and standard deviation of ln(E_inc), shape (2,).
        reach: largest tau of the fit and largest radius [mm], shape (2,).
    """

    numbers = 3
    coefficients: Tensor
    scale: Tensor
    reach: Tensor

    def __init__(self, config: RadialShape, geometry: Geometry, *, of_points: bool) -> None:
        super().__init__()
        self.config, self.geometry, self.of_points = config, geometry, of_points
        self.register_buffer("coefficients", torch.zeros(TERMS, 3))
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("reach", torch.ones(2))

    def fit(self, hits: Hits) -> None:
        config, n_layers = self.config, self.geometry.n_layers
        log_e, tau = np.log(hits.energy_inc), _tau(hits.energies)
        radius = float(hits.radius.max()) if self.of_points else _known_radius(self.geometry)
        edges = radius * np.linspace(0, 1, config.rings + 1) ** 2
        of_tau = _weighted_quantile(tau, hits.energies / hits.energy_inc[:, None], SHOWN)
        scale, reach = (log_e.mean(), log_e.std() or 1.0), (of_tau, radius)
        self.scale.copy_(torch.tensor(scale))
        self.reach.copy_(torch.tensor(reach))
        # average profiles of each layer in bins of energy and of mean depth
        group = _groups(log_e, tau[:, 0], config.energy_bins, config.depth_bins)
        n, shape = int(group.max()) + 1, (n_layers, config.rings)
        ring = _ring(edges, hits.radius)
        place = np.ravel_multi_index((group[hits.shower], hits.layer, ring), (n, *shape))
        profiles: Any = np.bincount(place, hits.shares, n * n_layers * config.rings)
        terms = _terms(np.array(scale), of_tau, log_e, tau)
        terms = np.stack([terms[group == one].mean(0) for one in range(n)])
        start = float(np.average(hits.radius, weights=hits.shares))
        fitted = _likeliest(profiles.reshape(n, *shape), terms, edges, self._visible(edges), start)
        self.coefficients.copy_(torch.from_numpy(fitted))

    def _visible(self, edges: Floats) -> Floats:
        """Fractions of annuli that voxels with centres in other annuli have, shape (L, K, K)."""
        k = len(edges) - 1
        if self.of_points:
            return np.broadcast_to(np.eye(k), (self.geometry.n_layers, k, k))
        inside = (np.arange(RADII) + 0.5) / RADII
        r = np.sqrt(edges[:-1, None] ** 2 + inside * np.diff(edges**2)[:, None])
        phi = (np.arange(AZIMUTHS) + 0.5) * 2 * np.pi / AZIMUTHS
        r, phi = (a.ravel() for a in np.meshgrid(r.ravel(), phi, indexing="ij"))
        annulus = np.repeat(np.arange(k), RADII * AZIMUTHS)
        shares = []
        for layer in range(1 if self.geometry.is_regular else self.geometry.n_layers):
            voxel = self.geometry.find_voxels(layer, r * np.cos(phi), r * np.sin(phi))
            seen = _ring(edges, self.geometry.voxel_r[voxel]) * k + annulus
            shares.append(np.bincount(seen[voxel >= 0], minlength=k * k).reshape(k, k))
        whole = np.broadcast_to(np.stack(shares), (self.geometry.n_layers, k, k))
        return whole / (RADII * AZIMUTHS)

    def points(self, spots: Spots, u: NDArray[np.float32]) -> tuple[Floats, Floats]:
        known = self._prepared
        terms = _terms(
            known["scale"], known["reach"][0], np.log(spots.energy_inc), _tau(spots.energies)
        )
        core, tail, logit = np.moveaxis(terms @ known["coefficients"], 2, 0)
        here = spots.shower, spots.layer
        in_core = u[:, 0] * (1 + np.exp(-logit[here])) < 1
        r0 = np.exp(np.where(in_core, core[here], tail[here]))
        v = u[:, 1] / (1 + (r0 / known["reach"][1]) ** 2)
        r, phi = r0 * np.sqrt(v / (1 - v)), 2 * np.pi * u[:, 2]
        return r * np.cos(phi), r * np.sin(phi)

    def voxels(self, spots: Spots, u: NDArray[np.float32]) -> Integers:
        return self.geometry.find_voxels(spots.layer, *self.points(spots, u))


class BinnedLateral(KeepsRows, Lateral):
    """Spots in the voxels, or rings, of average showers (ATLAS, arXiv:2109.02551, section 4.3).

    The averages of a layer are taken in bins of its age, the fraction of the shower's energy before
    its middle, which stands for both the energy and the longitudinal bin of the paper.

    Args:
        config: the bins.
        geometry: the voxels, or the layers of the points.
        of_points: whether hits are points.

    Attributes:
        ages: borders of the bins in each layer, shape (L, bins - 1).
        edges: borders of the rings [mm], shape (rings + 1,).
        shapes: fractions of a layer's voxels or rings, shape (bins, n_voxels) or (bins, L * rings).
    """

    ages: Tensor
    edges: Tensor
    shapes: Tensor

    def __init__(self, config: BinnedShape, geometry: Geometry, *, of_points: bool) -> None:
        super().__init__()
        self.config, self.geometry, self.of_points = config, geometry, of_points
        self.numbers = 3 if of_points else 1
        cells = geometry.n_layers * config.rings if of_points else geometry.n_voxels
        self.register_buffer("ages", torch.zeros(geometry.n_layers, config.bins - 1))
        self.register_buffer("edges", torch.zeros(config.rings + 1 if of_points else 0))
        self.register_buffer("shapes", torch.zeros(config.bins, cells))

    def fit(self, hits: Hits) -> None:
        age, config = _ages(hits.energies), self.config
        filled = [age[e > 0, layer] for layer, e in enumerate(hits.energies.T)]
        levels = np.arange(1, config.bins) / config.bins
        ages = np.stack([np.quantile(a if len(a) else [0.5], levels) for a in filled])
        self.ages.copy_(torch.from_numpy(ages))
        if hits.voxel is None:
            first, last = np.quantile(hits.radius, [INNERMOST, 1]).clip(1e-3)
            edges = np.concatenate([[0.0], np.geomspace(first, last, config.rings)])
            self.edges.copy_(torch.from_numpy(edges))
            cell = hits.layer * config.rings + _ring(edges, hits.radius)
        else:
            cell = hits.voxel
        n_cells = self.shapes.shape[1]
        place = (
            self._bin(hits, self.ages.double().numpy())[hits.shower, hits.layer] * n_cells + cell
        )
        sums: Any = np.bincount(place, hits.shares, config.bins * n_cells).reshape(-1, n_cells)
        if hits.voxel is not None and config.images:
            images = voxel_images(self.geometry)
            sums = np.mean([sums[:, image] for image in images], axis=0)
        self.shapes.copy_(torch.from_numpy(self._normalised(sums)))

    def check_kept(self) -> None:
        """Refuse fractions that are below 0, or those of a layer that are none."""
        cells = map(self._cells, range(self.geometry.n_layers))
        filled = all(bool((self.shapes[:, c].sum(1) > 0.5).all()) for c in cells)
        if not filled or bool((self.shapes < 0).any()) or bool((self.edges.diff() < 0).any()):
            raise ValueError("the shapes of a parametrisation are impossible: train it again")

    def _normalised(self, sums: Floats) -> Floats:
        """Fractions of cells in their layer: of all ages, or of all cells, where none is known."""
        shapes = np.empty_like(sums)
        for layer in range(self.geometry.n_layers):
            cells = self._cells(layer)
            here = sums[:, cells]
            every = here.sum(0) if here.any() else np.ones(here.shape[1])
            here = np.where(here.any(1, keepdims=True), here, every)
            shapes[:, cells] = here / here.sum(1, keepdims=True)
        return shapes

    def _cells(self, layer: int) -> slice:
        if not self.of_points:
            return self.geometry.layer_slice(layer)
        return slice(layer * self.config.rings, (layer + 1) * self.config.rings)

    def _bin(self, spots: Spots, borders: Floats) -> Integers:
        """Bin of the age of each layer, shape (n, L)."""
        bins: Integers = (_ages(spots.energies)[..., None] >= borders).sum(2)
        return bins

    def prepare(self) -> None:
        """The sums of fractions over the cells of all layers, which rise by 1 a layer."""
        super().prepare()
        shapes = self._prepared["shapes"]
        rising = [
            shapes[:, self._cells(layer)].cumsum(1) for layer in range(self.geometry.n_layers)
        ]
        rising = [part / part[:, -1:] + layer for layer, part in enumerate(rising)]
        whole = np.hstack(rising) + np.arange(len(shapes))[:, None] * self.geometry.n_layers
        self._prepared["rising"] = whole.ravel()

    def voxels(self, spots: Spots, u: NDArray[np.float32]) -> Integers:
        known = self._prepared
        part = self._bin(spots, known["ages"])[spots.shower, spots.layer]
        wanted = part * self.geometry.n_layers + spots.layer + u[:, 0].astype(np.float64)
        found = np.searchsorted(known["rising"], wanted, side="right")
        cell: Integers = found - part * self.shapes.shape[1]
        return cell

    def points(self, spots: Spots, u: NDArray[np.float32]) -> tuple[Floats, Floats]:
        edges = self._prepared["edges"]
        ring = self.voxels(spots, u) - spots.layer * self.config.rings
        r = np.sqrt(edges[ring] ** 2 + u[:, 1] * (edges[ring + 1] ** 2 - edges[ring] ** 2))
        phi = 2 * np.pi * u[:, 2]
        return r * np.cos(phi), r * np.sin(phi)


def _tau(energies: Floats) -> Floats:
    """Depths of the layers in units of the mean depth of the energy, shape (n, L)."""
    depth, _ = depth_and_width(energies)
    tau: Floats = (np.arange(energies.shape[1]) + 0.5) / depth[:, None]
    return tau


def _ages(energies: Floats) -> Floats:
    """Fractions of the energy that lie before the middles of layers, shape (n, L)."""
    total = energies.sum(1, keepdims=True).clip(1e-30)
    ages: Floats = (energies.cumsum(1) - energies / 2) / total
    return ages


def _terms(scale: Floats, largest: float, log_e: Floats, tau: Floats) -> Floats:
    """What the coefficients of polynomials are multiplied with, shape (n, L, TERMS)."""
    powers = np.stack([tau**0, tau.clip(max=largest), tau.clip(max=largest) ** 2], 2)
    x = ((log_e - scale[0]) / scale[1])[:, None, None]
    return np.concatenate([powers, powers * x], 2)


def _groups(log_e: Floats, tau: Floats, n_energies: int, n_depths: int) -> Integers:
    """Numbers of groups of showers that are alike in energy and depth, shape (n,)."""
    group = np.empty(len(log_e), np.int64)
    number = 0
    for some in np.array_split(np.argsort(log_e, kind="stable"), n_energies):
        for few in np.array_split(some[np.argsort(tau[some], kind="stable")], n_depths):
            group[few] = number
            number += len(few) > 0
    return group


def _ring(edges: Floats, radius: Floats) -> Integers:
    ring: Integers = np.searchsorted(edges, radius, side="right").clip(1, len(edges) - 1) - 1
    return ring


def _known_radius(geometry: Geometry) -> float:
    """The largest radius [mm] with voxels, or up to which it is known where they are."""
    if any(isinstance(layer, SensorLayer) for layer in geometry.layers):
        edges = [
            (e[0], e[-1])
            for a in geometry.layers
            if isinstance(a, SensorLayer)
            for e in (a.x_edges, a.y_edges)
        ]
        return float(np.abs(edges).min()) * (1 - 1e-6)
    corners = [
        layer.r_edges[-1]
        if isinstance(layer, PolarLayer)
        else np.hypot(*(np.abs(edges).max() for edges in (layer.x_edges, layer.y_edges)))
        for layer in geometry.layers
    ]
    return float(max(corners))


def _weighted_quantile(values: Floats, weights: Floats, level: float) -> float:
    values, weights = values.ravel(), weights.ravel()
    order = np.argsort(values)
    rising = weights[order].cumsum()
    return float(
        values[order][np.searchsorted(rising, level * rising[-1]).clip(max=len(order) - 1)]
    )


def _likeliest(
    profiles: Floats, terms: Floats, edges: Floats, visible: Floats, start: float
) -> Floats:
    """Coefficients of the most likely ln Rc, ln Rt and logit p, shape (TERMS, 3).

    Args:
        profiles: weights of hits in the rings of each layer, shape (g, L, K).
        terms: of the polynomials, shape (g, L, TERMS).
        edges: borders of the rings [mm], shape (K + 1,).
        visible: what voxels with their centres in a ring have of each ring, shape (L, K, K).
        start: radius to begin with [mm].
    """
    seen, x, square, shares = (torch.tensor(a) for a in (profiles, terms, edges**2, visible))

    def negative_log_likelihood(flat: Floats) -> tuple[float, Floats]:
        coefficients = torch.tensor(flat.reshape(TERMS, 3), requires_grad=True)
        core, tail, logit = (x @ coefficients).unbind(2)
        p = logit.sigmoid()[..., None]
        inside = [square / (square + (2 * log).exp()[..., None]) for log in (core, tail)]
        c, t = (f.diff(dim=2) / f[..., -1:] for f in inside)
        model = torch.einsum("glk,lck->glc", p * c + (1 - p) * t, shares)
        model = model / model.sum(2, keepdim=True).clamp_min(1e-12)
        loss = -(seen * model.clamp_min(1e-12).log()).sum() / seen.sum()
        (slope,) = torch.autograd.grad(loss, coefficients)
        return float(loss.detach()), slope.numpy().ravel()

    first = np.zeros((TERMS, 3))
    first[0, :2] = np.log([start / 2, start * 2])
    with torch.enable_grad():
        found = minimize(negative_log_likelihood, first.ravel(), jac=True, method="L-BFGS-B")
    fitted: Floats = found.x.reshape(TERMS, 3)
    return fitted
