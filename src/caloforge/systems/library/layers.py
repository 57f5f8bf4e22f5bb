"""Layers of different training showers, each after what came before it in the new shower."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Upstream
from caloforge.geometry import Geometry, voxel_images
from caloforge.showers import entries_of
from caloforge.systems.library.config import LibraryConfig, Recombination
from caloforge.systems.library.stages import STRAIGHT, BankStage, PointBankStage, VoxelBankStage
from caloforge.upload import upload

__all__ = ["PointLayersStage", "VoxelLayersStage"]

SMALLEST = 1e-4  # of the incident energy: layers with less are alike
NARROWEST = 0.05  # of the detector's width: layers of smaller mean radius are alike
Floats = NDArray[np.float64]
Directions = dict[str, tuple[NDArray[Any], NDArray[Any]]]


class LayersStage(BankStage):
    """Showers of which each layer is that of a training shower with similar layers before it.

    Layer after layer, one of the nearest training showers is sampled, in log(E_inc) and direction,
    energy and mean radius of the layer before, and energy and mean depth of all layers before;
    energies are in units of the incident one. Its layer is scaled by the ratio of the incident
    energies, and rotated or mirrored so that the layer before it leans to the side of the new
    shower's. This is the nearest-neighbour bootstrap of Lall and Sharma (Water Resources Research
    32, 1996, 679).

    Args:
        config: of the library.
        geometry: the voxels, or the layers of the points.
    """

    def __init__(self, config: LibraryConfig, geometry: Geometry) -> None:
        super().__init__(config, geometry)
        self.weights = config.layers or Recombination()

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of the choice among neighbours and of a mirror, for each layer, shape (n, 2, L)."""
        return {"u": seeds.uniform(2, self.geometry.n_layers)}

    def prepare(self) -> None:
        super().prepare()
        kept, n_layers = self._prepared[0], self.geometry.n_layers
        n, (x, y, radius, layer) = len(kept["energy_inc"]), self.places(kept)
        piece = np.repeat(np.arange(n), np.diff(kept["offset"])) * n_layers + layer
        order = np.argsort(piece, kind="stable")
        rows = {name: kept[name][order] for name in self.columns}
        offset = np.concatenate([[0], np.cumsum(np.bincount(piece, minlength=n * n_layers))])

        def summed(weight: Any) -> Floats:
            sums: Any = np.bincount(piece, kept["energy"] * weight, n * n_layers)
            whole: Floats = sums.reshape(n, n_layers)
            return whole

        energy = summed(np.ones(len(piece)))
        total = np.where(energy > 0, energy, 1)
        mean = np.stack([summed(w) / total for w in (radius, x, y)], 2)
        shares = energy / kept["energy_inc"][:, None]
        width = NARROWEST * float(radius.max(initial=1e-3))
        near = self._place(kept) * self.weights.incident
        so_far = np.cumsum(shares, 1)
        depth = np.cumsum(shares * np.arange(n_layers), 1) / so_far.clip(SMALLEST)
        trees = [cKDTree(near)]
        for before in range(n_layers - 1):
            known = shares[:, before], so_far[:, before], depth[:, before], mean[:, before, 0]
            trees.append(cKDTree(self._state(near, *known, width)))
        self._prepared = kept, rows, offset, shares, mean, width, trees

    def _state(
        self,
        near: Floats,
        share: Floats,
        so_far: Floats,
        depth: Floats,
        radius: Floats,
        width: float,
    ) -> Floats:
        """Where showers lie among each other before a layer, shape (n, features)."""
        weights = self.weights
        columns = [
            weights.before * np.log(share + SMALLEST),
            weights.so_far * so_far,
            weights.depth * depth,
            weights.radius * np.log(radius + width),
        ]
        return np.concatenate([near, np.stack(columns, 1)], 1)

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        if not self.is_prepared:
            self.prepare()
        kept, rows, offset, shares, mean, width, trees = self._prepared
        u = noise["u"].cpu().numpy()
        particles = {name: given[name].cpu().numpy() for name in self.reads}
        n, n_layers = len(u), self.geometry.n_layers
        near = self._place(particles) * self.weights.incident
        state, so_far, moment, centre = near, np.zeros(n), np.zeros(n), np.zeros((n, 2))
        chain: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = []
        for layer, tree in enumerate(trees):
            k = min(self.config.neighbours, tree.n)
            _, found = tree.query(state, k=range(1, k + 1))
            number = found[np.arange(n), (u[:, 0, layer] * k).astype(int).clip(max=k - 1)]
            own = mean[number, layer - 1, 1:] if layer else centre
            directions = {name: (kept[name][number], particles[name]) for name in self.reads[1:]}
            image, matrix = self.move(own, centre, u[:, 1, layer], directions)
            chain.append((number, image, matrix))
            share, (radius, *lean) = shares[number, layer], mean[number, layer].T
            centre = np.einsum("nij,jn->ni", matrix, lean)
            so_far, moment = so_far + share, moment + layer * share
            depth = moment / so_far.clip(SMALLEST)
            state = self._state(near, share, so_far, depth, radius, width)
        number, image, matrix = (np.stack(column, 1) for column in zip(*chain, strict=True))
        offset, entries = entries_of(offset, (number * n_layers + np.arange(n_layers)).ravel())
        chosen = {name: values[entries] for name, values in rows.items()}
        piece = np.repeat(np.arange(number.size), np.diff(offset))
        if self.config.rescale:
            ratio = particles["energy_inc"][:, None] / kept["energy_inc"][number]
            chosen["energy"] = chosen["energy"] * ratio.ravel()[piece]
        made = self.moved(chosen, piece, image.ravel(), matrix)
        return {name: upload(torch.from_numpy(v), noise["u"].device) for name, v in made.items()}

    @abstractmethod
    def places(self, kept: dict[str, Any]) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """x, y and radius [mm] and layer of what is kept, shape (m,) each."""

    @abstractmethod
    def move(
        self, own: Floats, centre: Floats, u: NDArray[np.float32], directions: Directions
    ) -> tuple[NDArray[np.int64], Floats]:
        """Symmetries by which layers lean as the new showers do.

        Args:
            own: centres of the layers before those that were chosen [mm], shape (n, 2).
            centre: those of the new showers [mm], shape (n, 2).
            u: numbers from 0 to 1, shape (n,).
            directions: of chosen and of new showers, where there are some.

        Returns:
            Their numbers, shape (n,), and their matrices, shape (n, 2, 2).
        """

    @abstractmethod
    def moved(
        self,
        rows: dict[str, NDArray[Any]],
        piece: NDArray[np.int64],
        image: NDArray[np.int64],
        matrix: Floats,
    ) -> dict[str, NDArray[Any]]:
        """What the stage writes.

        Args:
            rows: the columns of all entries.
            piece: the layer of each, counted through all showers, shape (m,).
            image: numbers of the symmetries of the layers, shape (n * L,).
            matrix: their matrices, shape (n, L, 2, 2).
        """


