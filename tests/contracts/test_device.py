"""Every preset learns and draws on an accelerator, and hardly ever waits for it.

The accelerator is one of name alone, see `pretend_device`, so that this is known before there is a
real one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_device import Device, pretend_device
from safetensors.torch import load_file
from test_runs import RUNS, same

import caloforge as cf
from caloforge.data import open_file
from caloforge.geometry import geometry_preset
from caloforge.showers import Showers, VoxelShowers
from caloforge.systems import Quantities, ShowerQuantities, System, build, presets
from caloforge.systems.arguments import SamplingOptions, batch_rng
from caloforge.systems.registry import default_geometry
from caloforge.training import RunFolder, StageFolder
from caloforge.training.loop import LOOK_EVERY, StageTraining

# Every draw of voxels looks once whether all stages drew finite values, once which groups are left
# for `rescale` to sort, and twice fetches what was drawn: incident energies and voxels.
VOXELS = 4
# What a preset waits for beside that. SuperCalo asks twice which coarse voxels hold energy, and
# rescales coarse and fine ones. L2LFlows of the CaloChallenge rescales nothing, but asks which
# layer energies to draw anew. CaloClouds looks whether counts are finite, how many points there
# are, which of them the layers have room for, and how many members their clusters have; it fetches
# points, their numbers, incident energies, and directions where it knows them.
WAITS = {
    "l2lflows/small": VOXELS,
    "l2lflows/tiny": VOXELS,
    "l2lflows/maf": VOXELS,
    "l2lflows/paper-ild": VOXELS,
    "l2lflows/paper-calochallenge-3": VOXELS,
    "l2lflows/paper-calochallenge-2": VOXELS,
    "calodream/small": VOXELS,
    "calodream/latent-small": VOXELS,
    "calodream/tiny": VOXELS,
    "calodream/latent-tiny": VOXELS,
    "calodream/paper-calochallenge-2": VOXELS,
    "calodream/paper-calochallenge-3": VOXELS,
    "calodream/leaderboard-calochallenge-2": VOXELS,
    "calodream/latent-calochallenge-2": VOXELS,
    "calodream/latent-calochallenge-3": VOXELS,
    "calodream/latent-fine-calochallenge-3": VOXELS,
    "supercalo/small": VOXELS + 3,
    "supercalo/small-b": VOXELS + 3,
    "supercalo/tiny": VOXELS + 3,
    "supercalo/paper": VOXELS + 1,
    "supercalo/paper-b": VOXELS + 1,
    "supercalo/coupling": VOXELS + 2,
    "supercalo/calochallenge-3": VOXELS + 2,
    "caloclouds/small": 8,
    "caloclouds/tiny": 8,
    "caloclouds/paper": 7,
}
# Waits do not hang on the size of a network, nor on the steps of a solver.
SLIM: dict[str, dict[str, object]] = {
    "l2lflows": {"energies.blocks": 1, "energies.hidden": 4, "layers.blocks": 1},
    "calodream": {
        "energies.feed_forward": 4,
        "energies.hidden": 4,
        "energies.layers": 1,
        "energies.solver": "midpoint-1",
        "shape.dim": 12,
        "shape.heads": 1,
        "shape.hidden": 4,
        "shape.blocks": 1,
        "shape.solver": "rk4-1",
    },
    "supercalo": {
        f"{part}.{name}": value
        for part in ("energies", "coarse", "upsample")
        for name, value in (("hidden", 4), ("blocks", 1))
    },
    "caloclouds": {"points.hidden": [8], "points.encoder": {"latent": 4, "hidden": 8}},
}
SLIM_PRESETS: dict[str, dict[str, object]] = {
    "l2lflows/maf": {"layers.hidden": 4, "layers.summary_hidden": 4},
    "l2lflows/paper-ild": {"layers.channels": [2, 2, 2]},
    "l2lflows/paper-calochallenge-2": {"layers.channels": [2, 2, 2], "energies.largest_ratio": 1e9},
    "l2lflows/paper-calochallenge-3": {"layers.channels": [2, 2, 2], "energies.largest_ratio": 1e9},
    "caloclouds/paper": {"points.steps": 2, "points.solver": "ddpm-2"},
}
SHARED = {
    "calochallenge-3": "electrons-1-100GeV_calochallenge-3_test.h5",
    "ild-30": "photons-10-100GeV_ild-30_test.h5",
}
ENERGIES = np.geomspace(1.1e4, 9e4, 3).astype(np.float32)
SHOWERS = 12


@pytest.fixture
def device() -> Iterator[Device]:
    with pretend_device() as pretended:
        yield pretended


def showers_of(preset: str, request: pytest.FixtureRequest) -> Showers:
    if preset == "l2lflows/maf":  # number by number, so that four layers have to do
        return request.getfixturevalue("slab")[:SHOWERS]
    home = default_geometry(preset)
    if home not in SHARED:
        return request.getfixturevalue(
            "bundled_points" if preset.startswith("caloclouds") else "bundled"
        )[:SHOWERS]
    with open_file(request.getfixturevalue("shared_data") / SHARED[home]) as file:
        return file[:SHOWERS]


def slim(preset: str, showers: Showers) -> System:
    settings = {**SLIM[preset.partition("/")[0]], **SLIM_PRESETS.get(preset, {})}
    return build(preset, showers.geometry, overrides=settings)


def learn_once(system: System, showers: Showers, rng: torch.Generator) -> None:
    """Fit every stage, and take one step with the first of each kind."""
    sample, kinds = system.training_sample(showers), set()
    waiting = list(system.stages)
    while waiting:
        name = next(n for n in waiting if not set(system.stages[n].needs) & set(waiting))
        waiting.remove(name)
        stage, upstream = system.stages[name].to("cuda"), system.upstream(name)
        learned = ShowerQuantities(sample, stage.learns or (*stage.reads, *stage.writes))
        quantities = learned.to("cuda")
        stage.train()
        stage.fit(quantities, upstream, rng)
        if type(stage) not in kinds:
            kinds.add(type(stage))
            batch = stage.batch(quantities.take(torch.arange(4)), upstream, rng)
            stage.loss(batch, rng).backward()
            torch.optim.AdamW(stage.parameters(), lr=1e-4, fused=True).step()


def test_every_preset_has_its_number_of_waits() -> None:
    assert tuple(WAITS) == presets()


@pytest.mark.parametrize("preset", WAITS)
def test_a_preset_learns_and_draws_on_a_device_and_waits_so_often(
    preset: str, request: pytest.FixtureRequest
) -> None:
    showers = showers_of(preset, request)
    system = slim(preset, showers)
    with pretend_device() as device:
        rng = batch_rng(1, 0, "cuda")
        learn_once(system, showers, rng)
        system.prepare("cuda")
        with device.counted() as waits:
            drawn = system.draw(ENERGIES, rng=rng, device="cuda")
    assert len(drawn) == len(ENERGIES)
    assert sum(waits.values()) == WAITS[preset], waits
