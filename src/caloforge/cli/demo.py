"""The first minutes: showers of a ready model, a generator of one's own, and a page of both."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

import caloforge as cf
from caloforge import samples
from caloforge.cli.progress import EvaluationDisplay, GenerationDisplay, TrainingDisplay
from caloforge.data import making, write_files
from caloforge.generation.timing import time_generation
from caloforge.training import RunFolder, find_run

__all__ = ["run_demo"]

MODEL = "electrons-calochallenge-2"
PRESET = "quilt/copula"
# Metrics of the page that is there within a minute.
FIRST = ("worth", "separation", "wasserstein", "small-shower")
BATCH_SIZE = 1000  # showers sampled at once, for the time that is printed


def run_demo(output: Path, *, processes: int, seed: int, console: Console) -> Path:
    """Judge a ready model, train a generator on the bundled sample, and judge both in one page.

    The reference are the bundled showers that nothing is trained on, no ready model either.

    Args:
        output: folder of showers, run, scores and page; a demo that was interrupted goes on there.
        processes: how many take metrics.
        seed: of everything.
        console: where to report.

    Returns:
        The page.
    """
    demo = _Demo(output, processes, seed, console)
    n_train, n_test = demo.write_geant4()
    demo.say(
        "1. Geant4",
        f"{n_test:,} electrons of 1 to 100 GeV to compare with, {n_train:,} others to train on "
        "(bundled)",
    )
    model = find_run(MODEL)
    demo.say("2. Generate", f"{n_train:,} showers of the ready model {model.name}")
    demo.make(model.name, model)
    demo.say("3. Evaluate", "against Geant4, beside Geant4 against itself")
    page = demo.judge([model.name], FIRST)
    demo.say("The first page", f"{page.resolve()}")
    demo.say("4. Train", f"{PRESET} on the {n_train:,} others")
    demo.train("own")
    demo.make("own", output / "run")
    demo.say("5. Evaluate", "both, with all metrics")
    demo.judge([model.name, "own"])
    demo.write_times()
    return page


@dataclass
class _Demo:
    """The folder of a demo, and what was done in how many seconds."""

    output: Path
    processes: int
    seed: int
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)
    begin: float = field(default_factory=time.monotonic)

    def say(self, title: str, text: str) -> None:
        self.console.print(Text(title, "bold"), Text(text), soft_wrap=True)

    def write_geant4(self) -> tuple[int, int]:
        """Write both parts of the bundled sample; how many showers they have."""
        parts = {"training": samples.load("train"), "geant4": samples.load("test")}
        with cf.open_showers(samples.path()) as bundled:
            facts = ("particle", "energy", "generator", "physics", "seed", "command")
            origin = {name: bundled.attributes[name] for name in facts}
        with making(self.output):
            for name, showers in parts.items():
                cf.write(self._file(name), showers, attributes=origin)
        return len(parts["training"]), len(parts["geant4"])

    def make(self, name: str, run: Path) -> None:
        """Generate showers at the incident energies of the training sample, and take the time."""
        with cf.open_showers(self._file("training")) as training:
            particles = training.particles
        display = GenerationDisplay(self.console, "showers", len(particles))
        with display.live():
            cf.generate(
                cf.load(run),
                particles,
                seed=self.seed + 1,
                output=self._file(name),
                attributes={"run": run.name, **RunFolder(run).effort()},
                batch_size=BATCH_SIZE,
                resume=True,
                progress=display,
            )
        timing = time_generation(run, batch_sizes=[BATCH_SIZE], runs=3, n_showers=BATCH_SIZE)
        write_files({self._timing(name): timing.to_json()})
        self._done(f"generate {name}")

    def train(self, name: str) -> None:
        """Train a generator on the training sample."""
        run = self.output / "run"
        training = cf.read(self._file("training"))
        system = cf.build(PRESET, training.geometry, seed=self.seed)
        display = TrainingDisplay(self.console, len(system.stages))
        with display.live():
            cf.train(
                system, training, run=run, seed=self.seed, resume=run.exists(), progress=display
            )
        self._done(f"train {name}")

    def judge(self, names: Sequence[str], metrics: Sequence[str] | None = None) -> Path:
        """Compare generated showers with Geant4; the page."""
        display = EvaluationDisplay(self.console)
        with ExitStack() as stack:
            opened = {
                name: stack.enter_context(cf.open_showers(self._file(name)))
                for name in ("geant4", "training", *names)
            }
            stack.enter_context(display.live())
            scores = cf.evaluate(
                opened["geant4"],
                {name: opened[name] for name in names},
                training=opened["training"],
                metrics=metrics,
                timing={name: self._timed(name) for name in names},
                seed=self.seed,
                cache=self.output / "cache",
                processes=self.processes,
                progress=display,
            )
        scores.save(self.output)
        self._done(f"evaluate {' and '.join(names)}")
        return self.output / "report.html"

    def write_times(self) -> None:
        """Say what took how long, and keep it."""
        write_files({self.output / "seconds.json": json.dumps(self.seconds)})
        told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        self.say("Time", told)

    def _done(self, what: str) -> None:
        spent = time.monotonic() - self.begin
        self.seconds[what] = round(spent - sum(self.seconds.values()), 1)

    def _timed(self, name: str) -> dict[str, object]:
        timing = self._timing(name)
        return {**json.loads(timing.read_text(encoding="utf-8")), "file": timing.name}

    def _file(self, name: str) -> Path:
        return self.output / f"{name}.h5"

    def _timing(self, name: str) -> Path:
        return self.output / f"timing-{name}.json"
