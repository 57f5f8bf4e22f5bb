"""Transverse patterns of layers, taken from the training showers in the most similar state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Stage, Upstream
from caloforge.geometry import Geometry
from caloforge.showers import Particles, PointShowers, ShowerSource, VoxelShowers
from caloforge.stages import pointpatterns, voxelpatterns
from caloforge.stages.images import check_images
from caloforge.stages.patternarrays import Array, Detector, Quilt
from caloforge.stages.patternbank import PatternBank
from caloforge.stages.patternrows import (
    FITTED,
    KEPT,
    check_rows,
    layers_of,
    particles_of,
    sizes,
)
from caloforge.stages.patternstates import PatternWeights
from caloforge.stages.quilting import write_points, write_voxels
from caloforge.stages.thinning import spread
from caloforge.upload import upload

__all__ = ["PatternStage", "Patterns", "PointPatternStage", "VoxelPatternStage"]


@dataclass(frozen=True)
class Patterns:
    """Patterns of layers from a bank of training showers.

    Args:
        neighbours: layers in the most similar states, of which the one that continues the layer
            before best is taken.
        weights: of what makes up a state.
        images: rotate and mirror patterns, as far as the voxels allow.
        megabytes: that the bank may take on the disk, of showers of all energies and depths; None
            for all training showers.
    """

    neighbours: int = 16
    weights: PatternWeights = field(default_factory=PatternWeights)
    images: bool = True
    megabytes: float | None = None

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"patterns need 1 neighbour or more, got {self.neighbours}")
        if self.megabytes is not None and not self.megabytes > 0:
            raise ValueError(f"a bank takes more than 0 megabytes, got {self.megabytes}")


class PatternStage(KeepsRows, Stage, ABC):
    """What all layers hold, given their energies: real layers, one after the other.

    The pattern of a layer is that of a training shower whose layer was in a similar state (Lall and
    Sharma, Water Resources Research 32, 1996, 679), and that had before it what was chosen before
    (Efros and Freeman, SIGGRAPH 2001). See `PatternBank`.

    Args:
        config: how a pattern is chosen.
        geometry: the voxels, or the layers of the points.

    Attributes:
        places: names of the rows that say where hits lie, the first of them not the azimuth.
        energy_inc: of the training showers [MeV], shape (n,).
        direction: unit vectors along which their particles fly, shape (n, 3).
        pdg: codes of their kinds, shape (n,).
        layer_energies: [MeV], shape (n, n_layers).
        count: hits of each layer, shape (n, n_layers).
        share: code of the share of each hit of the energy of its layer, see `patternrows`, shape
            (hits,).
        least: what the code 0 stands for, shape (n_layers,).
        scales: unit of radii [mm] and the energy of bright hits [MeV], shape (2,).
        expected: what is expected of a layer, see `ExpectedPatterns.row`, shape (n_layers, 228).
        preferred: what the overlap with the layer before prefers, see `PatternBank`, shape
            (n_layers, 4).
    """

    reads = ("energy_inc", "direction", "layer_energies")
    optional = ("pdg",)
    learns = ("energy_inc",)
    places: ClassVar[tuple[str, ...]]

    def __init__(self, config: Patterns, geometry: Geometry) -> None:
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
        showers: Any = sample.showers
        if self.config.megabytes is not None:
            size = sizes(showers, self.hit_bytes)
            showers = showers[spread(showers, size, 1e6 * self.config.megabytes)]
        rows = self.rows(showers)
        rows |= self._bank(rows).fitted
        for name in self.kept:
            values = np.array(rows[name])
            setattr(self, name, upload(torch.from_numpy(values), rng.device))

    def check_kept(self) -> None:
        rows = self._rows()
        check_rows(rows, self.geometry.n_layers, self.places)
        if self.are_outside(rows):
            n = len(rows["energy_inc"])
            raise ValueError(f"a bank of {n} showers holds impossible hits: train it again")

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of a symmetry for each layer that continues none, and of the choice of the first one."""
        return {"u": seeds.uniform(self.geometry.n_layers + 1)}

    def prepare(self) -> None:
        self.eval()
        rows = self._rows()
        fitted = {name: rows[name] for name in FITTED}
        self._prepared = self._bank(rows, fitted)  # at once: other threads look at it

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        if not self.is_prepared:
            self.prepare()
        energies, incident, direction, u = (
            values.cpu().numpy()
            for values in (*(given[n] for n in ("layer_energies", *self.reads[:2])), noise["u"])
        )
        pdg = given.get("pdg", torch.zeros(len(u), dtype=torch.int32)).cpu().numpy()
        particles = Particles(incident.astype(float), direction, pdg)
        bank = self._prepared
        chosen = bank.choose(energies, particles, u)
        made = self.made(bank.quilt, energies.astype(float), particles, *chosen)
        return {name: upload(torch.from_numpy(v), noise["u"].device) for name, v in made.items()}

    def _rows(self) -> dict[str, Array]:
        return {name: self.get_buffer(name).cpu().numpy() for name in self.kept}

    def _bank(self, rows: dict[str, Array], fitted: dict[str, Array] | None = None) -> PatternBank:
        return PatternBank(
            layers_of(rows, self.places[0]),
            particles_of(rows),
            self.detector(rows),
            self.config.neighbours,
            self.config.weights,
            fitted,
        )

    @property
    @abstractmethod
    def hit_bytes(self) -> int:
        """What is kept of a hit."""

    @abstractmethod
    def rows(self, showers: Any) -> dict[str, Array]:
        """What is kept of training showers, by name."""

    @abstractmethod
    def are_outside(self, rows: dict[str, Array]) -> bool:
        """Whether there are hits where there cannot be."""

    @abstractmethod
    def detector(self, rows: dict[str, Array]) -> Detector:
        """Where hits may lie."""

    @abstractmethod
    def made(
        self,
        quilt: Quilt,
        energies: NDArray[np.float64],
        particles: Particles,
        showers: Array,
        elements: Array,
    ) -> dict[str, Array]:
        """What the stage writes.

        Args:
            quilt: the bank.
            energies: of the layers [MeV], shape (n, n_layers).
            particles: n of them.
            showers: whose layers were chosen, shape (n, n_layers).
            elements: what turns them, shape (n, n_layers).
        """


