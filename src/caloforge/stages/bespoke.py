"""Bespoke solvers of the shape network, fitted after training (CaloDREAM, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.seeds import Branch
from caloforge.cascade.stage import Stage, Upstream
from caloforge.matching import (
    Batch,
    CurvePoint,
    NonStationary,
    Reference,
    follow,
    train_bespoke,
)
from caloforge.showers import Particles
from caloforge.stages.config import BespokeFit
from caloforge.stages.shape import ShapeStage

__all__ = ["BespokeSolvers", "followed"]

CURVE_POINTS = 50  # of a training curve that are kept


class BespokeSolvers(Stage):
    """The bespoke solvers of a system's shape network.

    They see what it sees when showers are sampled: sampled layer energies, at incident energies of
    the training sample. Those that want the same references share them, as following the
    velocity takes most of the time. The shape stage samples with them: this stage samples nothing.

    Args:
        config: what to fit.
        energies: the stages that sample layer energies.

    Attributes:
        solvers: by name, always the same mapping; empty until they are fitted.
        curves: how the errors fell in training, by name, a few points of each.

    Raises:
        ValueError: for two solvers of one name, or one without references to validate with.
    """

    learns = ("energy_inc",)

    def __init__(
        self, config: Sequence[BespokeFit], energies: Sequence[str] = ("energies",)
    ) -> None:
        super().__init__()
        self.needs = ("conditions", *energies, "shape")
        self.config = {fit.name: fit for fit in config}
        if len(self.config) < len(config):
            raise ValueError(
                "every bespoke solver needs its own steps or truncation, got "
                f"{', '.join(fit.name for fit in config)}"
            )
        for name, fit in self.config.items():
            if fit.showers <= fit.batch_size:
                raise ValueError(
                    f"{name} is trained with some batches and validated with others, got "
                    f"{fit.showers} showers in batches of {fit.batch_size}: ask for more"
                )
        self.solvers: dict[str, NonStationary] = {}
        self.curves: dict[str, tuple[CurvePoint, ...]] = {}

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        assert draw is not None
        shape = ShapeStage.of(upstream, "shape")
        particles = draw.showers.particles[draw.rng.permutation(len(draw.showers))]
        plans = {_plan(fit): fit for fit in self.config.values()}
        draw.expect(
            sum(fit.showers for fit in plans.values())
            + sum(_most_showers(fit) for fit in self.config.values())
        )
        for plan, first in plans.items():
            references = followed(upstream, draw, particles, first)
            for name, fit in self.config.items():
                if _plan(fit) == plan:
                    left = draw.left - _most_showers(fit)
                    self.train_one(name, shape, references, progress=draw.count)
                    draw.count(draw.left - left)

    def train_one(
        self,
        name: str,
        shape: ShapeStage,
        references: Sequence[Reference],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Train one of the solvers with what `followed` gave for it.

        Args:
            name: of the solver.
            shape: the stage whose velocity they are for.
            references: what it is trained with.
            progress: called with the number of showers that an iteration sampled.
        """
        fit = self.config[name]
        report = None
        if progress is not None and fit.truncation == "global":
            report = partial(progress, fit.batch_size)
        trained = train_bespoke(
            shape.velocity,
            references,
            fit.steps,
            truncation=fit.truncation,
            training=fit.training,
            progress=report,
        )
        self.solvers[name] = trained.solver
        chosen = np.linspace(0, len(trained.curve) - 1, CURVE_POINTS).round().astype(int)
        self.curves[name] = tuple(trained.curve[i] for i in np.unique(chosen))

    def state(self) -> dict[str, Any]:
        return {
            name: {**solver.state(), "curve": [list(point) for point in self.curves[name]]}
            for name, solver in self.solvers.items()
        }

    def load_state(self, states: Mapping[str, Any]) -> None:
        if states.keys() != self.config.keys():
            raise ValueError(
                f"expected the solvers {', '.join(self.config)}, got {', '.join(states)}"
            )
        for name, values in states.items():
            if len(values["a"]) != self.config[name].steps:
                raise ValueError(f"{name} has {len(values['a'])} steps")
            solver = NonStationary.from_state(values)
            self.solvers[name] = solver
            self.curves[name] = tuple(CurvePoint(*point) for point in values["curve"])
        self.is_fitted = True


def followed(
    upstream: Upstream, draw: Draw, particles: Particles, fit: BespokeFit
) -> list[Reference]:
    """Follow the shape network's velocity, as the references of bespoke solvers.

    Args:
        upstream: the shape stage and what it needs, trained.
        draw: samples the layer energies.
        particles: incident particles; few are gone through again and again.
        fit: how many showers, in which batches and steps.
    """
    shape = ShapeStage.of(upstream, "shape")
    incident = particles[np.resize(np.arange(len(particles)), fit.showers)]

    def batches() -> Iterator[Batch]:
        for seeds, quantities in draw.batches(
            incident, Branch.SOLVERS, size=fit.batch_size, before="shape"
        ):
            noise = seeds.branch("shape").normal(*shape.latent_shape)
            yield noise, shape.context(quantities, upstream)
            draw.count(len(seeds))

    return follow(shape.velocity, batches(), steps=fit.reference_steps)


def _most_showers(fit: BespokeFit) -> int:
    """What a solver's training samples; the local error needs no showers."""
    return fit.training.iterations * fit.batch_size if fit.truncation == "global" else 0


def _plan(fit: BespokeFit) -> tuple[int, int, int]:
    """What the references depend on."""
    return fit.showers, fit.batch_size, fit.reference_steps
