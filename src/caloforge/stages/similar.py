"""Layer energies of training showers of similar particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from scipy.spatial import cKDTree
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Stage, Upstream
from caloforge.geometry import Geometry
from caloforge.stages.kinds import Kinds
from caloforge.upload import upload

__all__ = ["SimilarEnergies", "SimilarEnergyStage"]


@dataclass(frozen=True)
class SimilarEnergies:
    """Layer energies of training showers of the same kind and of similar energy and angle.

    Args:
        kind: distinguishes it from a copula in a stored configuration.
        neighbours: most similar training showers, of which one is sampled.
        angle_weight: a radian of the angle to the axis counts as so much of log(E_inc).
    """

    kind: Literal["similar"] = "similar"
    neighbours: int = 8
    angle_weight: float = 3.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not self.angle_weight >= 0:
            raise ValueError(
                "expected 1 neighbour or more and an angle weight of 0 or more, got "
                f"{self.neighbours} and {self.angle_weight}"
            )


class SimilarEnergyStage(KeepsRows, Stage):
    """Energy of every layer, over the incident one that of a similar training shower.

    Args:
        config: which showers are similar.
        geometry: the voxels.

    Attributes:
        energy_inc: of the training showers [MeV], shape (n,).
        direction: unit vectors along which their particles fly, shape (n, 3).
        pdg: codes of their kinds, shape (n,).
        layer_energies: [MeV], shape (n, n_layers).
    """

    kept = ("energy_inc", "direction", "pdg", "layer_energies")
    reads = ("energy_inc", "direction")
    optional = ("pdg",)
    writes = ("layer_energies",)
    learns = kept
    energy_inc: Tensor
    direction: Tensor
    pdg: Tensor
    layer_energies: Tensor

    def __init__(self, config: SimilarEnergies, geometry: Geometry) -> None:
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
        batches = list(sample.to(rng.device).batches())
        for name in self.kept:
            setattr(self, name, torch.cat([q[name] for q in batches]))

    def check_kept(self) -> None:
        n = len(self.energy_inc)
        shapes = {"direction": (n, 3), "pdg": (n,), "layer_energies": (n, self.geometry.n_layers)}
        wrong = [name for name, shape in shapes.items() if self.get_buffer(name).shape != shape]
        if n == 0 or wrong or self.pdg.is_floating_point():
            raise ValueError(f"energies of {n} showers have other rows than theirs: train it again")
        if bool((self.energy_inc <= 0).any()) or bool((self.layer_energies < 0).any()):
            raise ValueError(f"energies of {n} showers are impossible: train it again")

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of the choice among neighbours."""
        return {"u": seeds.uniform(1)}

    def prepare(self) -> None:
        super().prepare()
        known = {name: self.get_buffer(name).cpu().numpy() for name in self.kept}
        kinds = Kinds(known["pdg"])
        tree = cKDTree(self._place(known["energy_inc"], known["direction"], known["pdg"], kinds))
        shares = known["layer_energies"] / known["energy_inc"][:, None].astype(float)
        self._prepared = kinds, tree, shares

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        if not self.is_prepared:
            self.prepare()
        kinds, tree, shares = self._prepared
        energy_inc, direction, u = (
            values.cpu().numpy() for values in (*(given[n] for n in self.reads), noise["u"][:, 0])
        )
        pdg = given.get("pdg", torch.zeros(len(u), dtype=torch.int64)).cpu().numpy()
        k = range(1, min(self.config.neighbours, tree.n) + 1)
        away, near = tree.query(self._place(energy_inc, direction, pdg, kinds), k)
        chosen = near[np.arange(len(u)), (u * kinds.same(away)).astype(int)]
        energies = shares[chosen] * energy_inc[:, None]
        # as they are read out: a layer with energy has a hit
        least = np.where(energies > 0, energies.clip(self.geometry.threshold), 0)
        made = torch.from_numpy(least.astype(np.float32))
        return {"layer_energies": upload(made, noise["u"].device)}

    def _place(
        self, energy_inc: NDArray[Any], direction: NDArray[Any], pdg: NDArray[Any], kinds: Kinds
    ) -> NDArray[np.float64]:
        """Where particles lie among each other, shape (n, 3)."""
        angle = np.arctan2(np.hypot(*direction[:, :2].T.astype(float)), direction[:, 2])
        columns = (np.log(energy_inc), self.config.angle_weight * angle, kinds.place(pdg))
        return np.stack(columns, 1, dtype=np.float64)
