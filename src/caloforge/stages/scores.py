"""Layer energies as normal scores: what depends on what, apart from how each is distributed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pydantic import ConfigDict
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.recipe import Recipe
from caloforge.cascade.seeds import Noise
from caloforge.cascade.stage import Batch, Learned, Stage, Upstream
from caloforge.flows import Flow, Spline, vector_stack
from caloforge.geometry import Geometry
from caloforge.preprocessing import LogRange
from caloforge.stages.quantiles import LocalQuantiles

__all__ = ["Copula", "CopulaStage", "ScoreFlow", "ScoreFlowStage", "ScoreStage", "log_sum"]

NO_SHARE = 1e-30  # in place of that of an empty layer, whose logarithm nobody looks at


@dataclass(frozen=True)
class Copula:
    """A Gaussian copula, of which correlations are all that is fitted.

    Args:
        kind: tells it from the flow in a stored configuration.
        neighbours: showers of the nearest energies that quantiles are counted of.
        nodes: energies at which correlations are taken, equally far apart in log(E_inc).
        width: standard deviation of the weights of showers around a node, in log(E_inc).
        sweeps: times that the scores of empty layers are imputed from those of the others.
    """

    kind: Literal["copula"] = "copula"
    neighbours: int = 600
    nodes: int = 24
    width: float = 0.25
    sweeps: int = 10

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.nodes < 2 or not self.width > 0 or self.sweeps < 0:
            raise ValueError(
                "a copula needs 1 neighbour or more, 2 nodes or more, a width above 0 and 0 "
                f"sweeps or more, got {self.neighbours}, {self.nodes}, {self.width} and "
                f"{self.sweeps}"
            )


@dataclass(frozen=True)
class ScoreFlow:
    """A flow of couplings, which samples in one pass.

    Args:
        recipe: training.
        kind: tells it from the copula in a stored configuration.
        neighbours: showers of the nearest energies that quantiles are counted of.
        blocks: couplings, with permutations between them.
        hidden: width of the hidden layers of their networks.
        hidden_layers: hidden layers behind the first.
        bins: of their splines.
        bound: the splines act on [-bound, bound].
    """

    recipe: Recipe
    kind: Literal["flow"] = "flow"
    neighbours: int = 600
    blocks: int = 8
    hidden: int = 128
    hidden_layers: int = 1
    bins: int = 8
    bound: float = 5.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


def _log_shares(quantities: Quantities) -> tuple[Tensor, Tensor]:
    """Logarithms of layer energies over E_inc, and which are above 0, shape (n, n_layers) each."""
    shares = quantities["layer_energies"].double() / quantities["energy_inc"].double()[:, None]
    return shares.clamp_min(NO_SHARE).log(), shares > 0


def log_sum(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm of the sum of layers over E_inc, and whether it is above 0, shape (n, 1) each."""
    total = shares.sum(1, keepdim=True)
    return total.clamp_min(NO_SHARE).log(), total > 0


class ScoreStage(Stage, ABC):
    """Normal scores of all layer energies given the incident energy.

    Each layer's energy over the incident one becomes standard normal by its local quantiles, see
    `LocalQuantiles`; empty layers share a uniform piece of the normal distribution. How a layer is
    distributed is known then, and what is left to learn is how layers depend on each other.

    Args:
        neighbours: showers of the nearest energies that quantiles are counted of.
        geometry: the voxels.

    Attributes:
        layers: quantiles of each layer.
        response: quantiles of the sum of all, which no score stands for: it follows from them.
    """

    reads = ("energy_inc",)
    writes = ("scores",)
    learns = ("energy_inc", "layer_energies")

    def __init__(self, neighbours: int, geometry: Geometry) -> None:
        super().__init__()
        self.n_layers = geometry.n_layers
        self.layers, self.response = LocalQuantiles(neighbours), LocalQuantiles(neighbours)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.n_layers,)

    def fit_quantiles(self, sample: ShowerQuantities) -> None:
        """Count the quantiles of the training split."""
        parts = [(q["energy_inc"].log(), *_log_shares(q)) for q in sample.batches()]
        at, values, known = (torch.cat(columns) for columns in zip(*parts, strict=True))
        self.layers.fit(at, values, known)
        self.response.fit(at, *log_sum(values.exp() * known))

    def scores_of(self, quantities: Quantities, rng: torch.Generator) -> Tensor:
        """Scores of showers, those of empty layers at random in their piece, shape (n, n_layers).

        Args:
            quantities: `energy_inc` and `layer_energies`.
            rng: of the empty layers.
        """
        values, known = _log_shares(quantities)
        u = torch.rand(values.shape, generator=rng, device=values.device)
        log_energy = quantities["energy_inc"].log()
        return self.layers.scores(log_energy, values, known, u)


