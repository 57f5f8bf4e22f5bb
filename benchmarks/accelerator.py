"""All that is to be known of an accelerator, in one command that keeps to its time.

    python benchmarks/accelerator.py --out results
    python benchmarks/accelerator.py train.h5 --out results
    python benchmarks/accelerator.py --device cpu --minutes 2 --out results

In this order, each within its fraction of the time:

- tests: those marked `gpu`
- presets: of each `paper` preset, with random weights, the generation of batches of 1, 100, 1,000
  and 10,000 showers, and training steps of one stage of each kind, in batches of its recipe
- learning: `calodream/small` on the given showers, or on those that the package brings along, for
  the time that is left

Every figure is written as soon as it is known: `records.jsonl`. At the end of each part they are
gathered in `results.json` and `table.md`; `tests.log` is the output of the tests and `run.zip` the
run folder of what was learned, as far as it came, without the state that only resuming needs. No
file is larger than 16 MB. A part, and each preset, is a process of its own, which is ended when its
time is over; what would not fit the time is left out with a word. Showers of geometries that the
package has no sample of are made of those that it has: times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHARES = {"tests": 0.25, "presets": 0.65, "learning": 1.0}  # of what is left
DRAWING = 0.6  # fraction of the time of a preset
RESERVE = 4.0  # seconds to gather everything in
MARGIN = 3.0  # seconds in which a part ends by itself
BATCHES = (1, 100, 1000, 10_000)
SHOWERS = 64  # that transforms are fitted to
STEPS = 20  # of training that are timed, at most
TABLES = ("tests", "presets", "generation", "training", "learning")
TOP = 10  # operations of a profile
LARGEST = 16_000_000  # bytes of a file


@dataclass(frozen=True)
class Clock:
    """Time that is left until the end of a part [s]."""

    end: float

    @property
    def left(self) -> float:
        return self.end - time.time()


class Records:
    """Figures, a line each, written as soon as they are known."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "records.jsonl"

    def add(self, part: str, **values: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"part": part, **values}) + "\n")
        print(part, *(f"{name}={value}" for name, value in values.items() if name != "top"))
        sys.stdout.flush()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


# ---------------------------------------------------------------- generation and training


def paper_presets() -> list[str]:
    from caloforge.cascade import presets

    return [preset for preset in presets() if "/paper" in preset]


