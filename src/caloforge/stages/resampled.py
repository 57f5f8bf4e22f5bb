"""Scores of layer energies taken from training showers, and smoothed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Upstream
from caloforge.geometry import Geometry
from caloforge.stages.scores import Copula, CopulaStage

__all__ = ["Resampled", "ResampledStage", "SmoothedBootstrap"]


@dataclass(frozen=True)
class Resampled:
    """What a Gaussian copula leaves, resampled from training showers: nothing is trained.

    Args:
        kind: distinguishes it from other models of scores in a stored configuration.
        copula: the copula.
        neighbours: showers of the nearest energies, one of which is taken.
        smoothing: standard deviation of the noise in the first principal component, up to 1, with
            which nothing is left of the shower that was taken.
    """

    kind: Literal["resampled"] = "resampled"
    copula: Copula = field(default_factory=Copula)
    neighbours: int = 200
    smoothing: float = 0.2

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not 0 < self.smoothing <= 1:
            raise ValueError(
                "resampled scores need 1 neighbour or more and a smoothing above 0 and up to 1, "
                f"got {self.neighbours} and {self.smoothing}"
            )


class SmoothedBootstrap(KeepsRows):
    r"""Numbers x of one of the rows of the nearest energies, with noise that keeps their variance.

    .. math:: x'_j = \sqrt{1 - h_j^2}\, x_{ij} + h_j \epsilon_j

    of columns of mean 0 and variance 1, with i at random and :math:`\epsilon` standard normal (the
    smoothed bootstrap: Silverman and Young, Biometrika 74, 1987, 469). The bandwidth rises from
    column to column, :math:`h_j = h + (1 - h) j / (k - 1)`: the first of k keep the dependence of
    the rows, of whatever form, and the last is normal.

    Args:
        columns: k.
        neighbours: rows of the nearest energies.
        smoothing: h.

    Attributes:
        place: log E of the rows, rising, shape (n,).
        rows: x, in half precision, far finer than the noise, shape (n, columns).
    """

    kept = ("place", "rows")
    place: Tensor
    rows: Tensor

    def __init__(self, columns: int, neighbours: int, smoothing: float) -> None:
        super().__init__()
        self.columns, self.neighbours, self.smoothing = columns, neighbours, smoothing
        for name in self.kept:
            self.register_buffer(name, torch.zeros(0))

    def fit(self, log_energy: Tensor, x: Tensor) -> None:
        """Keep rows x, shape (n, columns), of showers of log E, shape (n,)."""
        order = log_energy.argsort(stable=True)
        self.place, self.rows = log_energy[order], x[order].half()

    def check_kept(self) -> None:
        n = len(self.place)
        if n == 0 or self.place.ndim != 1 or self.rows.shape != (n, self.columns):
            raise ValueError(
                f"expected rows of {self.columns} numbers of each of {n} showers, got the shape "
                f"{tuple(self.rows.shape)}: train it again"
            )
        if bool((self.place.diff() < 0).any()):
            raise ValueError("rows to resample are not in the order of energy: train it again")

    def forward(self, log_energy: Tensor, u: Tensor, z: Tensor) -> Tensor:
        """x', shape (n, columns).

        Args:
            log_energy: log E, shape (n,).
            u: which row, from 0 to below 1, shape (n,).
            z: standard normal numbers, shape (n, columns).
        """
        total = len(self.place)
        if total == 0:
            raise RuntimeError("SmoothedBootstrap is not fitted: call fit on training showers")
        k = min(self.neighbours, total)
        first = (torch.searchsorted(self.place, log_energy) - k // 2).clamp(0, total - k)
        row = first + (u * k).long().clamp_max(k - 1)
        h = torch.linspace(self.smoothing, 1, self.columns, dtype=z.dtype, device=z.device)
        return (1 - h.square()).sqrt() * self.rows[row].to(z.dtype) + h * z


class ResampledStage(CopulaStage):
    """Scores of a copula whose normal numbers are resampled from training showers."""

    def __init__(self, config: Resampled, geometry: Geometry) -> None:
        super().__init__(config.copula, geometry)
        self.resampled = SmoothedBootstrap(geometry.n_layers, config.neighbours, config.smoothing)

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        return {"u": seeds.branch("row").uniform()}

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        super().fit(sample, upstream, rng)
        batches = sample.to(rng.device).batches()
        parts = [(q["energy_inc"].log(), self.whitened(q, rng)) for q in batches]
        at, x = (torch.cat(columns) for columns in zip(*parts, strict=True))
        self.resampled.fit(at, x)

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        x = self.resampled(given["energy_inc"].log(), noise["u"], noise["z"])
        return super().decode({"z": x}, given, upstream, options)
