"""Bespoke solvers of the shape network, fitted after training (CaloDREAM, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caloforge.cascade.arguments import incident_particles
from caloforge.cascade.calibration import Calibration, Counted
from caloforge.cascade.seeds import Branch, Seeds
from caloforge.cascade.system import System
from caloforge.matching import (
    Batch,
    CurvePoint,
    NonStationary,
    Reference,
    follow,
    train_bespoke,
)
from caloforge.showers import ShowerSource
from caloforge.stages.config import BespokeFit
from caloforge.stages.shape import ShapeStage

__all__ = ["BespokeSolvers", "followed", "shape_stage"]

CURVE_POINTS = 50  # of a training curve that are kept


class BespokeSolvers(Calibration):
    """The bespoke solvers of a system's shape network.

    They see what it sees when showers are drawn: the energy network's draws, at incident energies
    of the training sample. Those that want the same references share them, as following the
    velocity takes most of the time.

    Args:
        config: what to fit.

    Attributes:
        solvers: by name, always the same mapping; empty until they are fitted.
        curves: how the errors fell in training, by name, a few points of each.

    Raises:
        ValueError: for two solvers of one name, or one without references to validate with.
    """

    def __init__(self, config: Sequence[BespokeFit]) -> None:
        super().__init__()
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
        system: System,
        showers: ShowerSource[Any],
        *,
        seed: int,
        device: str = "cpu",
        progress: Counted | None = None,
    ) -> None:
        energies = np.random.default_rng(seed).permutation(showers.particles.energy)
        plans = {_plan(fit): fit for fit in self.config.values()}
        count = _Count(
            sum(fit.showers for fit in plans.values())
            + sum(_most_showers(fit) for fit in self.config.values()),
            progress,
        )
        for plan, first in plans.items():
            references = followed(
                system, energies, first, seed=seed, device=device, progress=count.add
            )
            for name, fit in self.config.items():
                if _plan(fit) == plan:
                    before = count.done
                    self.train_one(name, system, references, progress=count.add)
                    count.add(before + _most_showers(fit) - count.done)
        self.is_fitted = True

    def train_one(
        self,
        name: str,
        system: System,
        references: Sequence[Reference],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Train one of the solvers with what `followed` gave for it.

        Args:
            name: of the solver.
            system: the system.
            references: what it is trained with.
            progress: called with the number of showers that an iteration drew.
        """
        fit = self.config[name]
        told = None
        if progress is not None and fit.truncation == "global":
            told = partial(progress, fit.batch_size)
        trained = train_bespoke(
            shape_stage(system).velocity,
            references,
            fit.steps,
            truncation=fit.truncation,
            training=fit.training,
            progress=told,
        )
        self.solvers[name] = trained.solver
        chosen = np.linspace(0, len(trained.curve) - 1, CURVE_POINTS).round().astype(int)
        self.curves[name] = tuple(trained.curve[i] for i in np.unique(chosen))

    def state(self) -> dict[str, Any]:
        return {
            name: {**solver.state(), "curve": [list(point) for point in self.curves[name]]}
            for name, solver in self.solvers.items()
        }

    def load_state(self, state: dict[str, Any]) -> None:
        if state.keys() != self.config.keys():
            raise ValueError(
                f"expected the solvers {', '.join(self.config)}, got {', '.join(state)}"
            )
        for name, values in state.items():
            if len(values["a"]) != self.config[name].steps:
                raise ValueError(f"{name} has {len(values['a'])} steps")
            solver = NonStationary.from_state(values)
            self.solvers[name] = solver
            self.curves[name] = tuple(CurvePoint(*point) for point in values["curve"])
        self.is_fitted = True


def shape_stage(system: System) -> ShapeStage:
    """The stage whose velocity bespoke solvers are for.

    Raises:
        ValueError: for a system that has none.
    """
    stage = system.stages.get("shape")
    if not isinstance(stage, ShapeStage):
        raise ValueError(f"{system.name} has no shape network: bespoke solvers are for calodream")
    return stage


def followed(
    system: System,
    energy_inc: ArrayLike,
    fit: BespokeFit,
    *,
    seed: int,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> list[Reference]:
    """Follow the shape network's velocity, as the references of bespoke solvers.

    Args:
        system: a trained system.
        energy_inc: incident energies [MeV], shape (n,); few are gone through again and again.
        fit: how many showers, in which batches and steps.
        seed: of the layer energies and of the noise.
        device: where to compute.
        progress: called with the number of showers that a batch had.
    """
    shape = shape_stage(system)
    system.prepare(device)
    energies = np.resize(incident_particles(energy_inc).energy, fit.showers)
    starts = range(0, len(energies), fit.batch_size)
    seeds = Seeds.of(seed, np.arange(len(energies)), device, Branch.SOLVERS)

    def batches() -> Iterator[Batch]:
        for start in starts:
            part = slice(start, start + fit.batch_size)
            quantities = system.quantities(energies[part], seeds=seeds[part], before="shape")
            z = seeds[part].branch("shape").normal(*shape.latent_shape)
            yield z, shape.context(quantities)
            if progress is not None:
                progress(len(z))

    return follow(shape.velocity, batches(), steps=fit.reference_steps)


class _Count:
    """Showers that are done, of those that a fit draws at most."""

    def __init__(self, wanted: int, progress: Counted | None) -> None:
        self.done, self.wanted, self.progress = 0, wanted, progress

    def add(self, showers: int) -> None:
        """So many more are done."""
        self.done += showers
        if showers and self.progress is not None:
            self.progress(self.done, self.wanted)


def _most_showers(fit: BespokeFit) -> int:
    """What a solver's training draws; the local error needs no showers."""
    return fit.training.iterations * fit.batch_size if fit.truncation == "global" else 0


def _plan(fit: BespokeFit) -> tuple[int, int, int]:
    """What the references depend on."""
    return fit.showers, fit.batch_size, fit.reference_steps
