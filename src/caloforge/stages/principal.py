"""The energies of all layers by quantiles and principal components, without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from scipy.special import ndtr, ndtri
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds, numpy_rng
from caloforge.cascade.stage import Stage, Upstream
from caloforge.geometry import Geometry

__all__ = ["PrincipalEnergies", "PrincipalEnergyStage"]

REACH = 3.3  # standard deviations up to which quantiles are tabulated
FEWEST = 100  # showers of a window in log(E_inc), if there are so many
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PrincipalEnergies:
    """Layer energies by quantiles and principal components.

    Args:
        kind: distinguishes it from other energies in a stored configuration.
        nodes: incident energies at which distributions are tabulated.
        quantiles: numbers that stand for a distribution.
        energy_bins: incident energies at which the dependence between layers is.
        bins: bins of the first principal component at each of them.

    Raises:
        ValueError: for numbers that are too small.
    """

    kind: Literal["principal"] = "principal"
    nodes: int = 24
    quantiles: int = 67
    energy_bins: int = 6
    bins: int = 5

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        least = {"nodes": 2, "quantiles": 2, "energy_bins": 2, "bins": 1}
        if wrong := [name for name, few in least.items() if getattr(self, name) < few]:
            raise ValueError(
                f"{wrong[0]} must be {least[wrong[0]]} or more, got {getattr(self, wrong[0])}"
            )


class PrincipalEnergyStage(KeepsRows, Stage):
    """Energy of every layer by principal components (ATLAS, arXiv:2109.02551, section 4.2).

    The response sum(E_l) / E_inc and each E_l / sum(E_l) become standard normal by their quantiles
    among training showers of near log(E_inc). Showers of an energy are cut into bins of their first
    principal component. In each, the numbers become standard normal once more, and a second
    principal component analysis makes them independent. Sampling is the way back: a bin, normal
    numbers of the variances of its components, and the quantiles of both. Unlike the paper,
    quantiles are interpolated in log(E_inc); the components are those of one of the two nearest
    tabulated energies, at random.

    Args:
        config: sizes of the tables.
        geometry: the layers.

    Attributes:
        nodes: log(E_inc) of the first tables, shape (nodes,).
        tables: quantiles of response and shares there, shape (nodes, quantiles, 1 + L).
        centres: log(E_inc) of the bins of energy, shape (energy_bins,).
        inner: quantiles in a bin, shape (energy_bins, bins, quantiles, 1 + L).
        components: columns that turn independent numbers into dependent ones, of which each is
            standard normal, shape (energy_bins, bins, 1 + L, 1 + L).
    """

    reads = ("energy_inc",)
    writes = ("layer_energies",)
    nodes: Tensor
    tables: Tensor
    centres: Tensor
    inner: Tensor
    components: Tensor

    def __init__(self, config: PrincipalEnergies, geometry: Geometry) -> None:
        super().__init__()
        self.config = config
        self.size = 1 + geometry.n_layers
        cells = (config.energy_bins, config.bins)
        shapes: dict[str, tuple[int, ...]] = {
            "nodes": (config.nodes,),
            "tables": (config.nodes, config.quantiles, self.size),
            "centres": (config.energy_bins,),
            "inner": (*cells, config.quantiles, self.size),
            "components": (*cells, self.size, self.size),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        known = {name: q.double().cpu().numpy() for name, q in sample.all().items()}
        total = known["layer_energies"].sum(1)
        filled = total > 0
        log_e = np.log(known["energy_inc"][filled])
        response = (total / known["energy_inc"])[filled, None]
        values = np.hstack([response, known["layer_energies"][filled] / total[filled, None]])
        self._fit_tables(log_e, values)
        self._fit_components(log_e, self._normal(log_e, values, numpy_rng(rng)))
        self.to(rng.device)

    def _fit_tables(self, log_e: Floats, values: Floats) -> None:
        config, levels = self.config, ndtr(self._grid)
        windows = list(_windows(log_e, config.nodes))
        self.nodes = _single([log_e[window].mean() for window in windows])
        self.tables = _single([np.quantile(values[window], levels, axis=0) for window in windows])

    def _fit_components(self, log_e: Floats, z: Floats) -> None:
        config, centres, inner, components = self.config, [], [], []
        for window in _windows(log_e, config.energy_bins):
            centres.append(log_e[window].mean())
            first = z[window] @ np.linalg.eigh(np.atleast_2d(np.cov(z[window].T)))[1][:, -1]
            for part in np.array_split(window[np.argsort(first)], config.bins):
                chosen = z[part if len(part) else window]
                inner.append(np.quantile(chosen, ndtr(self._grid), axis=0))
                ranks = chosen.argsort(0).argsort(0)
                components.append(_components(ndtri((ranks + 0.5) / len(chosen))))
        self.centres = _single(centres)
        self.inner = _single(inner).reshape(self.inner.shape)
        self.components = _single(components).reshape(self.components.shape)

    @property
    def _grid(self) -> Floats:
        """Normal numbers at which quantiles are tabulated."""
        return np.linspace(-REACH, REACH, self.config.quantiles)

    def _normal(self, log_e: Floats, values: Floats, chance: np.random.Generator) -> Floats:
        """The values as standard normal numbers; equal ones share a piece of the distribution."""
        last, levels = self.config.quantiles - 1, ndtr(self._grid)
        node, weight = (w.numpy() for w in _between(self.nodes, torch.from_numpy(log_e)))
        z = np.empty_like(values)
        for column in range(values.shape[1]):
            table, v = self.tables[..., column].double().numpy(), values[:, column, None]
            table = table[node] + weight[:, None] * (table[node + 1] - table[node])
            below, up_to = (table < v).sum(1), (table <= v).sum(1)
            rows, j = np.arange(len(v)), below.clip(1, last)
            width = (table[rows, j] - table[rows, j - 1]).clip(1e-30)
            between = j - 1 + ((v[:, 0] - table[rows, j - 1]) / width).clip(0, 1)
            places = np.arange(last + 1)
            low, high = (np.interp(k, places, levels) for k in (below, up_to - 1))
            tied = ndtri(low + chance.random(len(v)) * (high - low))
            z[:, column] = np.where(high > low, tied, np.interp(between, places, self._grid))
        return z

    def check_kept(self) -> None:
        """Refuse incident energies that do not rise, and quantiles that fall."""
        falls = (grid.diff(dim=-1) < 0 for grid in (self.nodes, self.centres))
        if any(bool(f.any()) for f in falls) or bool((self.tables.diff(dim=1) < 0).any()):
            raise ValueError("the quantiles of layer energies are impossible: train it again")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.size,)

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of the choice between two energies, and among the bins, shape (n, 2)."""
        return {"u": seeds.uniform(2)}

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        log_e, u = given["energy_inc"].log(), noise["u"]
        centre, weight = _between(self.centres, log_e)
        centre = centre + (u[:, 0] < weight).long()
        part = (u[:, 1] * self.config.bins).long().clamp(max=self.config.bins - 1)
        y = (self.components[centre, part] @ noise["z"][..., None])[..., 0]
        z = _at(self.inner[centre, part], y)
        node, weight = _between(self.nodes, log_e)
        low, high = (_at(self.tables[k], z) for k in (node, node + 1))
        values = torch.lerp(low, high, weight[:, None].to(low)).clamp_min(0)
        shares = values[:, 1:] / values[:, 1:].sum(1, keepdim=True).clamp_min(1e-9)
        return {"layer_energies": (values[:, 0] * given["energy_inc"])[:, None] * shares}


