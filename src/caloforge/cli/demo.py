"""The whole chain on the bundled Geant4 showers: train, generate, time, evaluate, page."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.text import Text

import caloforge as cf
from caloforge import samples
from caloforge.cli.progress import EvaluationDisplay, GenerationDisplay, TrainingDisplay
from caloforge.data import making, open_source, write_files
from caloforge.generation.timing import time_generation
from caloforge.training import RunFolder

__all__ = ["run_demo"]

PRESET = "l2lflows/tiny"
NAME = "L2LFlows, tiny"
BATCH_SIZE = 100  # showers sampled at once, for the time that is printed


def run_demo(output: Path, *, processes: int, seed: int, console: Console) -> Path:
    """Train the tiny preset on the bundled sample and compare it with Geant4.

    Args:
        output: folder of the run, the showers, the scores and the page; a demo that was interrupted
            is resumed there.
        processes: stages that are trained at once.
        seed: of everything.
        console: where to report.

    Returns:
        The page.
    """
    begin = time.monotonic()
    training, test = samples.load("train"), samples.load("test")
    with cf.open_showers(samples.path()) as bundled:
        facts = ("particle", "energy", "generator", "physics", "seed", "command")
        origin = {name: bundled.attributes[name] for name in facts if name in bundled.attributes}
    with making(output):
        cf.write(output / "geant4.h5", test, attributes=origin)
        cf.write(output / "training.h5", training, attributes=origin)
    console.print(
        Text("1. Geant4", "bold"),
        f"{len(training)} electrons of 1 to 100 GeV to train on, "
        f"{len(test)} to compare with ({training.geometry.name}, bundled)",
    )
    console.print(
        Text("2. Train", "bold"),
        f"{PRESET}: {training.geometry.n_layers + 1} flows on "
        f"{processes} processes; a tiny model, minutes of training where the paper spends days",
    )
    system = cf.build(PRESET, training.geometry, seed=seed)
    display = TrainingDisplay(console, len(system.stages))
    with display.live():
        cf.train(
            system,
            training,
            run=output / "run",
            seed=seed,
            processes=processes,
            resume=(output / "run").exists(),
            progress=display,
        )
    trained = time.monotonic()
    console.print(
        Text("3. Generate", "bold"),
        f"{len(test)} showers at the energies of the test sample",
    )
    generation = GenerationDisplay(console, "showers", len(test))
    with generation.live():
        file = cf.generate(
            system,
            test.particles,
            seed=seed + 1,
            output=output / "generated.h5",
            attributes={"run": "run", **RunFolder(output / "run").effort()},
            resume=True,
            progress=generation,
        )
    made = time.monotonic()
    timing = time_generation(output / "run", batch_sizes=[BATCH_SIZE], runs=3, n_showers=BATCH_SIZE)
    write_files({output / "timing.json": timing.to_json()})
    timed = time.monotonic()
    console.print(Text("4. Evaluate", "bold"), "against Geant4, and Geant4 against itself")
    with (
        cf.open_showers(output / "geant4.h5") as geant4,
        cf.open_showers(file) as candidate,
        closing(open_source(output / "training.h5")) as learned,
    ):
        evaluation = EvaluationDisplay(console)
        with evaluation.live():
            scores = cf.evaluate(
                geant4,
                {NAME: candidate},
                training=learned,
                timing={NAME: {**json.loads(timing.to_json()), "file": "timing.json"}},
                seed=seed,
                cache=output / "cache",
                progress=evaluation,
            )
    scores.save(output, figures=["png"])
    page = output / "report.html"
    seconds = {
        "train": trained - begin,
        "generate": made - trained,
        "time": timed - made,
        "evaluate": time.monotonic() - timed,
        "total": time.monotonic() - begin,
    }
    rounded = {name: round(value, 1) for name, value in seconds.items()}
    write_files({output / "seconds.json": json.dumps(rounded)})
    console.print(
        f"trained in {seconds['train']:.0f} s, generated {len(test) / seconds['generate']:.0f} "
        f"showers/s, evaluated in {seconds['evaluate']:.0f} s; {seconds['total']:.0f} s in all"
    )
    return page
