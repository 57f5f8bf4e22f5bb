"""A copy of PointWise Net that jumps from noise to points, in one step or two."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call

from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.diffusion import (
    Consistency,
    Neighbours,
    Preconditioned,
    consistency_loss,
    neighbours,
)
from caloforge.systems.caloclouds.config import CaloCloudsConfig, Distillation
from caloforge.systems.caloclouds.networks import POINT, PointNetwork, with_level
from caloforge.systems.caloclouds.points import PointsStage, some_points
from caloforge.systems.caloclouds.processes import FreshNoise, LeveledNetwork, Sampler, spread

__all__ = ["DistilledStage"]

JUMPS = (1, 2)


class DistilledStage(Learned):
    """The consistency model of PointWise Net (arXiv:2303.01469, algorithm 2).

    It begins as a copy of PointWise Net, of which it learns to reach the end of every trajectory in
    one step. Target of the training is a moving average of its own weights. The points stage
    samples with it as with any solver, "consistency-1" or "consistency-2": this stage itself
    samples nothing.

    Args:
        config: that of the system.
        points: the stage of PointWise Net, of which the sizes are taken.
    """

    needs = ("conditions", "points")

    def __init__(self, config: CaloCloudsConfig, points: PointsStage) -> None:
        super().__init__()
        assert config.distillation is not None
        self.config: Distillation = config.distillation
        self.recipe = self.config.recipe
        self.learns = points.learns
        self.levels = config.points.levels
        self.network = PointNetwork(points.context_size, config.points.hidden)
        for name, weights in self.network.named_parameters():
            self.register_buffer(_target(name), weights.detach().clone())

    @property
    def solvers(self) -> dict[str, Sampler]:
        """What it offers, "consistency-1" and "consistency-2", by name."""
        return {
            f"consistency-{n}": Sampler(n, partial(self._sample, n), self.network) for n in JUMPS
        }

    def _sample(
        self, jumps: int, network: LeveledNetwork, noise: Tensor, fresh: FreshNoise
    ) -> Tensor:
        student = Consistency(lambda x, level: network(x, level[:1]), self.levels, 1.0)
        return student.sample(spread(noise, self.levels), jumps, fresh=fresh)

    @property
    def sequential_passes(self) -> int:
        return 0

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        """Begin as PointWise Net."""
        self.network.load_state_dict(PointsStage.of(upstream, "points").network.state_dict())
        self._follow(1.0)

    @torch.no_grad()
    def _follow(self, share: float) -> None:
        """Move the target by a fraction of its distance from the network."""
        for name, weights in self.network.named_parameters():
            self.get_buffer(_target(name)).lerp_(weights, share)

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """That of the points stage, which samples with it, shape (n, context_size)."""
        return PointsStage.of(upstream, "points").context(quantities, upstream)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        """Neighbours on trajectories of the teacher, with the contexts of their clouds."""
        if self.training:
            self._follow(1 - self.config.target)
        teacher, n_points = PointsStage.of(upstream, "points"), quantities["n_points"]
        latent = teacher.encode(quantities, upstream, rng)
        context = self.context({**quantities, "latent": latent}, upstream)[n_points > 0]
        x = some_points(quantities["points"], n_points, self.config.max_points, rng)
        share = self.config.max_points // self.config.draws
        x = teacher.scaled(x, rng).reshape(-1, share, POINT)
        context = context.repeat_interleave(self.config.draws, 0)
        denoiser = Preconditioned(partial(teacher.network.at, context=context), 1.0)
        pairs = neighbours(denoiser, x, self.levels, intervals=self.config.intervals, rng=rng)
        return {**pairs._asdict(), "context": context}

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Mean square distance of the ends of neighbours, see `consistency_loss`."""
        context = batch["context"]
        pairs = Neighbours(*(batch[name] for name in Neighbours._fields))
        student = Consistency(partial(self.network.at, context=context), self.levels, 1.0)

        weights = {n: self.get_buffer(_target(n)) for n, _ in self.network.named_parameters()}

        def followed(x: Tensor, level: Tensor) -> Tensor:
            seen = with_level(context, level)
            found: Tensor = functional_call(self.network, weights, (x, seen))
            return found

        target = Consistency(followed, self.levels, 1.0)
        return consistency_loss(student, target, pairs)


def _target(name: str) -> str:
    """Name of the buffer that follows the weights of a name."""
    return f"target_{name.replace('.', '_')}"
