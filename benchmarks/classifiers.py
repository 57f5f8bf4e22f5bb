"""Every published classifier test for a few epochs: cost, parameters, scores.

    python benchmarks/classifiers.py ../shared/data/electrons-1-100GeV_calochallenge-2_train.h5 \
        -o benchmarks/results/classifiers_calochallenge-2.json

Half of the showers against the other half with 3 % more energy. One thread; CPU time, so that a
busy machine disturbs little. The scores show that the tests work: with so few showers and epochs
they mean nothing beside published ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import caloforge as cf
from caloforge.evaluation import Sample
from caloforge.evaluation.classifiers import PROTOCOLS, Protocol, classify, take_columns
from caloforge.evaluation.classifiers.inputs import take_inputs
from caloforge.evaluation.classifiers.networks import build_network
from caloforge.generation.timing import hardware


def flop_per_shower(sample: Sample, protocol: Protocol, n: int = 4) -> float:
    """Floating-point operations of the network, forward and backward."""
    inputs = take_inputs(take_columns(sample, protocol.inputs), protocol.inputs)
    network = build_network(protocol, inputs.shape[1], inputs.geometry).double()
    batch = inputs.batch(torch.arange(n)).nan_to_num()
    with FlopCounterMode(display=False) as counter:
        logit = network(batch).squeeze(-1)
        functional.binary_cross_entropy_with_logits(logit, torch.ones_like(logit)).backward()
    return counter.get_total_flops() / n


def row(first: Sample, second: Sample, protocol: Protocol, epochs: int) -> dict[str, Any]:
    marks = []
    found = classify(
        take_columns(first, protocol.inputs),
        take_columns(second, protocol.inputs),
        dataclasses.replace(protocol, epochs=epochs),
        seed=0,
        device="cpu",
        progress=lambda epoch, of: marks.append(time.process_time()),
    )
    flop = flop_per_shower(first, protocol)
    seconds = min(after - before for before, after in pairwise(marks))
    trained = 2 * protocol.cuts(len(first))[0]
    published = 2 * protocol.cuts(protocol.n_showers)[0] * protocol.epochs
    print(f"{protocol.name:22} {seconds:7.2f} s/epoch  AUC {found.auc:.3f}", flush=True)
    return {
        "protocol": protocol.name,
        "parameters": found.n_parameters,
        "precision": protocol.precision,
        "showers_trained_on": trained,
        "epochs": epochs,
        "cpu_seconds_per_epoch": round(seconds, 3),
        "GFLOP_per_epoch": round(flop * trained / 1e9, 2),
        "GFLOP_per_cpu_second": round(flop * trained / 1e9 / seconds, 1),
        "GFLOP_of_a_published_run": float(f"{flop * published / 1e9:.3g}"),
        "auc": round(found.auc, 4),
        "jsd": round(found.jsd, 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("showers", type=Path)
    parser.add_argument("-n", type=int, default=2000, help="showers of each sample")
    parser.add_argument("--epochs", type=int, default=2, help="2 or more")
    parser.add_argument("--n-convolutions", type=int, default=200, help="-n for convolutions")
    parser.add_argument("--protocols", nargs="+", default=None)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    showers = cf.read(arguments.showers)
    n = min(arguments.n, len(showers) // 2)
    other = showers[n : 2 * n]
    other = dataclasses.replace(other, energy=np.float32(1.03) * other.energy)
    pairs = {
        k: (Sample.of(showers[:k]), Sample.of(other[:k]))
        for k in {n, min(n, arguments.n_convolutions)}
    }
    published = [name for name, protocol in PROTOCOLS.items() if protocol.comparable]
    rows = []
    for protocol in (PROTOCOLS[name] for name in arguments.protocols or published):
        size = n if protocol.network == "dense" else min(n, arguments.n_convolutions)
        rows.append(row(*pairs[size], protocol, arguments.epochs))
    results = {
        "machine": {**hardware(["cpu"]), "threads": 1},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "showers": arguments.showers.name,
        "rows": rows,
    }
    text = json.dumps(results, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
