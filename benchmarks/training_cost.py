"""What the training of presets takes: steps, arithmetic and memory, counted and not timed.

    python benchmarks/training_cost.py -o benchmarks/results/training_cost.json
    python benchmarks/training_cost.py calodream/paper-calochallenge-2 --showers 100000 -o cost.json

One step of every stage is computed on the CPU, of two showers with random weights. Counted are the
floating-point operations of matrix products, convolutions and attention, forward and backward, and
the bytes that are kept for the backward pass; both grow with the batch. Splines and norms do not
count. Weights, gradients and the two moments of Adam take 16 bytes a parameter.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerator import showers_for
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

import caloforge as cf
from caloforge.cascade import ShowerQuantities
from caloforge.cascade.recipe import validation_size
from caloforge.cascade.registry import default_geometry
from caloforge.data import write_files

PRESETS = (
    "calodream/paper-calochallenge-2",
    "calodream/leaderboard-calochallenge-2",
    "calodream/paper-calochallenge-3",
    "l2lflows/paper-calochallenge-2",
    "l2lflows/paper-calochallenge-3",
)
SHOWERS = 64  # that transforms are fitted to
BATCH = 2
ADAM = 16  # bytes a parameter


class Kept:
    """Bytes that the backward pass needs, each storage once; those of parameters do not count."""

    def __init__(self, stage: torch.nn.Module) -> None:
        self.known = {p.untyped_storage().data_ptr() for p in stage.parameters()}
        self.bytes = 0

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.known:
            self.known.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def counted(preset: str, n_showers: int) -> list[dict[str, Any]]:
    """A record for each stage that is trained by steps."""
    geometry = cf.geometry_preset(default_geometry(preset))
    after = {"solvers": [], "distillation": None} if preset.startswith("calodream") else {}
    system = cf.build(preset, geometry, overrides=after)
    sample = system.training_sample(showers_for(geometry, SHOWERS))
    rng = torch.Generator().manual_seed(0)
    rows = []
    for name, stage in system.stages.items():
        upstream = system.upstream(name)
        learned = ShowerQuantities(sample, stage.learns or (*stage.reads, *stage.writes))
        with torch.no_grad():
            stage.fit(learned, upstream, rng)
        recipe = getattr(stage, "recipe", None)
        if recipe is None:
            continue
        stage.train()
        kept, counter = Kept(stage), FlopCounterMode(display=False)
        with counter, saved_tensors_hooks(kept.pack, lambda tensor: tensor):
            batch = stage.batch(learned.take(torch.arange(BATCH)), upstream, rng)
            stage.loss(batch, rng).backward()
        split = n_showers - validation_size(n_showers, recipe.validation)
        steps = recipe.epochs * (split // recipe.batch_size)
        n_parameters = sum(p.numel() for p in stage.parameters())
        rows.append(
            {
                "preset": preset,
                "stage": name,
                "parameters": n_parameters,
                "epochs": recipe.epochs,
                "batch_size": recipe.batch_size,
                "steps": steps,
                "GFLOP_per_shower": counter.get_total_flops() / BATCH / 1e9,
                "PFLOP": counter.get_total_flops() / BATCH * recipe.epochs * split / 1e15,
                "GB": (ADAM * n_parameters + kept.bytes / BATCH * recipe.batch_size) / 1e9,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--showers", type=int, default=100_000, help="training showers")
    parser.add_argument("--tflops", type=float, default=20.0, help="that hours are told at")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args(arguments)
    rows = []
    for preset in asked.presets:
        found = counted(preset, asked.showers)
        rows += found
        total = sum(row["PFLOP"] for row in found)
        steps, memory = sum(row["steps"] for row in found), max(row["GB"] for row in found)
        hours = total * 1e3 / asked.tflops / 3600
        print(
            f"{preset}: {steps:,} steps, {total:,.0f} PFLOP, {hours:.1f} h at "
            f"{asked.tflops:g} TFLOP/s, at most {memory:.1f} GB",
            flush=True,
        )
    values = {"n_showers": asked.showers, "rows": rows}
    write_files({asked.output: json.dumps(values, indent=1) + "\n"})


if __name__ == "__main__":
    main()
