"""Quality of CaloDREAM's showers against the evaluations that their solver takes, as its figure 9.

    python benchmarks/solvers.py runs/calodream --data test.h5 --other train.h5 \
        -o benchmarks/results/solvers_small.json

Every solver samples showers of the same layer energies from the same noise, so that nothing but the
solver differs. Bespoke solvers that the run has not are trained first. Written are the AUC and JSD
of classifier tests, their errors and their floor, Geant4 against Geant4, and beside them a figure
of the AUC. Energies, solvers, showers and scores are kept in a folder: a second call makes only
what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import caloforge as cf
from caloforge.cascade import SamplingOptions, System
from caloforge.cascade.draw import Draw
from caloforge.cascade.seeds import Seeds
from caloforge.cli.progress import EvaluationDisplay, GenerationDisplay
from caloforge.cli.terminal import console
from caloforge.data import Parts, replacing
from caloforge.evaluation import Scores
from caloforge.evaluation.meanings import classifier_title
from caloforge.generation import GenerationProgress, training_energies
from caloforge.matching import (
    BespokeTraining,
    NonStationary,
    Reference,
    Solver,
    make_solver,
)
from caloforge.report.figures import GEANT4, LIGHT, encode, style
from caloforge.report.lines import line_of, symbol_of
from caloforge.showers import Particles, VoxelShowers
from caloforge.stages.bespoke import BespokeSolvers, followed
from caloforge.stages.config import BespokeFit
from caloforge.stages.shape import ShapeStage
from caloforge.training import RunFolder

FAMILIES = {
    "euler": "Euler",
    "midpoint": "Midpoint",
    "rk4": "RK4",
    "bns-global": "BNS, global",
    "bns": "BNS, local",
    "distilled": "distilled",
}
SOLVERS = (
    *(f"euler-{n}" for n in (4, 8, 16, 32, 64)),
    *(f"midpoint-{n}" for n in (2, 4, 8, 16, 32)),
    *(f"rk4-{n}" for n in (1, 2, 4, 8, 16)),
    *(f"{family}-{n}" for family in ("bns-global", "bns") for n in (4, 8, 16, 32)),
)
METRICS = ("small-shower", "small-voxels")  # high and low level
SHAPE = "shape"  # branch of the random numbers: the energies have the same seed


@dataclass(frozen=True)
class Study:
    """What is sampled, and where it is kept.

    Args:
        run: a trained CaloDREAM.
        system: of the run.
        reference: showers of Geant4.
        energies: incident energies [MeV], shape (n,).
        folder: where all is kept that is made.
        fit: how bespoke solvers are trained, whatever their steps and truncation.
        global_iterations: most iterations for the global error, which takes evaluations in each.
        energy_solver: that of the layer energies, None for the system's own.
        precision: of the shape network.
        seed: of everything that is sampled.
        batch_size: showers sampled at once.
        device: where to compute.
    """

    run: Path
    system: System
    reference: VoxelShowers
    energies: np.ndarray[Any, np.dtype[np.float32]]
    folder: Path
    fit: BespokeFit
    global_iterations: int
    energy_solver: str | None
    precision: Literal["32", "bf16"]
    seed: int
    batch_size: int
    device: str

    @cached_property
    def trained(self) -> Path:
        """The folder of bespoke solvers."""
        weights = [self._weights(stage) for stage in ("energies", "shape")]
        settings = (asdict(self.fit), self.global_iterations, self.seed, self.device)
        return self._named("solvers", weights, *settings)

    @cached_property
    def sampled(self) -> Path:
        """The folder of layer energies and showers."""
        energies = hashlib.sha256(self.energies.tobytes()).hexdigest()
        settings = (self.energy_solver, self.precision, self.batch_size, energies)
        return self._named("showers", self.trained.name, *settings)

    def _weights(self, stage: str) -> str:
        """What a stage's weights and transforms are."""
        digest = hashlib.sha256()
        for name in ("weights.safetensors", "transforms.json"):
            digest.update((self.run / "stages" / stage / name).read_bytes())
        return digest.hexdigest()

    def _file(self, solver: str) -> Path:
        """The file of a solver's showers, named after what was learned as well."""
        found = ShapeStage.of(self.system.stages, "shape").trained_solvers.get(solver)
        if found is None:
            return self.sampled / f"{solver}.h5"
        if isinstance(found, NonStationary):
            learned = hashlib.sha256(json.dumps(found.state()).encode()).hexdigest()
        else:
            learned = self._weights("distilled")
        return self.sampled / f"{solver}-{learned[:12]}.h5"

    def _named(self, kind: str, *depends_on: Any) -> Path:
        """A folder named after all that its content depends on."""
        digest = hashlib.sha256(json.dumps(depends_on).encode()).hexdigest()
        folder = self.folder / f"{kind}-{digest[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def batches(self) -> Iterator[tuple[int, slice]]:
        """Number and showers of each batch."""
        for number, start in enumerate(range(0, len(self.energies), self.batch_size)):
            yield number, slice(start, start + self.batch_size)

    @property
    def seeds(self) -> Seeds:
        """Of all showers."""
        return Seeds.of(self.seed, np.arange(len(self.energies)), self.device)

    @cached_property
    @torch.no_grad()
    def layer_energies(self) -> torch.Tensor:
        """Layer energies [MeV] of all solvers' showers, shape (n, layers)."""
        path = self.sampled / "layer_energies.npy"
        if not path.exists():
            self.system.prepare(self.device)
            options = SamplingOptions(energy_solver=self.energy_solver)
            sampled = []
            with counted("layer energies", len(self.energies)) as count:
                for _, batch in self.batches():
                    quantities = self.system.quantities(
                        self.energies[batch],
                        seeds=self.seeds[batch],
                        options=options,
                        before="shape",
                    )
                    sampled.append(quantities["layer_energies"].cpu().numpy())
                    count(len(sampled[-1]))
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, np.concatenate(sampled))
        return torch.as_tensor(np.load(path))

    def showers(self, solver: str) -> Path:
        """The file of a solver's showers."""
        path = self._file(solver)
        if path.exists():
            return path
        self.system.prepare(self.device)
        batches = dict(self.batches())
        parts = Parts(path, len(batches), {"solver": solver}, resume=True)
        missing = parts.missing()
        with counted(solver, len(self.energies)) as count:
            count(len(self.energies) - sum(len(self.energies[batches[i]]) for i in missing))
            for number in missing:
                batch = batches[number]
                made = self.system.draw(
                    self.energies[batch],
                    seeds=self.seeds[batch].branch(SHAPE),
                    options=SamplingOptions(solver=solver, precision=self.precision),
                    given={"layer_energies": self.layer_energies[batch]},
                )
                parts.save(number, made)
                count(len(made))
        return parts.assemble({"run": self.run.name, "solver": solver, "seed": self.seed})

    def train_bespoke(self, solvers: list[str]) -> None:
        """Hand the shape network the bespoke solvers that its run has not."""
        shape = ShapeStage.of(self.system.stages, "shape")
        trained: dict[str, Solver] = dict(shape.trained_solvers)
        for name in solvers:
            wanted = re.fullmatch(r"bns(-global)?-(\d+)", name)
            if not wanted or name in trained:
                continue
            truncation = "global" if wanted[1] else "local"
            settings = {**vars(self.fit), "truncation": truncation, "steps": int(wanted[2])}
            if truncation == "global":
                training = replace(self.fit.training, iterations=self.global_iterations)
                settings["training"] = training
            bespoke = BespokeSolvers([BespokeFit(**settings)])
            path = self.trained / f"{name}.json"
            if path.exists():
                bespoke.load_state(json.loads(path.read_text()))
            else:
                begin = time.monotonic()
                references = self.references
                bespoke.train_one(name, shape, references)
                last = bespoke.curves[name][-1]
                console.print(
                    f"{name}: trained for {last.iteration} iterations in "
                    f"{time.monotonic() - begin:.0f} s"
                )
                with replacing(path) as temporary:
                    temporary.write_text(json.dumps(bespoke.state()))
            trained |= bespoke.solvers
        shape.trained_solvers = trained

    @cached_property
    def references(self) -> list[Reference]:
        """What bespoke solvers are trained with, at energies of the training sample."""
        config = RunFolder(self.run).config()
        energies = training_energies(config, self.fit.showers, self.seed)
        self.system.prepare(self.device)
        with counted("references", self.fit.showers) as count:
            draw = Draw(
                self.system,
                self.reference,
                self.seed,
                self.device,
                progress=lambda *_: count(self.fit.batch_size),
            )
            upstream = self.system.upstream("shape") | {
                "shape": ShapeStage.of(self.system.stages, "shape")
            }
            return followed(upstream, draw, Particles.of(energies), self.fit)


