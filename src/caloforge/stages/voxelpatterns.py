"""Patterns of layers of training showers in voxels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caloforge.geometry import Geometry
from caloforge.showers import entries_of
from caloforge.showers.ragged import sums
from caloforge.stages.layermoments import Moments
from caloforge.stages.turning import VoxelTurning

__all__ = ["VoxelHits", "VoxelPatterns"]

FAINT = 0.2  # share of the hits of all showers that hold less than the energy that divides them
MOST = 0.5  # by which a bright hit may fall, in parts of it
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class VoxelHits(NamedTuple):
    """Hits of one layer in some showers.

    Attributes:
        event: number of the shower, shape (hits,).
        voxel: number within the layer, shape (hits,).
        energy: [MeV], shape (hits,).
    """

    event: Integers
    voxel: NDArray[Any]
    energy: NDArray[Any]


class VoxelPatterns:
    """Layers of training showers, turned by symmetries of the voxels and scaled.

    Args:
        rows: what a `PatternStage` keeps, by name.
        geometry: the voxels.
        symmetric: whether patterns are turned.

    Attributes:
        turning: the symmetries.
        layer_energies: of the showers [MeV], shape (n, n_layers).
    """

    def __init__(
        self, rows: dict[str, NDArray[Any]], geometry: Geometry, *, symmetric: bool
    ) -> None:
        self.turning = VoxelTurning(geometry, symmetric)
        self.threshold = float(np.float32(geometry.threshold))  # as energies are compared with it
        self.layer_energies: NDArray[Any] = rows["layer_energies"]
        self._offset, self._voxel = rows["offset"], rows["voxel"]
        self._roots = rows["root"].astype(np.float32)
        self.bright = self._bright()

    def _bright(self) -> float:
        """Energy that divides hits of few particles from those of many [MeV].

        A fifth of all hits is fainter. That is above the most frequent energy of one particle.
        """
        counts = np.diff(self._offset)
        own = np.repeat(self.layer_energies.ravel(), counts)
        energies = self._roots**2 * own
        return float(np.quantile(energies, FAINT)) if len(energies) else 1.0

    def layer(self, layer: int, showers: Integers) -> VoxelHits:
        """Hits of a layer as the training showers have them.

        Args:
            layer: its number.
            showers: numbers of training showers, shape (n,).
        """
        offset, hits = self._hits(showers, layer)
        event = np.repeat(np.arange(len(showers)), np.diff(offset))
        own = self.layer_energies[showers, layer].astype(float)
        return VoxelHits(
            event, self._voxel[hits], _scaled(self._roots[hits].astype(float) ** 2, event, own)
        )

    def turned(self, layer: int, showers: Integers, element: Integers, wanted: Floats) -> VoxelHits:
        """Hits of a layer, turned and with other energies.

        Args:
            layer: its number.
            showers: numbers of training showers, shape (n,).
            element: symmetry by which each is turned, shape (n,).
            wanted: energies of the layer [MeV], shape (n,).
        """
        event, voxel, energy = self.layer(layer, showers)
        voxel = self.turning.images[layer][element[event], voxel]
        energy = _scaled_bright(energy, event, wanted, self.bright)
        kept = energy >= self.threshold
        if not kept.all():
            bare = sums(event, kept.astype(float), len(wanted)) == 0
            largest = _largest(energy, event)
            kept[largest[bare[event[largest]]]] = True  # a layer with energy has a hit
            event, voxel = event[kept], voxel[kept]
            energy = _scaled(energy[kept], event, wanted)
        return VoxelHits(event, voxel, energy.astype(np.float32))

    def moments(self, layer: int, n: int, hits: VoxelHits) -> Moments:
        """Of n showers with these hits in a layer."""
        x, y, r = (
            places[layer][hits.voxel] for places in (self.turning.x, self.turning.y, self.turning.r)
        )
        return Moments.of(n, hits.event, hits.energy.astype(float), x, y, r)

    def seam(self, layer: int, n: int, hits: VoxelHits) -> NDArray[np.float32]:
        """Roots of the shares of a layer's voxels in n showers, shape (n, voxels)."""
        total = sums(hits.event, hits.energy.astype(float), n)
        roots = np.zeros((n, self.turning.images[layer].shape[1]), np.float32)
        roots[hits.event, hits.voxel] = np.sqrt(hits.energy / total[hits.event])
        return roots

    def overlap(
        self, layer: int, candidates: Integers, element: Integers, seam: NDArray[np.float32]
    ) -> Floats:
        """sum_v sqrt(p_v q_v), shape (n, candidates).

        Args:
            layer: its number.
            candidates: numbers of training showers, shape (n, candidates).
            element: symmetry by which each is turned, shape (n, candidates).
            seam: of the layer as it was chosen, see `seam`.
        """
        n, k = candidates.shape
        offset, hits = self._hits(candidates.ravel(), layer)
        pair = np.repeat(np.arange(n * k), np.diff(offset))
        images = self.turning.images[layer]
        place = images.ravel()[(element.ravel() * images.shape[1])[pair] + self._voxel[hits]]
        there = seam.ravel()[(pair // k) * seam.shape[1] + place]
        return sums(pair, there * self._roots[hits], n * k).reshape(n, k)

    def _hits(self, showers: Integers, layer: int) -> tuple[Integers, Integers]:
        return entries_of(self._offset, showers * self.layer_energies.shape[1] + layer)


def _scaled(energy: Floats, event: Integers, wanted: Floats) -> Floats:
    """Hits scaled so that those of each shower have the wanted sum."""
    total = sums(event, energy, len(wanted))
    factor = np.divide(wanted, total, out=np.zeros_like(wanted), where=total > 0)
    return energy * factor[event]


def _scaled_bright(energy: Floats, event: Integers, wanted: Floats, bright: float) -> Floats:
    """The same, of hits brighter than others: those of single particles keep their energy.

    A hit e becomes e (1 + a e^2 / (e^2 + bright^2)). Layers whose brightest hits would lose more
    than half by that are scaled as a whole, and so are those that would gain too much.
    """
    gained = energy**3 / (energy**2 + bright**2)
    lacking, most = wanted - sums(event, energy, len(wanted)), sums(event, gained, len(wanted))
    factor = np.divide(lacking, most, out=np.zeros_like(wanted), where=most > 0)
    some = (factor > -MOST) & (factor < 1 / MOST)
    return np.where(some[event], energy + factor[event] * gained, _scaled(energy, event, wanted))


def _largest(energy: Floats, event: Integers) -> Integers:
    """The largest hit of each shower that has any."""
    order = np.lexsort((energy, event))
    last = np.append(np.diff(event[order]) > 0, True)
    return np.asarray(order[last])
