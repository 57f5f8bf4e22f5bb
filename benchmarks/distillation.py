"""Objectives of the distillation of CaloDREAM's shape network, each trained for the same time.

    python benchmarks/distillation.py runs/calodream --data train.h5 --reference test.h5 \
        --minutes 10 -o benchmarks/results/distillation_small.json

Students begin as copies of the shape network and are trained one after the other on a single
thread, for the same processor time of it, the teacher's evaluations included: other programs on the
machine disturb that less than the time on the clock. Written are, for one step from noise, how far
they are from where the teacher leads, for showers of the validation split, and the AUC of showers
that have the same layer energies and begin at the same noise: with the mean of what a student
cannot distinguish, and with hits sampled from it. Beside them stands the run's own distilled
network.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import caloforge as cf
from caloforge.cascade import SamplingOptions, ShowerQuantities, System
from caloforge.cascade.seeds import Seeds
from caloforge.data import replacing
from caloforge.evaluation import Scores
from caloforge.generation import training_energies
from caloforge.matching import (
    DrawnHits,
    FlowMap,
    LinearPath,
    RungeKutta,
    Solver,
    flow_map_loss,
    hit_spread,
    jumps,
    make_solver,
)
from caloforge.showers import VoxelShowers
from caloforge.stages.shape import ShapeStage
from caloforge.systems.calodream.distilled import DistilledStage
from caloforge.training import RunFolder
from caloforge.training.average import MovingAverage
from caloforge.training.loop import split
from caloforge.training.schedule import follow_schedule

METRIC = "l2lflows-high"  # nine observables
BATCH = 100  # showers sampled at once
DECAY = 0.97  # of a student's moving average, whose training is short
OWN = "the run's own"


@dataclass(frozen=True)
class Teacher:
    """The trained system, and the showers that its shape network saw in training.

    Args:
        run: its folder.
        data: the training sample.
    """

    run: Path
    data: Path

    @cached_property
    def system(self) -> System:
        system = cf.load(self.run)
        system.prepare("cpu")
        for stage in system.stages.values():
            stage.requires_grad_(False)
        return system

    @cached_property
    def samples(self) -> tuple[ShowerQuantities, ShowerQuantities]:
        """Training and validation split."""
        names = ("energy_inc", "layer_energies", "showers")
        sample = ShowerQuantities(cf.read(self.data), names)
        share = self.system.config.shape.recipe.validation
        return split(sample, share, RunFolder(self.run).config()["seed"])

    @torch.no_grad()
    def velocity(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        """In half precision, as every objective here sees it."""
        with torch.autocast("cpu", torch.bfloat16):
            return ShapeStage.of(self.system.stages, "shape").velocity(x, t, context).to(x.dtype)

    def student(self) -> DistilledStage:
        """A copy that is told where a jump ends as well."""
        shape = ShapeStage.of(self.system.stages, "shape")
        config = replace(self.system.config.distillation, ending="mean")
        student = DistilledStage(config, self.system.config.shape, shape)
        student.fit(self.samples[0], self.system.upstream("distilled"), torch.Generator())
        return student


class Objective(ABC):
    """What a student minimises.

    Args:
        teacher: the teacher.
        student: the student.
    """

    batch_size = 16

    def __init__(self, teacher: Teacher, student: DistilledStage) -> None:
        self.teacher, self.student = teacher, student

    @abstractmethod
    def loss(self, data: Tensor, noise: Tensor, context: Tensor, rng: torch.Generator) -> Tensor:
        """A scalar, of images and noise of shape (n, ...)."""

    def stepped(self) -> None:  # noqa: B027
        """The student has changed; most objectives need not know."""


class FlowMapRegression(Objective):
    """Jumps of 1, 1/2 and 1/4 of the teacher's trajectories, as `DistilledStage`."""

    batch_size = 8

    def loss(self, data: Tensor, noise: Tensor, context: Tensor, rng: torch.Generator) -> Tensor:
        found = jumps(self.teacher.velocity, noise, context, solver=solver_of(4), largest=4)
        return flow_map_loss(self.student.mean_velocity, found)


class EndRegression(Objective):
    """The jump from noise to the end of the teacher's trajectories alone."""

    def loss(self, data: Tensor, noise: Tensor, context: Tensor, rng: torch.Generator) -> Tensor:
        found = jumps(self.teacher.velocity, noise, context, solver=solver_of(4), largest=1)
        return flow_map_loss(self.student.mean_velocity, found)


