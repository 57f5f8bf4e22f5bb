"""What the Shower Flow samples: points and energy of layers, as numbers without gaps."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from caloforge.cascade.quantities import Quantities

__all__ = ["LayerTotals", "PlainTotals", "RelativeTotals", "Totals"]


class Totals(ABC):
    """Numbers that say how many points a shower has in each layer, and how much energy.

    They are made of quantities in units of what the training sample has at most: `energy_inc` (n,),
    `n_points` (n,), `layer_counts` (n, L), `visible_energy` (n,) and `layer_energies` (n, L), the
    latter in units of the visible energy's. Counts come with noise, uniform between 0 and 1 before
    they are scaled, so that they have a density.

    Args:
        n_layers: number L of layers.

    Attributes:
        writes: the quantities that they stand for.
    """

    writes: tuple[str, ...] = ("layer_counts", "visible_energy")

    def __init__(self, n_layers: int) -> None:
        self.n_layers = n_layers

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers of a shower."""

    @abstractmethod
    def forward(self, scaled: Quantities, rng: torch.Generator) -> Tensor:
        """The numbers, shape (n, size).

        Args:
            scaled: quantities in units of their largest.
            rng: of what stands for energies of empty layers.
        """

    @abstractmethod
    def inverse(self, totals: Tensor, incident: Tensor) -> Quantities:
        """The quantities of `writes`, scaled; all points are those of the layers."""


class PlainTotals(Totals):
    """N, E_sum and N_z,i for each layer i (CaloClouds, section 3.3)."""

    @property
    def size(self) -> int:
        return 2 + self.n_layers

    def forward(self, scaled: Quantities, rng: torch.Generator) -> Tensor:
        n, visible = scaled["n_points"], scaled["visible_energy"]
        return torch.cat([n[:, None], visible[:, None], scaled["layer_counts"]], 1)

    def inverse(self, totals: Tensor, incident: Tensor) -> Quantities:
        return {"layer_counts": totals[:, 2:], "visible_energy": totals[:, 1]}


class RelativeTotals(Totals):
    """log(E_sum / N) and the root of N_z,i / E for each layer i.

    The root of a count fluctuates as much where there are few points as where there are many, and
    N, which the counts fix, is left out. A shower without energy has the mean of the others.
    """

    @property
    def size(self) -> int:
        return 1 + self.n_layers

    def forward(self, scaled: Quantities, rng: torch.Generator) -> Tensor:
        counts = scaled["layer_counts"]
        mean = _log_means(scaled["visible_energy"], counts.sum(1))
        return torch.cat([mean[:, None], _roots(counts, scaled["energy_inc"])], 1)

    def inverse(self, totals: Tensor, incident: Tensor) -> Quantities:
        counts = _squares(totals[:, 1:], incident)
        return {"layer_counts": counts, "visible_energy": totals[:, 0].exp() * counts.sum(1)}


class LayerTotals(Totals):
    """The root of N_z,i / E and log(E_z,i / N_z,i) for each layer i, of energy E_z,i.

    The points of a layer, sampled each on its own, have a mean energy that fluctuates less, or
    more, than Geant4's, and never together with that of the next layer. Layers without energy have
    the mean of all points of the shower, with Gaussian noise; a shower without energy has the mean
    of the others.
    """

    writes = ("layer_counts", "visible_energy", "layer_energies")

    @property
    def size(self) -> int:
        return 2 * self.n_layers

    def forward(self, scaled: Quantities, rng: torch.Generator) -> Tensor:
        counts, energies = scaled["layer_counts"], scaled["layer_energies"]
        noise = torch.randn(
            energies.shape, generator=rng, device=energies.device, dtype=energies.dtype
        )
        mean = _log_means(energies.sum(1), counts.sum(1))[:, None]
        means = torch.where(energies > 0, (energies / counts).log(), mean + noise)
        return torch.cat([_roots(counts, scaled["energy_inc"]), means], 1)

    def inverse(self, totals: Tensor, incident: Tensor) -> Quantities:
        roots, means = totals.split(self.n_layers, 1)
        counts = _squares(roots, incident)
        energies = means.exp() * counts
        found = {"layer_counts": counts, "visible_energy": energies.sum(1)}
        return {**found, "layer_energies": energies}


def _log_means(energies: Tensor, counts: Tensor) -> Tensor:
    """Logarithm of the mean energy of a point, shape (n,).

    Showers without energy have the mean of the others: no points are sampled for theirs, so that it
    only has to be a number like all.
    """
    full = energies > 0
    means = torch.where(full, (energies / counts).log(), 0.0)
    others = means.sum() / full.sum().clamp_min(1)
    return torch.where(full, means, others)


def _roots(counts: Tensor, incident: Tensor) -> Tensor:
    return (counts / incident[:, None]).sqrt()


def _squares(roots: Tensor, incident: Tensor) -> Tensor:
    return roots.clamp_min(0).square() * incident[:, None]