class VoxelPatternStage(PatternStage):
    """Voxels of all layers, see `PatternStage`.

    Args:
        config: how a pattern is chosen.
        geometry: the voxels.
        section: of the configuration, in which `images` is set.

    Attributes:
        voxel: number of each hit within its layer, shape (hits,).
    """

    places = ("voxel",)
    kept = (*KEPT, *places, *FITTED)
    writes = ("showers",)
    voxel: Tensor

    def __init__(self, config: Patterns, geometry: Geometry, section: str = "patterns") -> None:
        super().__init__(config, geometry)
        self.section = section

    def check(self, sample: ShowerSource[Any]) -> None:
        """Refuse showers that lean to a side which their directions do not say."""
        super().check(sample)
        if self.config.images and sample.particles.are_along_depth:
            check_images(sample, self.geometry, f"{self.section}.images")

    @property
    def hit_bytes(self) -> int:
        return voxelpatterns.hit_bytes(self.geometry)

    def rows(self, showers: VoxelShowers) -> dict[str, Array]:
        return voxelpatterns.rows(showers)

    def are_outside(self, rows: dict[str, Array]) -> bool:
        return voxelpatterns.are_outside(rows, self.geometry)

    def detector(self, rows: dict[str, Array]) -> Detector:
        return voxelpatterns.detector(self.geometry, symmetric=self.config.images)

    def made(
        self,
        quilt: Quilt,
        energies: NDArray[np.float64],
        particles: Particles,
        showers: Array,
        elements: Array,
    ) -> dict[str, Array]:
        dense: Array = np.zeros((len(energies), self.geometry.n_voxels), np.float32)
        write_voxels(quilt, energies, showers, elements, dense)
        if self.geometry.is_regular:
            dense = dense.reshape(len(dense), *self.geometry.shape)
        return {"showers": dense}


class PointPatternStage(PatternStage):
    """Points of all layers, see `PatternStage`.

    Attributes:
        pitch: unit of the radii [mm], shape (1,).
        radius: distance of each point from the axis, shape (points,).
        azimuth: of each in units of 1 / 65,536 of a turn, shape (points,).
    """

    places = ("radius", "azimuth")
    kept = (*KEPT, "pitch", *places, *FITTED)
    writes = ("n_points", "points")
    pitch: Tensor
    radius: Tensor
    azimuth: Tensor

    def check(self, sample: ShowerSource[Any]) -> None:
        """Refuse particles that fly along the layers, or back."""
        super().check(sample)
        pointpatterns.slope(sample.particles)

    @property
    def hit_bytes(self) -> int:
        return pointpatterns.HIT_BYTES

    def rows(self, showers: PointShowers) -> dict[str, Array]:
        return pointpatterns.rows(showers)

    def are_outside(self, rows: dict[str, Array]) -> bool:
        known = rows["pitch"].shape == (1,) and bool((rows["pitch"] > 0).all())
        return not known or bool((rows["radius"] < 0).any())

    def detector(self, rows: dict[str, Array]) -> Detector:
        return pointpatterns.detector(rows, self.geometry.n_layers, symmetric=self.config.images)

    def made(
        self,
        quilt: Quilt,
        energies: NDArray[np.float64],
        particles: Particles,
        showers: Array,
        elements: Array,
    ) -> dict[str, Array]:
        layers = np.arange(self.geometry.n_layers)
        counts = np.diff(quilt.bank.first).reshape(-1, len(layers))
        n_points = np.where(showers < 0, 0, counts[showers, layers]).sum(1)
        points = np.zeros((int(n_points.sum()), 4))
        write_points(quilt, energies, showers, elements, points)
        depth = np.asarray(self.geometry.z)[points[:, 2].astype(np.int64), None]
        points[:, :2] += pointpatterns.slope(particles).repeat(n_points, 0) * depth
        return {"n_points": n_points, "points": points.astype(np.float32)}
