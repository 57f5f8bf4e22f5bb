"""Transverse patterns of layers, taken from the training showers in the most similar state."""

from __future__ import annotations

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
from caloforge.showers import ShowerSource, VoxelShowers
from caloforge.stages.images import check_images
from caloforge.stages.patternbank import PatternBank
from caloforge.stages.patternstates import PatternWeights
from caloforge.stages.voxelpatterns import VoxelPatterns
from caloforge.upload import upload

__all__ = ["PatternStage", "Patterns"]


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


class PatternStage(KeepsRows, Stage):
    """Voxels of all layers, given their energies: real layers, one after the other.

    The pattern of a layer is that of a training shower whose layer was in a similar state (Lall and
    Sharma, Water Resources Research 32, 1996, 679), and that had before it what was chosen before
    (Efros and Freeman, SIGGRAPH 2001). See `PatternBank`.

    Args:
        config: how a pattern is chosen.
        geometry: the voxels.
        section: of the configuration, in which `images` is set.

    Attributes:
        energy_inc: of the training showers [MeV], shape (n,).
        layer_energies: [MeV], shape (n, n_layers).
        offset: first hit of each layer of each shower and, last, their number, shape
            (n n_layers + 1,).
        voxel: number of each hit within its layer, shape (hits,).
        root: root of its share of the energy of its layer, in half precision, shape (hits,).
        preferred: what the overlap with the layer before prefers, see `PatternBank`, shape
            (n_layers, 4).
    """

    kept = ("energy_inc", "layer_energies", "offset", "voxel", "root", "preferred")
    reads = ("energy_inc", "layer_energies")
    writes = ("showers",)
    learns = ("energy_inc",)
    energy_inc: Tensor
    layer_energies: Tensor
    offset: Tensor
    voxel: Tensor
    root: Tensor
    preferred: Tensor

    def __init__(self, config: Patterns, geometry: Geometry, section: str = "patterns") -> None:
        super().__init__()
        self.config, self.geometry, self.section = config, geometry, section
        for name in self.kept:
            self.register_buffer(name, torch.zeros(0))

    def check(self, sample: ShowerSource[Any]) -> None:
        super().check(sample)
        if self.config.images:
            check_images(sample, self.geometry, f"{self.section}.images")

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        showers = sample.showers
        assert isinstance(showers, VoxelShowers)
        rows = _rows(showers)
        rows["preferred"] = self._bank(rows).preferred
        for name in self.kept:
            values = np.ascontiguousarray(rows[name])
            setattr(self, name, upload(torch.from_numpy(values), rng.device))

    def check_kept(self) -> None:
        n, layers = len(self.energy_inc), self.geometry.n_layers
        shapes = {
            "layer_energies": (n, layers),
            "offset": (n * layers + 1,),
            "root": tuple(self.voxel.shape),
            "preferred": (layers, 4),
        }
        wrong = [name for name, shape in shapes.items() if self.get_buffer(name).shape != shape]
        if n == 0 or wrong or self.offset.is_floating_point() or self.voxel.is_floating_point():
            raise ValueError(f"a bank of {n} showers has other rows than theirs: train it again")
        counts = self.offset.diff()
        sizes = torch.as_tensor(np.diff(self.geometry.offsets), device=self.voxel.device)
        ends = (int(self.offset[0]), int(self.offset[-1])) != (0, len(self.voxel))
        if ends or bool((counts < 0).any()):
            raise ValueError(f"a bank of {n} showers has other offsets than theirs: train it again")
        most = sizes.repeat(n).repeat_interleave(counts)
        outside = bool(((self.voxel < 0) | (self.voxel >= most)).any())
        amounts = (self.energy_inc, self.root)
        unlike = (counts > 0) != (self.layer_energies.flatten() > 0)
        if outside or bool(unlike.any()) or any(bool((one <= 0).any()) for one in amounts):
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
        energies, incident, u = (
            values.cpu().numpy()
            for values in (given["layer_energies"], given["energy_inc"], noise["u"])
        )
        dense: NDArray[Any] = np.zeros((len(energies), self.geometry.n_voxels), np.float32)
        layers = self._prepared.sample(energies, incident, u)
        for start, hits in zip(self.geometry.offsets, layers, strict=False):
            dense[hits.event, start + hits.voxel] = hits.energy
        if self.geometry.is_regular:
            dense = dense.reshape(len(dense), *self.geometry.shape)
        return {"showers": upload(torch.from_numpy(dense), noise["u"].device)}

    def _bank(self, rows: dict[str, NDArray[Any]]) -> PatternBank:
        config = self.config
        patterns = VoxelPatterns(rows, self.geometry, symmetric=config.images)
        return PatternBank(
            patterns, rows["energy_inc"], config.neighbours, config.weights, rows.get("preferred")
        )


def _rows(showers: VoxelShowers) -> dict[str, NDArray[Any]]:
    """What is kept of training showers, without what is fitted."""
    geometry = showers.geometry
    layer = geometry.voxel_layer[showers.index]
    cell = showers.event() * geometry.n_layers + layer
    n_cells = len(showers) * geometry.n_layers
    energies = showers.layer_energies()
    local = showers.index - geometry.offsets[layer]
    small = np.int16 if np.diff(geometry.offsets).max() < 1 << 15 else np.int32
    share = showers.energy / energies.reshape(-1)[cell]
    return {
        "energy_inc": showers.energy_inc.astype(np.float32),
        "layer_energies": energies.astype(np.float32),
        "offset": np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=n_cells))]),
        "voxel": local.astype(small),
        "root": np.sqrt(share).astype(np.float16).clip(np.finfo(np.float16).tiny),
    }