def _windows(log_e: Floats, n: int) -> Iterator[NDArray[np.int64]]:
    """Numbers of the showers of n energies, each a run of those that are sorted by energy."""
    order = np.argsort(log_e, kind="stable")
    size = min(len(order), max(len(order) // n, FEWEST))
    for begin in np.linspace(0, len(order) - size, n).round().astype(int):
        yield order[begin : begin + size]


def _components(y: Floats) -> Floats:
    """Columns of which normal numbers make ones that are correlated as y, shape (D, D)."""
    covariance = y.T @ y / len(y)
    std = np.sqrt(np.diag(covariance)).clip(1e-9)
    values, vectors = np.linalg.eigh(covariance / np.outer(std, std))
    columns: Floats = vectors * np.sqrt(values.clip(0))
    return columns


def _single(values: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def _between(grid: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last number of a rising grid before each x, and how far x lies towards the next."""
    j = torch.bucketize(x.to(grid), grid).clamp(1, len(grid) - 1) - 1
    width = (grid[j + 1] - grid[j]).clamp_min(1e-9)
    return j, ((x - grid[j]) / width).clamp(0, 1)


def _at(quantiles: Tensor, z: Tensor) -> Tensor:
    """Values of quantiles (n, Q, D) at normal numbers, shape (n, D)."""
    last = quantiles.shape[1] - 1
    place = ((z / REACH + 1) / 2 * last).clamp(0, last)
    j = place.long().clamp(max=last - 1)
    low, high = (quantiles.gather(1, k[:, None])[:, 0] for k in (j, j + 1))
    return torch.lerp(low, high, place - j)
