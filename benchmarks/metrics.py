"""What each metric costs: time of one core and memory, by the number of showers.

    python benchmarks/metrics.py truth.h5 --training train.h5 -o benchmarks/results/metrics.json

Each metric of any voxels, but for the classifiers of published settings, is taken of n showers of
the file beside n others, with a floor from n more, in a process of its own with one thread.
`seconds_cpu` is time of the processor without the observables that all metrics share, which have a
line of their own; `peak_MB` is of the process, Python's libraries included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import caloforge as cf
from caloforge.evaluation import EvaluationProgress
from caloforge.evaluation.catalogue import DEFAULT_METRICS, OF_TRAINING, TESTS
from caloforge.generation.timing import hardware

METRICS = (*DEFAULT_METRICS, "small-ratios", "small-adjacent-layers", *OF_TRAINING, *TESTS)
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def take(path: Path, training: Path, metric: str, n: int) -> dict[str, Any]:
    """Take one metric; run in a process of its own."""
    begun: list[float] = []  # the first step of the metric itself

    def progress(step: EvaluationProgress) -> None:
        if step.task.startswith(f"{metric} of") and not begun:
            begun.append(time.process_time())

    with cf.open_showers(path) as file, cf.open_showers(training) as learned:
        first, second, third = (file[i * n : (i + 1) * n] for i in range(3))
        known = learned[:] if metric in OF_TRAINING else None
    warnings.simplefilter("ignore")
    start = time.process_time()
    cf.evaluate(
        first,
        {"others": second},
        other=third,
        training=known,
        metrics=[metric],
        progress=progress,
    )
    end = time.process_time()
    return {
        "metric": metric,
        "n": n,
        "seconds_cpu": round(end - begun[0], 2),
        "seconds_cpu_observables": round(begun[0] - start, 2),
        "peak_MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def in_own_process(path: Path, training: Path, metric: str, n: int) -> dict[str, Any]:
    command = [sys.executable, __file__, str(path), "--training", str(training)]
    command += ["--metric", metric, "-n", str(n)]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("showers", type=Path, help="three times n Geant4 showers")
    parser.add_argument("-n", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--training", type=Path, required=True, help="for the search of copies")
    parser.add_argument("--metric", help="only this one, in this process")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.metric:
        found = take(arguments.showers, arguments.training, arguments.metric, arguments.n[0])
        print(json.dumps(found))
        return
    rows = []
    for n in arguments.n:
        for metric in METRICS:
            rows.append(in_own_process(arguments.showers, arguments.training, metric, n))
            print(rows[-1], flush=True)
            if arguments.output:
                record = {"hardware": hardware(["cpu"]), "rows": rows}
                arguments.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
