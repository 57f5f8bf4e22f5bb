"""A copy of the shape network that jumps to the end of its trajectories, in one step or a few."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.matching import (
    DrawnHits,
    FlowMap,
    Jumps,
    RungeKutta,
    Solver,
    flow_map_loss,
    hit_spread,
    jumps,
    make_solver,
)
from caloforge.stages.config import ShapeNetwork
from caloforge.stages.pixels import HitPixels
from caloforge.stages.shape import ShapeNetwork3d, ShapeStage
from caloforge.systems.calodream.config import Distillation

__all__ = ["DistilledStage"]

SPREAD_SHARE = 0.05  # of a step, in the moving average of the spread


class DistilledStage(Learned):
    """The flow map of the shape network, learned from its own trajectories.

    It begins as a copy of the shape network that is given the end of a jump as well. In training
    the velocity is followed from noise, under the conditions of the training showers, and every
    trajectory is cut into 1, 2, 4 … jumps (see `jumps`). The shape stage samples with it as with
    any solver, "distilled-N" with N of those numbers: this stage itself samples nothing.

    In one step hits may be sampled in place of their mean (`Distillation.ending`); then the spread
    of their energies is taken from the last steps of training, and kept with the weights.

    Args:
        config: its configuration.
        shape: configuration of the shape network.
        teacher: the shape stage, of which the sizes are taken.
    """

    needs = ("conditions", "shape")
    reads = ("energy_inc", "layer_energies")
    spread: Tensor

    def __init__(self, config: Distillation, shape: ShapeNetwork, teacher: ShapeStage) -> None:
        super().__init__()
        self.config = config
        self.recipe = config.recipe
        size = teacher.context_size
        self.network = ShapeNetwork3d(shape, teacher.shape, size, teacher.voxels, times=2)
        solver = make_solver(config.solver)
        if not isinstance(solver, RungeKutta) or solver.steps % config.steps:
            raise ValueError(
                "trajectories are cut into equal jumps: expected a distillation.solver of equal "
                f"steps, a multiple of {config.steps}, such as midpoint-8, got {config.solver!r}"
            )
        self.solver = solver
        if config.ending == "drawn" and not isinstance(teacher.voxels, HitPixels):
            raise ValueError(
                "hits are sampled where the shape network's pixels are hits: expected shape.pixels "
                f"of 'hits' and no latent space, got {shape.pixels!r} of shape {teacher.shape}; "
                "choose distillation.ending 'mean'"
            )
        if config.ending == "drawn":
            self.register_buffer("spread", torch.ones(()))

    @property
    def solvers(self) -> dict[str, Solver]:
        """What it offers, "distilled-1", "distilled-2", … by name."""
        numbers = [2**i for i in range(self.config.steps.bit_length())]
        solvers: dict[str, Solver] = {
            f"distilled-{n}": FlowMap(self.mean_velocity, n) for n in numbers
        }
        if self.config.ending == "drawn":
            solvers["distilled-1"] = DrawnHits(self.mean_velocity, lambda: self.spread)
        return solvers

    @property
    def sequential_passes(self) -> int:
        return 0

    def mean_velocity(self, x: Tensor, times: Tensor, context: Tensor | None) -> Tensor:
        """u(x, times, context), see `MeanVelocity`."""
        u: Tensor = self.network(x, times, context)
        return u

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        """Begin as the shape network, to which the end of a jump says nothing."""
        teacher = ShapeStage.of(upstream, "shape")
        self.network.load_state_dict(teacher.network.state_dict(), strict=False)
        self.network.ignore_time(1)

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """That of the shape stage, which samples with it, shape (n, 1 + L)."""
        return ShapeStage.of(upstream, "shape").context(quantities, upstream)

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        """Jumps along new trajectories, 2 steps - 1 of each."""
        shape = ShapeStage.of(upstream, "shape")
        context = self.context(quantities, upstream)
        noise = torch.randn(len(context), *shape.shape, generator=rng, device=context.device)
        found = jumps(shape.velocity, noise, context, solver=self.solver, largest=self.config.steps)
        assert found.context is not None
        return {
            "start": found.start,
            "end": found.end,
            "times": found.times,
            "context": found.context,
        }

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Mean square error of the mean velocities of all jumps."""
        found = Jumps(**batch)
        if self.config.ending == "drawn" and self.training:
            self._follow_spread(found)
        return flow_map_loss(self.mean_velocity, found)

    @torch.no_grad()
    def _follow_spread(self, found: Jumps) -> None:
        """Take the energies of a step's whole jumps into the moving average of their spread."""
        assert found.context is not None
        n = len(found.start) // (2 * self.config.steps - 1)  # trajectories: whole jumps are first
        noise, end = found.start[:n], found.end[:n]
        mean = noise + self.mean_velocity(noise, found.times[:n], found.context[:n])
        if (end[:, 0] > 0).any():
            self.spread.lerp_(hit_spread(mean, end), SPREAD_SHARE)
