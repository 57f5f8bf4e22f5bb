"""Transverse patterns of layers, taken from the training showers in the most similar state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
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
from caloforge.showers import Particles, ShowerSource, VoxelShowers
from caloforge.stages.images import check_images
from caloforge.stages.patternbank import LayerPatterns, PatternBank
from caloforge.stages.patternstates import PatternWeights
from caloforge.stages.voxelpatterns import VoxelPatterns
from caloforge.upload import upload

__all__ = ["PatternStage", "Patterns", "VoxelPatternStage"]

LENGTH = 1e-3  # by which that of a unit vector may differ from 1


@dataclass(frozen=True)
class Patterns:
    """Patterns of layers from a bank of training showers.

    Args:
        neighbours: layers in the most similar states, of which the one that continues the layer
            before best is taken.
        weights: of what makes up a state.
        images: rotate and mirror patterns, as far as the voxels allow.
    """

    neighbours: int = 16
    weights: PatternWeights = field(default_factory=PatternWeights)
    images: bool = True

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"patterns need 1 neighbour or more, got {self.neighbours}")


class PatternStage(KeepsRows, Stage, ABC):
    """What all layers hold, given their energies: real layers, one after the other.

    The pattern of a layer is that of a training shower whose layer was in a similar state (Lall and
    Sharma, Water Resources Research 32, 1996, 679), and that had before it what was chosen before
    (Efros and Freeman, SIGGRAPH 2001). See `PatternBank`.

    Args:
        config: how a pattern is chosen.
        geometry: the voxels, or the layers of the points.

    Attributes:
        entries: names of the columns of hits, of which `root` is one.
        energy_inc: of the training showers [MeV], shape (n,).
        direction: unit vectors along which their particles fly, shape (n, 3).
        pdg: codes of their kinds, shape (n,).
        layer_energies: [MeV], shape (n, n_layers).
        offset: first hit of each layer of each shower and, last, their number, shape
            (n n_layers + 1,).
        root: root of the share of each hit of the energy of its layer, in half precision, shape
            (hits,).
        preferred: what the overlap with the layer before prefers, see `PatternBank`, shape
            (n_layers, 4).
    """

    reads = ("energy_inc", "direction", "layer_energies")
    optional = ("pdg",)
    learns = ("energy_inc",)
    entries: ClassVar[tuple[str, ...]]
    energy_inc: Tensor
    direction: Tensor
    pdg: Tensor
    layer_energies: Tensor
    offset: Tensor
    root: Tensor
    preferred: Tensor

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
        showers = sample.showers
        rows = {
            "energy_inc": showers.energy_inc.astype(np.float32),
            "direction": showers.direction.astype(np.float32),
            "pdg": showers.pdg,
            "layer_energies": showers.layer_energies().astype(np.float32),
            **self.rows(showers),
        }
        rows["preferred"] = self._bank(rows).preferred
        for name in self.kept:
            values = np.array(rows[name])
            setattr(self, name, upload(torch.from_numpy(values), rng.device))

    def check_kept(self) -> None:
        n, layers, hits = len(self.energy_inc), self.geometry.n_layers, len(self.root)
        shapes = {
            "direction": (n, 3),
            "pdg": (n,),
            "layer_energies": (n, layers),
            "offset": (n * layers + 1,),
            "preferred": (layers, 4),
            **dict.fromkeys(self.entries, (hits,)),
        }
        wrong = [name for name, shape in shapes.items() if self.get_buffer(name).shape != shape]
        whole = ("pdg", "offset", *(name for name in self.entries if name != "root"))
        floats = any(self.get_buffer(name).is_floating_point() for name in whole)
        if n == 0 or wrong or floats:
            raise ValueError(f"a bank of {n} showers has other rows than theirs: train it again")
        counts = self.offset.diff()
        ends = (int(self.offset[0]), int(self.offset[-1])) != (0, hits)
        if ends or bool((counts < 0).any()):
            raise ValueError(f"a bank of {n} showers has other offsets than theirs: train it again")
        amounts = (self.energy_inc, self.root)
        unlike = (counts > 0) != (self.layer_energies.flatten() > 0)
        lengths = bool(((self.direction.norm(dim=1) - 1).abs() > LENGTH).any())
        impossible = lengths or bool(unlike.any()) or any(bool((a <= 0).any()) for a in amounts)
        if impossible or self.is_outside(counts):
            raise ValueError(f"a bank of {n} showers holds impossible ones: train it again")

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of a symmetry for each layer that continues none, and of the choice of the first one."""
        return {"u": seeds.uniform(self.geometry.n_layers + 1)}

    def prepare(self) -> None:
        super().prepare()
        self._prepared = self._bank(
            {name: self.get_buffer(name).cpu().numpy() for name in self.kept}
        )

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
        layers = self._prepared.sample(energies, particles, u)
        made = self.made(layers, particles)
        return {name: upload(torch.from_numpy(v), noise["u"].device) for name, v in made.items()}

    def _bank(self, rows: dict[str, NDArray[Any]]) -> PatternBank:
        config = self.config
        particles = Particles(rows["energy_inc"], rows["direction"], rows["pdg"])
        return PatternBank(
            self.patterns(rows),
            particles,
            config.neighbours,
            config.weights,
            rows.get("preferred"),
        )

    @abstractmethod
    def rows(self, showers: Any) -> dict[str, NDArray[Any]]:
        """What is kept of the hits of training showers, and `offset`."""

    @abstractmethod
    def is_outside(self, counts: Tensor) -> bool:
        """Whether there are hits where there cannot be.

        Args:
            counts: of hits in each layer of each shower, shape (n n_layers,).
        """

    @abstractmethod
    def patterns(self, rows: dict[str, NDArray[Any]]) -> LayerPatterns:
        """The layers of training showers.

        Args:
            rows: what is kept, by name.
        """

    @abstractmethod
    def made(self, layers: Iterable[Any], particles: Particles) -> dict[str, NDArray[Any]]:
        """What the stage writes.

        Args:
            layers: hits of one layer after the other, see `LayerPatterns`.
            particles: one of each shower.
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

    entries = ("voxel", "root")
    kept = (
        *("energy_inc", "direction", "pdg", "layer_energies", "offset"),
        *("voxel", "root", "preferred"),
    )
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

    def rows(self, showers: VoxelShowers) -> dict[str, NDArray[Any]]:
        return _rows(showers)

    def is_outside(self, counts: Tensor) -> bool:
        sizes = torch.as_tensor(np.diff(self.geometry.offsets), device=self.voxel.device)
        most = sizes.repeat(len(self.energy_inc)).repeat_interleave(counts)
        return bool(((self.voxel < 0) | (self.voxel >= most)).any())

    def patterns(self, rows: dict[str, NDArray[Any]]) -> VoxelPatterns:
        return VoxelPatterns(rows, self.geometry, symmetric=self.config.images)

    def made(self, layers: Iterable[Any], particles: Particles) -> dict[str, NDArray[Any]]:
        n = len(particles)
        dense: NDArray[Any] = np.zeros((n, self.geometry.n_voxels), np.float32)
        for start, hits in zip(self.geometry.offsets, layers, strict=False):
            dense[hits.event, start + hits.voxel] = hits.energy
        if self.geometry.is_regular:
            dense = dense.reshape(n, *self.geometry.shape)
        return {"showers": dense}


def _rows(showers: VoxelShowers) -> dict[str, NDArray[Any]]:
    """What is kept of the hits of training showers."""
    geometry = showers.geometry
    layer = geometry.voxel_layer[showers.index]
    cell = showers.event() * geometry.n_layers + layer
    n_cells = len(showers) * geometry.n_layers
    energies = showers.layer_energies()
    local = showers.index - geometry.offsets[layer]
    small = np.int16 if np.diff(geometry.offsets).max() < 1 << 15 else np.int32
    share = showers.energy / energies.reshape(-1)[cell]
    return {
        "offset": np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=n_cells))]),
        "voxel": local.astype(small),
        "root": np.sqrt(share).astype(np.float16).clip(np.finfo(np.float16).tiny),
    }