class VoxelLayersStage(LayersStage, VoxelBankStage):
    """Layers of voxels, mapped by the symmetries of the geometry."""

    def places(self, kept: dict[str, Any]) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        geometry, index = self.geometry, kept["index"]
        leans = (voxel_images(geometry) != np.arange(geometry.n_voxels)).any(
            0
        )  # unlike whole rings
        x, y = geometry.voxel_x * leans, geometry.voxel_y * leans
        return x[index], y[index], geometry.voxel_r[index], geometry.voxel_layer[index]

    def move(self, own: Any, centre: Any, u: Any, directions: Any) -> Any:
        matrices = _matrices(self.geometry) if self.config.images else np.eye(2)[None]
        aligned = np.einsum("ni,kij,nj->nk", centre, matrices, own)
        chance = (u * len(matrices)).astype(int).clip(max=len(matrices) - 1)
        image = np.where(aligned.any(1), aligned.argmax(1), chance)
        return image, matrices[image]

    def moved(self, rows: Any, piece: Any, image: Any, matrix: Any) -> dict[str, Any]:
        n, n_layers = matrix.shape[:2]
        voxel = voxel_images(self.geometry)[image[piece], rows["index"]]
        place = piece // n_layers * self.geometry.n_voxels + voxel
        dense = np.bincount(place, rows["energy"], n * self.geometry.n_voxels)
        return {"showers": dense.reshape(n, -1).astype(np.float32)}


@lru_cache(maxsize=8)
def _matrices(geometry: Geometry) -> Floats:
    """The rotations and reflections that `voxel_images` are, shape (n_symmetries, 2, 2)."""
    centres, images = np.stack([geometry.voxel_x, geometry.voxel_y], 1), voxel_images(geometry)
    moves = (images != images[0]).any(0)
    covariances = np.stack([centres[image][moves].T @ centres[moves] for image in images])
    left, _, right = np.linalg.svd(covariances)
    matrices: Floats = left @ right
    return matrices


class PointLayersStage(LayersStage, PointBankStage):
    """Layers of points, rotated and mirrored; those of inclined particles at their plane alone."""

    def places(self, kept: dict[str, Any]) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        return kept["x"], kept["y"], np.hypot(kept["x"], kept["y"]), kept["layer"]

    def move(self, own: Any, centre: Any, u: Any, directions: Any) -> Any:
        before, wanted = (np.arctan2(d[:, 1], d[:, 0]) for d in directions["direction"])
        along = np.hypot(*directions["direction"][1].T[:2]) < STRAIGHT
        mirror = np.where(self.config.images & (u < 0.5), -1.0, 1.0)
        lean_own, lean = (np.arctan2(c[:, 1], c[:, 0]) for c in (own, centre))
        empty = ~(own.any(1) & centre.any(1))
        rotated = np.where(empty, 4 * np.pi * u, lean - mirror * lean_own)
        angle = np.where(along & self.config.images, rotated, wanted - mirror * before)
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = np.stack([np.stack([cos, -mirror * sin], 1), np.stack([sin, mirror * cos], 1)], 1)
        return np.zeros(len(u), np.int64), matrix

    def moved(self, rows: Any, piece: Any, image: Any, matrix: Any) -> dict[str, Any]:
        n, n_layers = matrix.shape[:2]
        of_entry = matrix.reshape(-1, 2, 2)[piece]
        place = np.einsum("mij,jm->im", of_entry, np.stack([rows["x"], rows["y"]]))
        points = np.stack([*place, rows["layer"], rows["energy"]], 1).astype(np.float32)
        return {"n_points": np.bincount(piece // n_layers, minlength=n), "points": points}