@contextmanager
def counted(title: str, n: int) -> Iterator[Callable[[int], None]]:
    """A progress bar for n showers, moved by the number of those that were done."""
    display, begin, done = GenerationDisplay(console, title, n), time.monotonic(), 0

    def count(showers: int) -> None:
        nonlocal done
        done += showers
        rate = done / max(1e-9, time.monotonic() - begin)
        display(GenerationProgress(done, n, rate))

    with display.live():
        yield count


def main() -> None:
    asked = parsed()
    system = cf.load(asked.run)
    reference = cf.read(asked.data)
    fit = BespokeFit(
        steps=1,
        showers=asked.references,
        batch_size=asked.reference_batch,
        reference_steps=asked.reference_steps,
        training=BespokeTraining(iterations=asked.iterations),
    )
    study = Study(
        asked.run,
        system,
        reference,
        training_energies(RunFolder(asked.run).config(), asked.n or len(reference), asked.seed),
        asked.folder or asked.run.with_name(f"{asked.run.name}.solvers"),
        fit,
        asked.global_iterations,
        asked.energy_solver,
        asked.precision,
        asked.seed,
        asked.batch_size,
        asked.device,
    )
    shape = ShapeStage.of(system.stages, "shape")
    names = asked.solvers or [*SOLVERS, *(n for n in shape.trained_solvers if n not in SOLVERS)]
    for name in names:  # a wrong name is refused before anything is sampled
        if not name.startswith("bns-") and evaluations(name, system) is None:
            raise ValueError(f"{name} has no fixed number of evaluations: leave it out")
    study.train_bespoke(names)
    samples = {name: cf.read(study.showers(name)) for name in names}
    display = EvaluationDisplay(console)
    with display.live():
        scores = cf.evaluate(
            reference,
            samples,
            other=cf.read(asked.other) if asked.other else None,
            metrics=asked.metrics,
            seed=asked.seed,
            cache=study.folder / "scores",
            progress=display,
        )
    result = {
        "run": asked.run.name,
        "geometry": system.geometry.name,
        "parameters": system.n_parameters,
        "reference": asked.data.name,
        "other": asked.other.name if asked.other else None,
        "seed": asked.seed,
        "energy_solver": asked.energy_solver,
        "precision": asked.precision,
        "global_iterations": asked.global_iterations,
        "bespoke": {k: v for k, v in asdict(fit).items() if k not in ("steps", "truncation")},
        "rows": rows(scores, system),
    }
    print(scores.to_markdown())
    with replacing(asked.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    with replacing(asked.output.with_suffix(".png")) as temporary:
        temporary.write_bytes(encode(figure_of(result["rows"]), "png"))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="Geant4 showers, the reference")
    parser.add_argument("--other", type=Path, help="more of them, else halves are compared")
    parser.add_argument("--solvers", type=lambda text: text.split(","), help="comma-separated")
    parser.add_argument("--metrics", type=lambda text: text.split(","), default=METRICS)
    parser.add_argument("-n", type=int, help="showers of each solver; by default the reference's")
    parser.add_argument("--energy-solver")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--references", type=int, default=400, help="to train bespoke solvers")
    parser.add_argument("--reference-batch", type=int, default=100)
    parser.add_argument("--reference-steps", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=5000, help="of bespoke training, at most")
    parser.add_argument("--global-iterations", type=int, default=5000, help="for the global error")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="what is made; by default <run>.solvers")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON, a PNG beside it")
    return parser.parse_args()


