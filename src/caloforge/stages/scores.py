"""Layer energies as normal scores: what depends on what, apart from how each is distributed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import ConfigDict
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.recipe import Recipe
from caloforge.cascade.seeds import Noise
from caloforge.cascade.stage import Batch, Learned, Stage, Upstream
from caloforge.cascade.usual import PARALLEL
from caloforge.flows import Flow, Spline, vector_stack
from caloforge.geometry import Geometry
from caloforge.pdg import kinds_of
from caloforge.preprocessing import LogRange
from caloforge.showers import ShowerSource
from caloforge.stages.copula import GaussianCopula
from caloforge.stages.quantiles import LocalQuantiles

__all__ = ["Copula", "CopulaStage", "ScoreFlow", "ScoreFlowStage", "log_sum"]

NO_SHARE = 1e-30  # in place of that of an empty layer, whose logarithm nobody looks at
SMALLEST = 1e-3  # width, height and derivative of the bins of a spline


@dataclass(frozen=True)
class Copula:
    """A Gaussian copula of layer energies, see `GaussianCopula`.

    Args:
        kind: distinguishes it from a flow in a stored configuration.
        neighbours: showers of the nearest energies that quantiles are counted of.
        nodes: energies at which correlations are taken, equally far apart in log(E_inc).
        width: of the weights of showers around a node, see `GaussianCopula`.
        sweeps: times that the scores of empty layers are sampled given all others.
    """

    kind: Literal["copula"] = "copula"
    neighbours: int = 600
    nodes: int = 24
    width: float = 1.2
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
    """A flow of couplings for what a Gaussian copula leaves: it samples in one pass.

    Args:
        recipe: training.
        kind: distinguishes it from a copula in a stored configuration.
        copula: the copula.
        blocks: couplings, with permutations between them.
        hidden: width of the hidden layers of their networks.
        hidden_layers: hidden layers after the first.
        bins: of their splines.
        bound: the splines act on [-bound, bound].
    """

    recipe: Recipe
    kind: Literal["flow"] = "flow"
    copula: Copula = field(default_factory=Copula)
    blocks: int = 4
    hidden: int = 64
    hidden_layers: int = 1
    bins: int = 4
    bound: float = 5.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class CopulaStage(Stage):
    """Normal scores of all layer energies given the incident energy, of a Gaussian copula.

    Each layer's energy over the incident one becomes standard normal by its local quantiles, see
    `LocalQuantiles`; empty layers share a piece of the normal distribution. How a layer is
    distributed is known then, and what is left is how layers depend on each other.

    Args:
        config: of the copula.
        geometry: the voxels.

    Attributes:
        layers: quantiles of each layer.
        response: quantiles of the sum of all, which no score stands for: it follows from them.
        copula: of the scores.
    """

    reads = ("energy_inc",)
    writes = ("scores",)
    learns = ("energy_inc", "layer_energies")

    def __init__(self, config: Copula, geometry: Geometry) -> None:
        super().__init__()
        self.n_layers, self.threshold = geometry.n_layers, geometry.threshold
        self.layers = LocalQuantiles(config.neighbours)
        self.response = LocalQuantiles(config.neighbours)
        self.copula = GaussianCopula(self.n_layers, config.nodes, config.width, config.sweeps)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.n_layers,)

    def check(self, sample: ShowerSource[Any]) -> None:
        """Refuse particles of several kinds, or at several angles to the axis."""
        super().check(sample)
        particles = sample.particles
        angles = np.arctan2(np.hypot(*particles.direction[:, :2].T), particles.direction[:, 2])
        if len(particles.kinds) > 1 or np.ptp(angles) > PARALLEL:
            raise ValueError(
                "a copula knows the energies of one kind of particles at one angle to the axis, "
                f"got {kinds_of(particles.kinds)} at {angles.min():.3g} to {angles.max():.3g} "
                "radian: choose some of them, or train quilt/directed (of points: "
                "quilt/directed-points)"
            )

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        batches = sample.to(rng.device).batches()
        parts = [(q["energy_inc"].log(), *self._log_shares(q)) for q in batches]
        at, values, known = (torch.cat(columns) for columns in zip(*parts, strict=True))
        self.layers.fit(at, values, known)
        self.response.fit(at, *log_sum(values.exp() * known))
        scores = self.layers.scores(at, values, known, _uniform(values, rng))
        self.copula.fit(at, scores, self.layers.border(at), rng)

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        return {"scores": self.copula(given["energy_inc"].log(), noise["z"]).float()}

    def whitened(self, quantities: Quantities, rng: torch.Generator) -> Tensor:
        """The independent normal numbers x that the copula makes showers of, shape (n, n_layers).

        Args:
            quantities: what the stage learns.
            rng: of the scores of empty layers.
        """
        at, (values, known) = quantities["energy_inc"].log(), self._log_shares(quantities)
        scores = self.layers.scores(at, values, known, _uniform(values, rng))
        for _ in range(SWEEPS):
            scores = self.copula.impute(at, scores, self.layers.border(at), rng)
        return self.copula.whitened(at, scores).float()

    def _log_shares(self, quantities: Quantities) -> tuple[Tensor, Tensor]:
        """Logarithms of layer energies over E_inc, and where there are any, (n, n_layers) each.

        A layer of less than the threshold of a voxel is empty, as it is read out.
        """
        energies = quantities["layer_energies"]
        shares = energies.double() / quantities["energy_inc"].double()[:, None]
        return shares.clamp_min(NO_SHARE).log(), (energies >= self.threshold) & (energies > 0)


class ScoreFlowStage(CopulaStage, Learned):
    """Scores of a copula whose normal numbers are those of a flow, which begins as the identity."""

    def __init__(self, config: ScoreFlow, geometry: Geometry) -> None:
        super().__init__(config.copula, geometry)
        self.recipe = config.recipe
        stack = vector_stack(
            "coupling",
            geometry.n_layers,
            1,
            blocks=config.blocks,
            hidden=config.hidden,
            hidden_layers=config.hidden_layers,
            spline=Spline(config.bins, config.bound, SMALLEST),
            orders=("reverse", "random"),
        )
        self.flow = Flow(stack, (geometry.n_layers,))
        self.energy_inc = LogRange()

    @property
    def sequential_passes(self) -> int:
        return self.flow.bijection.sequential_passes

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        super().fit(sample, upstream, rng)
        self.energy_inc.fit(lambda: (q["energy_inc"] for q in sample.batches()))

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Shape (n, 1)."""
        incident: Tensor = self.energy_inc(quantities["energy_inc"])
        return incident[:, None]

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        context = self.context(quantities, upstream)
        return {"x": self.whitened(quantities, rng), "context": context}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Negative log-likelihood a layer."""
        return -self.flow.log_prob(batch["x"], batch["context"]).mean() / self.n_layers

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        x = self.flow.decode(noise["z"], self.context(given, upstream))
        return super().decode({"z": x}, given, upstream, options)


def log_sum(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm of the sum of layers over E_inc, and whether it is above 0, shape (n, 1) each."""
    total = shares.sum(1, keepdim=True)
    return total.clamp_min(NO_SHARE).log(), total > 0


def _uniform(values: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(values.shape, generator=rng, device=values.device)


SWEEPS = 2  # of imputation of a batch