class CopulaStage(KeepsRows, ScoreStage):
    """Scores of a Gaussian copula: z = C(E) x, with C C^T the correlations at the energy.

    Correlations are weighted means over showers at nodes in log(E_inc). A uniform score of an empty
    layer knows nothing of its neighbours, and would weaken them: it is sampled anew from its
    distribution given those of all other layers, below the score that separates empty from not
    (Hoff, Annals of Applied Statistics 1, 2007, 265). Between nodes the factors C are interpolated
    and their rows normalised.

    Attributes:
        log_energy: of the nodes, shape (nodes,).
        factors: lower triangular, shape (nodes, n_layers, n_layers).
    """

    kept = ("log_energy", "factors")
    log_energy: Tensor
    factors: Tensor

    def __init__(self, config: Copula, geometry: Geometry) -> None:
        super().__init__(config.neighbours, geometry)
        self.config = config
        for name in self.kept:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def fit(self, sample: ShowerQuantities, upstream: Upstream, rng: torch.Generator) -> None:
        self.fit_quantiles(sample)
        batches = list(sample.batches())
        scores = torch.cat([self.scores_of(q, rng) for q in batches])
        at = torch.cat([q["energy_inc"].log().double() for q in batches])
        empty = torch.cat([q["layer_energies"] <= 0 for q in batches])
        border = self.layers.border(at)
        self.log_energy = torch.linspace(
            float(at.min()), float(at.max()), self.config.nodes, dtype=torch.float64
        ).to(at.device)
        node = (at[:, None] - self.log_energy).abs().argmin(1)
        for sweep in range(self.config.sweeps + 1):
            correlations = self._correlations(scores, at)
            if sweep < self.config.sweeps:
                for i, precision in enumerate(torch.linalg.inv(correlations)):
                    rows = node == i
                    _impute(scores, empty, border, rows, precision, rng)
        self.factors = torch.linalg.cholesky(correlations)

    def _correlations(self, scores: Tensor, at: Tensor) -> Tensor:
        found = []
        for node in self.log_energy:
            weight = (-0.5 * ((at - node) / self.config.width).square()).exp()
            moments = (scores * weight[:, None]).T @ scores
            spread = moments.diagonal().sqrt().clamp_min(NO_SHARE)
            found.append(moments / torch.outer(spread, spread))
        ridge = RIDGE * torch.eye(self.n_layers, dtype=scores.dtype, device=scores.device)
        return (torch.stack(found) + ridge) / (1 + RIDGE)

    def check_kept(self) -> None:
        nodes, n = len(self.log_energy), self.n_layers
        if nodes < 2 or self.factors.shape != (nodes, n, n):
            raise ValueError(
                f"a copula of {n} layers has factors of the shape {tuple(self.factors.shape)} at "
                f"{nodes} nodes: train it again"
            )

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        first, last = self.log_energy[0], self.log_energy[-1]
        width = ((last - first) / (len(self.log_energy) - 1)).clamp_min(NO_SHARE)
        at = (given["energy_inc"].log() - first) / width
        low = at.floor().clamp(0, len(self.log_energy) - 2).long()
        part = (at - low).clamp(0, 1).to(self.factors.dtype)
        factor = torch.lerp(self.factors[low], self.factors[low + 1], part[:, None, None])
        scores = (factor * noise["z"].double()[:, None]).sum(2) / factor.square().sum(2).sqrt()
        return {"scores": scores.float()}


class ScoreFlowStage(ScoreStage, Learned):
    """Scores of a normalising flow of couplings on vectors."""

    def __init__(self, config: ScoreFlow, geometry: Geometry) -> None:
        super().__init__(config.neighbours, geometry)
        self.recipe = config.recipe
        stack = vector_stack(
            "coupling",
            geometry.n_layers,
            1,
            blocks=config.blocks,
            hidden=config.hidden,
            hidden_layers=config.hidden_layers,
            spline=Spline(config.bins, config.bound, 1e-3),
            orders=("reverse", "random"),
        )
        self.flow = Flow(stack, (geometry.n_layers,))
        self.energy_inc = LogRange()

    @property
    def sequential_passes(self) -> int:
        return self.flow.bijection.sequential_passes

    def fit(self, sample: ShowerQuantities, upstream: Upstream, rng: torch.Generator) -> None:
        self.fit_quantiles(sample)
        self.energy_inc.fit(lambda: (q["energy_inc"] for q in sample.batches()))

    def context(self, quantities: Quantities) -> Tensor:
        """Shape (n, 1)."""
        incident: Tensor = self.energy_inc(quantities["energy_inc"])
        return incident[:, None]

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        scores = self.scores_of(quantities, rng).float()
        return {"x": scores, "context": self.context(quantities)}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Negative log-likelihood a layer."""
        return -self.flow.log_prob(batch["x"], batch["context"]).mean() / self.n_layers

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        return {"scores": self.flow.decode(noise["z"], self.context(given))}


RIDGE = 1e-6  # of correlations, so that they have an inverse


def _impute(
    scores: Tensor,
    empty: Tensor,
    border: Tensor,
    rows: Tensor,
    precision: Tensor,
    rng: torch.Generator,
) -> None:
    """Sample the scores of empty layers anew, each given all others, in place.

    Args:
        scores: shape (n, n_layers).
        empty: whether a layer is, shape (n, n_layers).
        border: below which it is, shape (n, n_layers).
        rows: the showers, shape (n,).
        precision: inverse of their correlations, shape (n_layers, n_layers).
        rng: of the samples.
    """
    for layer in range(scores.shape[1]):
        some = (rows & empty[:, layer]).nonzero()[:, 0]
        if len(some) == 0:
            continue
        now, weights = scores[some], precision[layer]
        scale = weights[layer].rsqrt()
        mean = now[:, layer] - (now @ weights) / weights[layer]
        most = torch.special.ndtr((border[some, layer] - mean) / scale)
        u = torch.rand(most.shape, generator=rng, device=most.device, dtype=most.dtype)
        drawn = torch.special.ndtri((u * most).clamp_min(NO_SHARE))
        scores[some, layer] = (mean + scale * drawn).clamp(-6.0, 6.0)