def evaluations(name: str, system: System) -> int | None:
    return make_solver(name, ShapeStage.of(system.stages, "shape").trained_solvers).n_evaluations


def rows(scores: Scores, system: System) -> list[dict[str, Any]]:
    """A row for each score."""
    return [
        {
            "solver": score.candidate,
            "evaluations": evaluations(score.candidate, system),
            "metric": score.metric,
            "observable": score.observable,
            "value": score.value,
            "error": score.error,
            "floor": score.floor,
            "floor_error": score.floor_error,
            "n_showers": score.n_showers,
        }
        for score in scores.values
    ]


def figure_of(scores: list[dict[str, Any]]) -> Figure:
    """AUC against the number of evaluations, a panel for each classifier test."""
    metrics = list(dict.fromkeys(row["metric"] for row in scores))
    with style():
        figure = Figure(figsize=(4.6 * len(metrics), 4.8), layout="constrained")
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
        for axes, metric in zip(panels, metrics, strict=True):
            of_metric = [r for r in scores if (r["metric"], r["observable"]) == (metric, "auc")]
            draw_panel(axes, of_metric)
            axes.set_title(f"sees {classifier_title(metric)}", fontsize=11)
            axes.set_xlabel("function evaluations")
        panels[0].set_ylabel("AUC")
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=10)
    return figure


def draw_panel(axes: Axes, scores: list[dict[str, Any]]) -> None:
    floor, spread = scores[0]["floor"], scores[0]["floor_error"]
    axes.axhspan(floor - spread, floor + spread, color=LIGHT, linewidth=0)
    axes.axhline(floor, color=GEANT4, linewidth=1, linestyle="--", label="Geant4")
    for number, (family, title) in enumerate(FAMILIES.items()):
        known = [row for row in scores if re.fullmatch(rf"{family}-\d+", row["solver"])]
        known.sort(key=lambda row: row["evaluations"])
        if not known:
            continue
        x, y, error = (
            np.asarray([row[key] for row in known]) for key in ("evaluations", "value", "error")
        )
        line = {**symbol_of(number), **line_of(number)}
        axes.plot(x, y, label=title, **line)
        axes.fill_between(x, y - error, y + error, color=line["color"], alpha=0.2, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


if __name__ == "__main__":
    main()
