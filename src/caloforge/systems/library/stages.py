"""Banks of training showers, of which one of a similar particle is taken for each new one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Stage, Upstream
from caloforge.geometry import Geometry, voxel_images
from caloforge.showers import ShowerSource, entries_of
from caloforge.stages.images import check_images
from caloforge.systems.library.config import LibraryConfig
from caloforge.upload import upload

__all__ = ["PointBankStage", "VoxelBankStage"]

BLOCK = 10_000  # showers that are read at once
STRAIGHT = 1e-6  # sine of the angle to the axis below which no azimuth is preferred


class BankStage(KeepsRows, Stage, ABC):
    """The showers of the training sample, of which one stands for that of each new particle.

    Of the nearest training showers in log(E_inc), and in direction, one is sampled; its energies
    are scaled by the ratio of the incident ones.

    Args:
        config: of the library.
        geometry: the voxels, or the layers of the points.
    """

    learns = ("energy_inc",)
    columns: tuple[str, ...]
    energy_inc: Tensor
    offset: Tensor

    def __init__(self, config: LibraryConfig, geometry: Geometry) -> None:
        super().__init__()
        self.config, self.geometry = config, geometry
        for name in self.kept:
            self.register_buffer(name, torch.zeros(0))

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        parts = list(sample.showers.blocks(BLOCK))
        showers = parts[0] if len(parts) == 1 else type(parts[0]).concatenate(parts)
        for name in self.kept:
            values = getattr(showers, name)
            exact = values.astype(np.float32 if values.dtype.kind == "f" else np.int64)
            setattr(self, name, upload(torch.from_numpy(exact), rng.device))

    def check_kept(self) -> None:
        offset, n = self.offset, len(self.energy_inc)
        rows = {len(self.get_buffer(name)) for name in self.columns}
        ends = (int(offset[0]), int(offset[-1])) if len(offset) else None
        if len(offset) != n + 1 or n == 0 or len(rows) != 1 or ends != (0, rows.pop()):
            raise ValueError(f"a bank of {n} showers has other offsets than theirs: train it again")
        where, most = (
            ("layer", self.geometry.n_layers)
            if "layer" in self.columns
            else ("index", self.geometry.n_voxels)
        )
        place = self.get_buffer(where)
        no_numbers = place.is_floating_point() or offset.is_floating_point()
        falls = bool((offset.diff() < 0).any()) or not bool((self.energy_inc > 0).all())
        if no_numbers or falls or bool(((place < 0) | (place >= most)).any()):
            raise ValueError(f"a bank of {n} showers holds impossible ones: train it again")

    @property
    def kept(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of what is kept of the training showers."""
        return (*self.reads, "offset", *self.columns)

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of the choice among neighbours, of a rotation and of a mirror, shape (n, 3)."""
        return {"u": seeds.uniform(3)}

    def prepare(self) -> None:
        super().prepare()
        kept = {name: self.get_buffer(name).cpu().numpy() for name in self.kept}
        self._prepared = kept, cKDTree(self._place(kept))

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        if not self.is_prepared:
            self.prepare()
        kept, tree = self._prepared
        u = noise["u"].cpu().numpy()
        particles = {name: given[name].cpu().numpy() for name in self.reads}
        k = min(self.config.neighbours, tree.n)
        _, near = tree.query(self._place(particles), k=range(1, k + 1))
        number = near[np.arange(len(u)), (u[:, 0] * k).astype(int).clip(max=k - 1)]
        offset, entries = entries_of(kept["offset"], number)
        rows = {name: kept[name][entries] for name in self.columns}
        event = np.repeat(np.arange(len(number)), np.diff(offset))
        if self.config.rescale:
            ratio = particles["energy_inc"] / kept["energy_inc"][number]
            rows["energy"] = rows["energy"] * ratio[event]
        directions = {name: (kept[name][number], particles[name]) for name in self.reads[1:]}
        made = self.image(rows, event, offset, u[:, 1:], directions)
        return {name: upload(torch.from_numpy(v), noise["u"].device) for name, v in made.items()}

    def _place(self, particles: dict[str, Any]) -> NDArray[np.float64]:
        """Where particles lie among each other: log(E_inc) and the weighted angle to the axis."""
        columns = [np.log(particles["energy_inc"])]
        if "direction" in self.reads:
            angle = np.arccos(particles["direction"][:, 2].clip(-1, 1))
            columns.append(self.config.angle_weight * angle)
        return np.stack(columns, 1)

    @abstractmethod
    def image(
        self,
        rows: dict[str, NDArray[Any]],
        event: NDArray[np.int64],
        offset: NDArray[np.int64],
        u: NDArray[np.float32],
        directions: dict[str, tuple[NDArray[Any], NDArray[Any]]],
    ) -> dict[str, NDArray[Any]]:
        """What the stage writes: an image of the chosen showers under a symmetry.

        Args:
            rows: the columns of their entries.
            event: the shower of each entry.
            offset: where the entries of each shower begin.
            u: numbers from 0 to 1 that choose the symmetry, shape (n, 2).
            directions: those of the chosen showers and those wanted, where there are some.
        """


class VoxelBankStage(BankStage):
    """Showers in voxels, mapped by a random symmetry of the geometry."""

    reads = ("energy_inc",)
    writes = ("showers",)
    columns = ("index", "energy")

    def check(self, sample: ShowerSource[Any]) -> None:
        """Refuse showers with a preferred side where they would be rotated and mirrored."""
        super().check(sample)
        if self.config.images:
            check_images(sample, self.geometry, "images")

    def image(self, rows: Any, event: Any, offset: Any, u: Any, directions: Any) -> dict[str, Any]:
        voxel = rows["index"]
        if self.config.images:
            images = voxel_images(self.geometry)
            element = (u[:, 0] * len(images)).astype(int).clip(max=len(images) - 1)
            voxel = images[element[event], voxel]
        dense = np.zeros((len(u), self.geometry.n_voxels), np.float32)
        dense[event, voxel] = rows["energy"]
        return {"showers": dense}


class PointBankStage(BankStage):
    """Showers of points, rotated about the axis and mirrored at the plane of their direction.

    Along the axis any rotation is as good; inclined showers are rotated onto the new azimuth.
    """

    reads = ("energy_inc", "direction")
    writes = ("n_points", "points")
    columns = ("x", "y", "layer", "energy")

    def image(self, rows: Any, event: Any, offset: Any, u: Any, directions: Any) -> dict[str, Any]:
        before, wanted = (np.arctan2(d[:, 1], d[:, 0]) for d in directions["direction"])
        along = np.hypot(*directions["direction"][1].T[:2]) < STRAIGHT
        rotated = np.where(along & self.config.images, 2 * np.pi * u[:, 0], wanted)
        mirror = np.where(self.config.images & (u[:, 1] < 0.5), -1.0, 1.0)
        r, phi = np.hypot(rows["x"], rows["y"]), np.arctan2(rows["y"], rows["x"])
        phi = mirror[event] * (phi - before[event]) + rotated[event]
        columns = [r * np.cos(phi), r * np.sin(phi), rows["layer"], rows["energy"]]
        return {"n_points": np.diff(offset), "points": np.stack(columns, 1).astype(np.float32)}
