"""Training throughput of the presets, where the time goes, and the spline beside zuko's.

    python benchmarks/training.py -o benchmarks/results/training.json

One thread, the bundled Geant4 showers; CPU time, so that a busy machine disturbs little.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import caloforge as cf
from caloforge import samples
from caloforge.cascade import ShowerQuantities, Stage
from caloforge.flows import Spline
from caloforge.generation.timing import hardware

STEPS = 12

# Which part of a step an operator belongs to, by the first name that its own name contains.
PARTS = {
    "convolution": ("conv", "mkldnn"),
    "batch norm": ("batch_norm",),
    "optimizer": ("adam", "Optimizer"),
    "spline and the rest": ("",),
}


class Training:
    """One stage with its optimizer, as the training loop has them."""

    def __init__(self, preset: str, name: str) -> None:
        showers = samples.load("train")
        system = cf.build(preset, showers.geometry)
        self.stage: Stage = system.stages[name]
        self.quantities = ShowerQuantities(showers, (*self.stage.reads, *self.stage.writes))
        self.rng, self.upstream = torch.Generator().manual_seed(0), system.upstream(name)
        for stage in (*self.upstream.values(), self.stage):
            stage.fit(self.quantities, self.upstream, self.rng)
        self.stage.train()
        self.optimizer = torch.optim.AdamW(self.stage.parameters(), lr=1e-3, fused=True)

    def step(self) -> dict[str, float]:
        """CPU seconds of one step, by phase."""
        showers = torch.randint(len(self.quantities), (self.stage.recipe.batch_size,))
        marks = [time.process_time()]
        batch = self.stage.batch(self.quantities.take(showers), self.upstream, self.rng)
        marks.append(time.process_time())
        loss = self.stage.loss(batch, self.rng)
        marks.append(time.process_time())
        self.optimizer.zero_grad()
        loss.backward()
        marks.append(time.process_time())
        self.optimizer.step()
        marks.append(time.process_time())
        phases = ("batch", "forward", "backward", "optimizer")
        return {n: b - a for n, (a, b) in zip(phases, pairwise(marks), strict=True)}


def throughput(preset: str, name: str) -> dict[str, Any]:
    training = Training(preset, name)
    for _ in range(3):
        training.step()
    steps = sorted((training.step() for _ in range(STEPS)), key=lambda s: sum(s.values()))
    median = steps[STEPS // 2]
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(3):
            training.step()
    shares: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        part = next(p for p, names in PARTS.items() if any(n in event.key for n in names))
        shares[part] += event.self_cpu_time_total
    total = sum(shares.values())
    size = training.stage.recipe.batch_size
    return {
        "parameters": sum(p.numel() for p in training.stage.parameters()),
        "batch_size": size,
        "showers_per_cpu_second": round(size / sum(median.values())),
        "ms_per_step": {phase: round(1e3 * seconds, 2) for phase, seconds in median.items()},
        "share_of_time": {part: round(value / total, 3) for part, value in shares.items()},
    }


def spline(elements: int = 40_000, bins: int = 8) -> dict[str, Any]:
    """ms per million elements, forward with backward and inverse, ours and zuko's."""
    from zuko.transforms import MonotonicRQSTransform

    own = Spline(bins, 15.0)
    x = 5 * torch.randn(elements)
    raw = torch.randn(own.n_parameters, elements, requires_grad=True)
    last = raw.detach().T.contiguous().requires_grad_()

    def own_training() -> None:
        y, log_slope = own.forward(x, raw, dim=0)
        (y.sum() + log_slope.sum()).backward()

    def own_inverse() -> None:
        with torch.no_grad():
            own.inverse(x, raw, dim=0)

    def zuko_transform() -> MonotonicRQSTransform:
        widths, heights, slopes = last.split([bins, bins, bins - 1], -1)
        return MonotonicRQSTransform(widths, heights, slopes, bound=15.0)

    def zuko_training() -> None:
        y, log_slope = zuko_transform().call_and_ladj(x)
        (y.sum() + log_slope.sum()).backward()

    def zuko_inverse() -> None:
        with torch.no_grad():
            zuko_transform().inv(x)

    def milliseconds(work: Any) -> float:
        work()
        times = []
        for _ in range(10):
            begin = time.process_time()
            work()
            times.append(time.process_time() - begin)
        return round(min(times) * 1e3 * 1e6 / elements)

    return {
        "elements": elements,
        "bins": bins,
        "forward_and_backward_ms_per_million": {
            "caloforge": milliseconds(own_training),
            "zuko": milliseconds(zuko_training),
        },
        "inverse_ms_per_million": {
            "caloforge": milliseconds(own_inverse),
            "zuko": milliseconds(zuko_inverse),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path)
    output = parser.parse_args().output
    torch.set_num_threads(1)
    results = {
        "machine": hardware(["cpu"]),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "spline": spline(),
        "training": {
            f"{preset} {stage}": throughput(preset, stage)
            for preset in ("l2lflows/tiny", "l2lflows/small")
            for stage in ("energies", "layer_00", "layer_12")
        },
    }
    text = json.dumps(results, indent=1)
    print(text)
    if output:
        output.write_text(text + "\n")


if __name__ == "__main__":
    main()
