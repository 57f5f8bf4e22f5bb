"""How fast observables of 100,000 showers are taken on one core, and how long a page takes.

    python benchmarks/evaluation.py train.h5 [more.h5 …] -o benchmarks/results/evaluation.json

The showers of each file are read from it again and again, in a process of its own with one thread:
`features` are the CaloChallenge's, `sample` is everything that an evaluation keeps of a sample.
`seconds_cpu` is time of the processor, without what other processes take. The page is that of three
candidates of 5,000 showers of the first file beside 5,000 others, without classifiers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import caloforge as cf
from caloforge.evaluation import Sample, features
from caloforge.generation.timing import hardware
from caloforge.showers import VoxelShowers

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TASKS = ("features", "sample")


class Repeated:
    """An open file whose showers follow one another until there are n."""

    def __init__(self, file: Any, n: int) -> None:
        self.file, self.n, self.geometry = file, n, file.geometry

    def __len__(self) -> int:
        return self.n

    @property
    def energy_inc(self) -> Any:
        return np.resize(self.file.energy_inc, self.n)

    def __getitem__(self, selection: slice) -> VoxelShowers:
        start, stop, _ = selection.indices(self.n)
        parts = []
        while start < stop:
            first = start % len(self.file)
            parts.append(self.file[first : min(len(self.file), first + stop - start)])
            start += len(parts[-1])
        return VoxelShowers.concatenate(parts) if parts else self.file[0:0]


def take(path: Path, task: str, n: int) -> dict[str, Any]:
    """Take observables of n showers; run in a process of its own."""
    with cf.open_showers(path) as file:
        showers = Repeated(file, n)
        clock, cpu = time.perf_counter(), time.process_time()
        if task == "features":
            features(showers, threshold=file.geometry.threshold)
        else:
            Sample.of(showers)
    return {
        "seconds": round(time.perf_counter() - clock, 1),
        "seconds_cpu": round(time.process_time() - cpu, 1),
        "peak_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def in_own_process(path: Path, task: str, n: int) -> dict[str, Any]:
    command = [sys.executable, __file__, str(path), "--task", task, "-n", str(n)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return {"showers_of": path.stem, "task": task, "n": n, **found}


def page(path: Path) -> dict[str, Any]:
    """Three candidates of 5,000 showers: seconds and size."""
    showers = cf.read(path)
    showers = showers[np.resize(np.arange(len(showers)), 10_000)]
    # Copies would be left out: each shower has an energy of its own.
    factors = np.random.default_rng(0).normal(1, 0.05, len(showers)).astype(np.float32)
    showers = dataclasses.replace(showers, energy=showers.energy * factors[showers.event()])
    first, second = showers[:5000], showers[5000:]
    candidates = {
        f"{factor:g} times the energy": dataclasses.replace(
            second, energy=second.energy * np.float32(factor)
        )
        for factor in (1.0, 1.03, 1.1)
    }
    clock = time.perf_counter()
    metrics = ("separation", "wasserstein", "pearson")
    scores = cf.evaluate(first, candidates, other=second, metrics=metrics)
    scored = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.html"
        scores.save_page(target)
        built = time.perf_counter()
        return {
            "candidates": len(candidates),
            "showers": 5000,
            "seconds_scores": round(scored - clock, 1),
            "seconds_page": round(built - scored, 1),
            "page_MB": round(target.stat().st_size / 1e6, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("-n", type=int, default=100_000)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.task:
        print(json.dumps(take(asked.sources[0], asked.task, asked.n)))
        return
    record = {
        "machine": {**hardware(["cpu"]), "python": platform.python_version()},
        "observables": [
            in_own_process(source, task, n)
            for source in asked.sources
            for task in TASKS
            for n in (asked.n // 4, asked.n)
        ],
        "page": page(asked.sources[0]),
    }
    text = json.dumps(record, indent=1)
    print(text)
    if asked.output:
        asked.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