def showers_for(geometry: Any, n: int) -> Any:
    """Showers of a geometry: bundled ones, again and again, in its bins or layers."""
    import numpy as np

    from caloforge import samples
    from caloforge.showers import VoxelShowers

    points = samples.load_points()
    if geometry == points.geometry:
        return points[np.arange(n) % len(points)]
    bundled = samples.load()
    bundled = bundled[np.arange(n) % len(bundled)]
    dense = bundled.dense()
    for axis, size in enumerate(geometry.shape, 1):
        before = dense.shape[axis]
        dense = dense.take(np.arange(size) * before // size, axis) * min(1.0, before / size)
    return VoxelShowers.from_dense(bundled.energy_inc, dense.astype(np.float32), geometry)


def fitted(preset: str, device: str) -> tuple[Any, Any]:
    """A system whose transforms are fitted, with random weights, and its sample."""
    import torch

    import caloforge as cf
    from caloforge.cascade import ShowerQuantities
    from caloforge.cascade.registry import default_geometry
    from caloforge.geometry import geometry_preset

    geometry = geometry_preset(default_geometry(preset))
    system = cf.build(preset, geometry).to(device)
    sample = system.training_sample(showers_for(geometry, SHOWERS))
    rng = torch.Generator(device).manual_seed(0)
    waiting = list(system.stages)
    while waiting:
        name = next(n for n in waiting if not set(system.stages[n].needs) & set(waiting))
        waiting.remove(name)
        stage = system.stages[name]
        learned = ShowerQuantities(sample, stage.learns or (*stage.reads, *stage.writes))
        with torch.no_grad():
            stage.fit(learned.to(device), system.upstream(name), rng)
    return system, sample


def seconds(work: Callable[[], Any], device: str) -> float:
    import torch

    from caloforge.generation.stopwatch import elapsed

    return elapsed(work, torch.get_device_module(device).synchronize)


def measured(preset: str, clock: Clock, records: Records, device: str) -> None:
    """Generation and training of a preset."""
    system, sample = fitted(preset, device)
    generation(preset, system, Clock(time.time() + DRAWING * clock.left), records, device)
    kinds = {type(stage): name for name, stage in reversed(system.stages.items())}
    for done, name in enumerate(sorted(kinds.values())):
        share = Clock(time.time() + clock.left / (len(kinds) - done))
        steps(preset, name, system, sample, share, records, device)


def generation(preset: str, system: Any, clock: Clock, records: Records, device: str) -> None:
    """Time batch after batch while the next one fits the time."""
    before, took = 1, 0.0
    for batch in (1, 10, *BATCHES[1:]):
        most = took * batch / before  # as no shower takes longer in a larger batch
        found: Any = f"up to {most:.3g} s, {clock.left:.3g} s are left"
        if most < clock.left:
            found = sampled(system, batch, device, clock)
        if isinstance(found, str):
            for left in (b for b in BATCHES if b >= batch):
                records.add("generation", preset=preset, batch=left, skipped=found)
            return
        took, before = found, batch
        if batch in BATCHES:
            ms = round(1e3 * took / batch, 4)
            records.add("generation", preset=preset, batch=batch, ms_per_shower=ms)
        if batch == BATCHES[1] and 4 * took < clock.left:
            top = profiled(partial(draw, system, batch, device), device)
            records.add("profile", preset=preset, of=f"{batch} showers", top=top)


def draw(system: Any, batch: int, device: str) -> None:
    import numpy as np

    energies = np.geomspace(1.1e4, 9e4, batch).astype(np.float32)
    system.generate(energies, seed=batch, batch_size=batch, device=device)


def sampled(system: Any, batch: int, device: str, clock: Clock) -> Any:
    """Seconds of a batch, after one that warms up where there is time; why not, as text."""
    import torch

    try:
        took = seconds(lambda: draw(system, batch, device), device)
        if 2 * took < clock.left:
            took = seconds(lambda: draw(system, batch, device), device)
    except torch.OutOfMemoryError:
        return "the memory is too small"
    except FloatingPointError as error:  # of untrained weights
        return str(error)
    finally:
        if device == "cuda":
            torch.cuda.empty_cache()
    return took


def steps(
    preset: str, name: str, system: Any, sample: Any, clock: Clock, records: Records, device: str
) -> None:
    """Steps of a stage, in the largest batch of the recipe, or a part of it, that fits the time."""
    import torch

    from caloforge.cascade import ShowerQuantities

    stage, upstream = system.stages[name].to(device).train(), system.upstream(name)
    stage.requires_grad_(True)
    for needed in upstream.values():
        needed.to(device).eval().requires_grad_(False)
    learned = ShowerQuantities(sample, stage.learns or (*stage.reads, *stage.writes)).to(device)
    rng = torch.Generator(device).manual_seed(0)
    optimizer = torch.optim.AdamW(stage.parameters(), lr=1e-5, fused=True)

    def step(batch: int) -> None:
        showers = torch.arange(batch) % len(learned)
        stage.loss(stage.batch(learned.take(showers), upstream, rng), rng).backward()
        optimizer.step()
        optimizer.zero_grad()

    about = {"preset": preset, "stage": name}
    recipe, batch, took = stage.recipe.batch_size, 1, 0.0
    try:
        while True:
            took = seconds(lambda batch=batch: step(batch), device)
            if batch == recipe or 8 * took * min(8, recipe / batch) > clock.left:
                break
            batch = min(8 * batch, recipe)
        number = max(1, min(STEPS, int(clock.left / (4 * took))))
        took = seconds(lambda: [step(batch) for _ in range(number)], device) / number
    except torch.OutOfMemoryError:
        records.add("training", **about, batch=batch, skipped="the memory is too small")
        return
    rate = {"showers_per_second": round(batch / took, 2), "ms_per_step": round(1e3 * took, 3)}
    records.add("training", **about, batch=batch, batch_of_recipe=recipe, **rate)
    if 8 * took < clock.left:
        top = profiled(lambda: step(batch), device)
        records.add("profile", **about, of=f"a step of {batch} showers", top=top)


def profiled(work: Callable[[], Any], device: str) -> list[dict[str, Any]]:
    """The operations that take most of the time, on the device itself."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with profile(activities=kinds) as found:
        seconds(work, device)
    time_of = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda event: -getattr(event, time_of))
    return [
        {"name": e.key[:80], "ms": round(getattr(e, time_of) / 1e3, 3), "calls": e.count}
        for e in events[:TOP]
    ]


# ---------------------------------------------------------------- learning


class TimeIsUpError(Exception):
    """There is no time left to train."""


def learning(clock: Clock, records: Records, device: str, showers: Path | None) -> None:
    """Train `calodream/small` while there is time; finished stages and best weights are kept."""
    import caloforge as cf
    from caloforge import samples
    from caloforge.data import open_file

    if showers is None:
        sample = samples.load()
    else:
        with open_file(showers) as file:
            sample = file[:]
    last: dict[str, Any] = {}

    def report(progress: Any) -> None:
        last[progress.stage] = progress
        if clock.left < 0:
            raise TimeIsUpError

    system, finished = cf.build("calodream/small", sample.geometry), True
    folder = records.path.parent / "run"
    try:
        cf.train(system, sample, run=folder, device=device, progress=report)
    except TimeIsUpError:
        finished = False
    for name, progress in last.items():
        records.add(
            "learning",
            stage=name,
            step=progress.step,
            steps=progress.steps,
            validation=progress.validation if progress.validation < float("inf") else None,
            showers_per_second=round(progress.showers_per_second, 1),
        )
    records.add("learning", showers=len(sample), finished=finished)


def packed(folder: Path) -> None:
    """The run folder as one file, without what only resuming needs."""
    run = folder / "run"
    if not run.exists():
        return
    with zipfile.ZipFile(folder / "run.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(run.rglob("*")):
            if path.is_file() and path.name != "state.safetensors":
                archive.write(path, path.relative_to(folder))
    if (folder / "run.zip").stat().st_size > LARGEST:
        (folder / "run.zip").unlink()
        for weights in run.rglob("weights.safetensors"):
            if weights.stat().st_size <= LARGEST:
                shutil.copy(weights, folder / f"{weights.parent.name}.safetensors")
    shutil.rmtree(run)


# ---------------------------------------------------------------- the parts, and what they found


def gathered(folder: Path, device: str) -> None:
    """`results.json` and `table.md` of all that is known by now."""
    from caloforge.generation.timing import hardware, software

    records = Records(folder).all()
    results = {"hardware": hardware([device]), "software": software(), "records": records}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "table.md").write_text("\n".join(table(records)) + "\n")


def table(records: list[dict[str, Any]]) -> Iterator[str]:
    of_part = {part: [r for r in records if r["part"] == part] for part in (*TABLES, "profile")}
    for part in TABLES:
        names = list(dict.fromkeys(n for r in of_part[part] for n in r if n != "part"))
        if names:
            yield from (f"## {part}", "", f"| {' | '.join(names)} |", "|---" * len(names) + "|")
            for record in of_part[part]:
                yield f"| {' | '.join(str(record.get(name, '')) for name in names)} |"
            yield ""
    for record in of_part["profile"]:
        yield from (f"## {record['preset']} {record.get('stage', '')}: {record['of']}", "")
        yield from ("| operation | ms | calls |", "|---|---|---|")
        for row in record["top"]:
            yield f"| `{row['name']}` | {row['ms']} | {row['calls']} |"
        yield ""


def run_part(
    part: str, until: float, arguments: argparse.Namespace, preset: str | None = None
) -> str:
    """Run a part in a process of its own and end it when its time is over; returns how it ended."""
    folder, device = arguments.out, arguments.device
    command = [sys.executable, __file__, "--part", part, "--until", str(until)]
    command += ["--device", device, "--out", str(folder)]
    command += ["--preset", preset] if preset else []
    command += [str(arguments.showers)] if arguments.showers else []
    if part == "tests":
        tests = "tests/contracts/test_accelerator.py"
        command = [sys.executable, "-m", "pytest", "-v", "-m", "gpu", "--device", device, tests]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    with (folder / f"{part}.log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            code = process.wait(max(0.0, until - time.time()))
            return "done" if code == 0 else f"failed with exit code {code}, see {part}.log"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "its time was over"


def counted_tests(log: Path) -> dict[str, int]:
    lines = log.read_text().splitlines()
    states = ("PASSED", "FAILED", "ERROR", "SKIPPED")
    return {
        state.lower(): sum(f" {state} " in f"{line} " and "::" in line for line in lines)
        for state in states
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("showers", nargs="?", type=Path, help="file of showers to learn from")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything together")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--part", choices=SHARES, help=argparse.SUPPRESS)
    parser.add_argument("--preset", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    end = time.time() + 60 * arguments.minutes - RESERVE
    arguments.out = arguments.out.resolve()
    arguments.showers = arguments.showers and arguments.showers.resolve()
    records = Records(arguments.out)
    if arguments.part:
        clock = Clock(arguments.until - MARGIN)
        if arguments.preset:
            measured(arguments.preset, clock, records, arguments.device)
        else:
            learning(clock, records, arguments.device, arguments.showers)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    if any(arguments.out.iterdir()):
        parser.error(f"{arguments.out} is not empty: choose another folder")
    for part, share in SHARES.items():
        until = time.time() + share * (end - time.time())
        works = paper_presets() if part == "presets" else [None]
        for number, preset in enumerate(works):
            begin = time.time()
            own = begin + (until - begin) / (len(works) - number)
            ended = run_part(part, own, arguments, preset)
            counts = counted_tests(arguments.out / "tests.log") if part == "tests" else {}
            of = {"preset": preset} if preset else {}
            records.add(part, **of, ended=ended, seconds=round(time.time() - begin, 1), **counts)
            gathered(arguments.out, arguments.device)
    packed(arguments.out)


if __name__ == "__main__":
    main()