class Consistency(Objective):
    """Neighbours on a trajectory lead to one end (arXiv:2303.01469, algorithm 2).

    The teacher takes one step between them, and where its end leads is asked of the student's
    moving average.
    """

    times, decay = 16, 0.95

    def __init__(self, teacher: Teacher, student: DistilledStage) -> None:
        super().__init__(teacher, student)
        self.average = copy.deepcopy(student).requires_grad_(False)

    def loss(self, data: Tensor, noise: Tensor, context: Tensor, rng: torch.Generator) -> Tensor:
        number = torch.randint(self.times, (len(data),), generator=rng)
        number[: len(data) // 4] = 0  # where showers begin
        now, h = number / self.times, 1 / self.times
        x = LinearPath(noise, data).at(now)
        middle = x + h / 2 * self.teacher.velocity(x, now, context)
        neighbour = x + h * self.teacher.velocity(middle, now + h / 2, context)
        with torch.no_grad():
            later = (now + h).clamp_max(1 - h)
            target = end_of(self.average, neighbour, later, context)
            target = torch.where(wide(number == self.times - 1), neighbour, target)
        return (end_of(self.student, x, now, context) - target).square().mean()

    @torch.no_grad()
    def stepped(self) -> None:
        for mean, value in zip(self.average.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(value, 1 - self.decay)


class MeanFlow(Objective):
    """u = v + (t - s) du/ds along the trajectory (arXiv:2505.13447, equation 6).

    Jumps end at t, which in half of them is 1, and a quarter begins at noise; errors have the
    weight 1 / (error + 0.01) of its section 4.3.
    """

    def loss(self, data: Tensor, noise: Tensor, context: Tensor, rng: torch.Generator) -> Tensor:
        n = len(data)
        times = torch.rand(n, 2, generator=rng).sort(1).values
        times[: n // 2, 1] = 1
        times[: n // 4, 0] = 0
        times[:, 0].clamp_(max=0.95)  # bits have no derivative at the end
        x = LinearPath(noise, data).at(times[:, 0])
        velocity = self.teacher.velocity(x, times[:, 0], context)
        moving = torch.tensor([1.0, 0.0]).expand(n, 2)
        u = partial(self.student.mean_velocity, context=context)
        # fused attention has no forward derivative on processors
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            _, change = torch.func.jvp(u, (x, times), (velocity, moving))
        target = velocity + wide((times[:, 1] - times[:, 0]).clamp_min(0)) * change
        error = (u(x, times) - target).square().flatten(1).mean(1)
        return (error / (error.detach() + 0.01)).mean()


OBJECTIVES: dict[str, type[Objective]] = {
    "flow map": FlowMapRegression,
    "end": EndRegression,
    "consistency": Consistency,
    "mean flow": MeanFlow,
}


def solver_of(steps: int) -> RungeKutta:
    solver = make_solver(f"midpoint-{steps}")
    assert isinstance(solver, RungeKutta)
    return solver


def wide(values: Tensor) -> Tensor:
    """Shape (n, 1, 1, 1, 1) of (n,)."""
    return values[:, None, None, None, None]


def end_of(student: DistilledStage, x: Tensor, now: Tensor, context: Tensor) -> Tensor:
    """x(1) as the student jumps to it."""
    times = torch.stack([now, torch.ones_like(now)], 1)
    return x + wide(1 - now) * student.mean_velocity(x, times, context)


def trained(
    name: str, teacher: Teacher, seconds: float, seed: int
) -> tuple[DistilledStage, dict[str, float]]:
    """A student, and what it was trained with."""
    rng = torch.Generator().manual_seed(seed)
    objective = OBJECTIVES[name](teacher, teacher.student())
    student, (sample, _) = objective.student, teacher.samples
    shape = ShapeStage.of(teacher.system.stages, "shape")
    recipe = student.train().recipe
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=recipe.weight_decay)
    average = MovingAverage(student, DECAY)
    begin, steps = time.thread_time(), 0
    while (share := (time.thread_time() - begin) / seconds) < 1:
        chosen = torch.randint(len(sample), (objective.batch_size,), generator=rng)
        batch = shape.batch(sample.take(chosen), {}, rng)
        noise = torch.randn(batch["x"].shape, generator=rng)
        loss = objective.loss(batch["x"], noise, batch["context"], rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), recipe.gradient_clip or math.inf)
        follow_schedule(optimizer, recipe, round(1000 * share), 1001)
        optimizer.step()
        objective.stepped()
        steps += 1
        average.update(student, steps)
    average.swap(student)
    return student, {"steps": steps, "batch_size": objective.batch_size, "seconds": seconds}


@dataclass(frozen=True)
class Ends:
    """Where the teacher leads, for showers of the validation split.

    Args:
        noise: where trajectories begin, shape (n, ...).
        data: where they end, of the same shape.
        context: of the shape network.
    """

    noise: Tensor
    data: Tensor
    context: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, teacher: Teacher, n: int, seed: int) -> Ends:
        shape, (_, sample) = ShapeStage.of(teacher.system.stages, "shape"), teacher.samples
        context = shape.context(sample.take(torch.arange(n)), teacher.system.upstream("shape"))
        noise = torch.randn(n, *shape.shape, generator=torch.Generator().manual_seed(seed))
        ends = [
            solver_of(16)(shape.velocity, *part)
            for part in zip(noise.split(32), context.split(32), strict=True)
        ]
        return cls(noise, torch.cat(ends), context)

    @torch.no_grad()
    def missed(self, student: DistilledStage) -> dict[str, float]:
        """How far one step of a student is from them."""
        reached = FlowMap(student.mean_velocity, 1)(student.mean_velocity, self.noise, self.context)
        hit, found = self.data[:, 0] > 0, reached[:, 0] > 0
        return {
            "mean_square": (reached - self.data).square().mean().item(),
            "hits": (found.sum() / hit.sum()).item(),  # in units of the teacher's
            "other_hits": ((found != hit).sum() / hit.sum()).item(),
            "spread": hit_spread(reached, self.data).item(),
        }


def showers(
    solvers: dict[str, Solver], teacher: Teacher, n: int, seed: int
) -> dict[str, VoxelShowers]:
    """Showers of each solver, of the same layer energies and begun at the same noise."""
    system, shape = teacher.system, ShapeStage.of(teacher.system.stages, "shape")
    shape.trained_solvers = solvers
    energies = training_energies(RunFolder(teacher.run).config(), n, seed)
    parts: dict[str, list[VoxelShowers]] = {name: [] for name in solvers}
    for start in range(0, n, BATCH):
        batch = energies[start : start + BATCH]
        seeds = Seeds.of(seed, np.arange(start, start + len(batch)))
        with torch.no_grad():
            given = system.quantities(batch, seeds=seeds, before="shape")
        for name in solvers:
            made = system.draw(
                batch,
                seeds=seeds,
                options=SamplingOptions(solver=name, precision="bf16"),
                given={"layer_energies": given["layer_energies"]},
            )
            assert isinstance(made, VoxelShowers)
            parts[name].append(made)
    return {name: VoxelShowers.concatenate(made) for name, made in parts.items()}


def endings(name: str, student: DistilledStage, spread: float) -> dict[str, Solver]:
    """One step to the mean, and one to sampled hits."""
    return {
        f"{name}, mean": FlowMap(student.mean_velocity, 1),
        f"{name}, sampled": DrawnHits(student.mean_velocity, lambda: torch.tensor(spread)),
    }


def main() -> None:
    asked = parsed()
    torch.set_num_threads(1)
    teacher = Teacher(asked.run, asked.data)
    ends = Ends.of(teacher, asked.compared, asked.seed)
    rows: dict[str, dict[str, float]] = {}
    solvers: dict[str, Solver] = {"teacher": solver_of(8)}
    own = teacher.system.stages["distilled"]
    assert isinstance(own, DistilledStage)
    students = {OWN: own}
    for name in (OWN, *asked.objectives):
        known: dict[str, float] = {}
        if name != OWN:
            students[name], known = trained(name, teacher, 60 * asked.minutes, asked.seed)
        student = students[name].eval()
        student.prepare()
        rows[name] = {**known, **ends.missed(student)}
        solvers |= endings(name, student, rows[name]["spread"])
        print(name, rows[name], flush=True)
    scores = cf.evaluate(
        cf.read(asked.reference),
        showers(solvers, teacher, asked.n, asked.seed),
        other=cf.read(asked.data),
        metrics=(METRIC,),
        seed=asked.seed,
        cache=asked.cache,
    )
    print(scores.to_markdown())
    result = {
        "run": asked.run.name,
        "minutes": asked.minutes,
        "seed": asked.seed,
        "compared": asked.compared,
        "objectives": rows,
        "metric": METRIC,
        "auc": aucs(scores),
    }
    with replacing(asked.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")


def aucs(scores: Scores) -> list[dict[str, Any]]:
    return [
        {
            "solver": score.candidate,
            "value": score.value,
            "error": score.error,
            "floor": score.floor,
            "floor_error": score.floor_error,
            "n_showers": score.n_showers,
        }
        for score in scores.values
        if score.observable == "auc"
    ]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="the training sample")
    parser.add_argument("--reference", type=Path, required=True, help="other Geant4 showers")
    parser.add_argument("--minutes", type=float, default=10, help="of each objective, one thread")
    parser.add_argument("--objectives", type=lambda text: text.split(","), default=[*OBJECTIVES])
    parser.add_argument("--compared", type=int, default=96, help="trajectories of the teacher")
    parser.add_argument("-n", type=int, default=1000, help="showers of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="folder for scores")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
