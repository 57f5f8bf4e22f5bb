"""How often the tests with a p-value reject Geant4, and how often distorted Geant4.

    python benchmarks/known_errors.py truth.h5 more.h5 -o benchmarks/results/known_errors.json

In each trial as many showers are taken from the first sample as from the second, at random and
without repetition, and tested for being of one distribution. The level is the fraction of p-values
of at most 5 % where both are Geant4; the power that where the second sample is distorted as in
`sensitivity.py`. Trials share a few showers: with 500 of 18,000 each about one in forty.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sensitivity import DISTORTIONS

import caloforge as cf
from caloforge.evaluation import Sample
from caloforge.evaluation.comparison import Columns, Metric
from caloforge.evaluation.metrics.nplm import Nplm
from caloforge.evaluation.metrics.permutation import PermutationTests

ALPHA = 0.05
DISTORTED = 6000  # showers, from which those of all trials are taken


def p_values(
    metrics: list[Metric], reference: Columns, candidate: Columns, size: int, seed: int
) -> Iterator[tuple[str, float, float]]:
    """Name, p-value and seconds of processor time of each test of random showers of two samples."""
    rng = np.random.default_rng(seed)
    pair = []
    for side in (reference, candidate):
        rows = rng.permutation(len(side["features"]))[:size]
        pair.append({name: column[rows] for name, column in side.items()})
    for metric in metrics:
        begin = time.process_time()
        found = metric.compare(*pair, seed)
        seconds = time.process_time() - begin
        for name, p in found.values.items():
            yield name, p, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=500, help="showers of each sample")
    parser.add_argument("--trials", type=int, default=200, help="of Geant4 against Geant4")
    parser.add_argument("--power-trials", type=int, default=20, help="of each distortion")
    parser.add_argument("--permutations", type=int, default=99, help="of each trial")
    parser.add_argument("--timed", type=int, default=5000, help="showers of the test that is timed")
    asked = parser.parse_args()
    geant4, other = (cf.read(path) for path in (asked.reference, asked.other))
    sample = Sample.of(geant4)
    tests, learned = (metric(sample, sample.threshold) for metric in (PermutationTests, Nplm))
    metrics, usual = [tests, learned], (tests.permutations, learned.permutations)
    reference = tests.columns(sample)  # the learned test reads some of them
    begin, rows = time.perf_counter(), []
    for name, (distort, share) in {"none": (None, 0.0), **DISTORTIONS}.items():
        tests.permutations = learned.permutations = asked.permutations
        showers = other if distort is None else distort(other[:DISTORTED], share)
        candidate = tests.columns(Sample.of(showers, edges=sample.spectrum.edges))
        trials = asked.trials if distort is None else asked.power_trials
        found: dict[str, list[float]] = {}
        for trial in range(trials):
            for test, p, _ in p_values(metrics, reference, candidate, asked.size, trial):
                found.setdefault(test, []).append(p)
        rows += [summary(test, name, p) for test, p in found.items()]
        print(f"{time.perf_counter() - begin:.0f} s", *rows[-len(found) :], sep="\n", flush=True)
        if distort is None:
            tests.permutations, learned.permutations = usual
            timed = list(p_values(metrics, reference, candidate, asked.timed, 0))
    record = {
        "showers_of": [asked.reference.name, asked.other.name],
        "n_showers": asked.size,
        "permutations": asked.permutations,
        "seconds": round(time.perf_counter() - begin),
        "processor_seconds_of_one": {
            "n_showers": asked.timed,
            "permutation": round(timed[0][2], 1),
            "nplm": round(timed[-1][2], 1),
        },
        "rows": rows,
    }
    asked.output.write_text(json.dumps(record, indent=1) + "\n")


def summary(test: str, distortion: str, p: list[float]) -> dict[str, Any]:
    """The fraction of trials that reject, with the error of a fraction."""
    rejected = float(np.mean(np.asarray(p) <= ALPHA))
    return {
        "test": test,
        "distortion": distortion,
        "trials": len(p),
        "rejected": round(rejected, 3),
        "error": round(float(np.sqrt(rejected * (1 - rejected) / len(p))), 3),
        "median_p": round(float(np.median(p)), 4),
    }


if __name__ == "__main__":
    main()
