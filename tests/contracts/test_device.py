"""Every preset learns and samples on an accelerator, and hardly ever waits for it.

The accelerator is one of name alone, see `pretend_device`, so that this is known before there is a
real one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from pretend_device import Device, pretend_device
from safetensors.torch import load_file
from test_runs import ALONE, RUNS, smallest

import caloforge as cf
from caloforge.cascade import ShowerQuantities, System, build, presets
from caloforge.cascade.draw import Draw
from caloforge.cascade.registry import build_from_config, config_to_dict, default_geometry
from caloforge.cascade.seeds import Seeds, batch_rng
from caloforge.cascade.stage import Learned
from caloforge.data import open_file
from caloforge.showers import Showers, VoxelShowers
from caloforge.stages.bespoke import BespokeSolvers
from caloforge.stages.spectrum import SpectrumMap
from caloforge.systems.caloclouds.calibration import CloudCalibration
from caloforge.training import RunFolder, StageFolder
from caloforge.training.loop import LOOK_EVERY, StageTraining

# Every generation of voxels looks once whether all stages sampled finite values, once which groups
# are left for `rescale` to sort, and twice fetches what was sampled: incident energies and voxels.
VOXELS = 4
# What a preset waits for beside that. SuperCalo asks once which coarse voxels hold energy, and
# rescales coarse voxels, or fine ones, or both, or none. L2LFlows of the CaloChallenge rescales
# nothing, but asks which layer energies to sample again, and how many that were. CaloClouds looks
# whether counts are finite, how many points there are, which of them the layers hold, how
# many clusters that leaves, and how many members they have; it fetches points, their numbers,
# incident energies, and directions where it knows them. Libraries and parametrisations compute with
# numpy, and fetch what each of their stages is given, and its random numbers; so do the patterns of
# Quilt, which need no rescaling.
WAITS = {
    "l2lflows/small": VOXELS,
    "l2lflows/tiny": VOXELS,
    "l2lflows/maf": VOXELS,
    "l2lflows/paper-ild": VOXELS,
    "l2lflows/paper-calochallenge-3": VOXELS + 1,
    "l2lflows/paper-calochallenge-2": VOXELS + 1,
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
    "caloclouds/small": 9,
    "caloclouds/tiny": 9,
    "caloclouds/paper": 7,
    "library/whole": 5,
    "library/points": 8,
    "library/layers": 5,
    "library/layers-points": 8,
    "parametric/profile": VOXELS + 3,
    "parametric/binned": VOXELS + 2,
    "parametric/points": 8,
    "parametric/binned-points": 7,
    "quilt/small": 8,
    "quilt/copula": 8,
    "quilt/best": 8,
    "quilt/points": 9,
    "quilt/copula-points": 9,
    "quilt/directed": 11,
    "quilt/directed-points": 12,
}
# What a step of training waits for, of the stages that wait at all: those that learn of a number of
# points or voxels which only the device knows, and the spread of the hits that a jump may sample.
STEP_WAITS = {
    "UpsampleStage": 1,  # which coarse voxels hold energy
    "PointsStage": 3,  # which clouds have points, for encoder, network and conditions
    "LatentStage": 2,
    "DistilledStage": 4,  # of CaloClouds; that of CaloDREAM looks for hits, and at their spread
}
# Waits do not depend on the size of a network, nor on the steps of a solver.
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
    "calodream/latent-calochallenge-2": {"autoencoder.channels": [2, 2]},
    "calodream/latent-calochallenge-3": {"autoencoder.channels": [2, 2]},
    "calodream/latent-fine-calochallenge-3": {"autoencoder.channels": [2, 2]},
    "caloclouds/paper": {"points.steps": 2, "points.solver": "ddpm-2"},
}
SHARED = {
    "calochallenge-3": "electrons-1-100GeV_calochallenge-3_test.h5",
    "ild-30": "photons-10-100GeV_ild-30_test.h5",
}
# what is fitted on what the others sample, and left out here
FITTED_AFTER = (SpectrumMap, CloudCalibration, BespokeSolvers)
ENERGIES = np.geomspace(1.1e4, 9e4, 3).astype(np.float32)
SHOWERS = 8


def showers_of(preset: str, request: pytest.FixtureRequest) -> Showers:
    """Geant4 showers of the preset's geometry; for L2LFlows, a flow a layer, of four layers."""
    geometry = default_geometry(preset)
    if geometry in SHARED:
        with open_file(request.getfixturevalue("shared_data") / SHARED[geometry]) as file:
            showers = file[:SHOWERS]
    else:
        points = preset.startswith("caloclouds") or preset.endswith("points")
        showers = request.getfixturevalue("bundled_points" if points else "bundled")[:SHOWERS]
    return few_layers(showers) if preset.startswith("l2lflows") else showers


def few_layers(showers: VoxelShowers) -> VoxelShowers:
    whole, layers = showers.geometry, slice(9, 13)
    geometry = dataclasses.replace(
        whole,
        layers=whole.layers[layers],
        z=whole.z[layers],
        layer_ids=whole.layer_ids[layers],
    )
    return VoxelShowers.from_dense(showers.energy_inc, showers.dense()[:, layers], geometry)


def slim(preset: str, showers: Showers) -> System:
    """The preset with narrow networks for the showers, which may have fewer layers than it."""
    name = preset.partition("/")[0]
    settings = {**SLIM.get(name, {}), **SLIM_PRESETS.get(preset, {})}
    whole = build(preset, default_geometry(preset), overrides=settings)
    return build_from_config(name, config_to_dict(whole.config), showers.geometry)


def learn_once(device: Device, system: System, showers: Showers, rng: torch.Generator) -> None:
    """Fit every stage, and take one step with the first of each kind."""
    sample, kinds = system.training_sample(showers), set()
    draw = Draw(system, showers, 1, "cuda")
    waiting = [n for n, stage in system.stages.items() if not isinstance(stage, FITTED_AFTER)]
    while waiting:
        name = next(n for n in waiting if not set(system.stages[n].needs) & set(waiting))
        waiting.remove(name)
        stage, upstream = system.stages[name].to("cuda"), system.upstream(name)
        learned = ShowerQuantities(sample, stage.learns or (*stage.reads, *stage.writes))
        quantities = learned.to("cuda")
        stage.train()
        stage.fit(quantities, upstream, rng, draw)
        if isinstance(stage, Learned) and type(stage) not in kinds:
            kinds.add(type(stage))
            optimizer = torch.optim.AdamW(stage.parameters(), lr=1e-4, fused=True)
            with device.counted() as waits:
                batch = stage.batch(quantities.take(torch.arange(4)), upstream, rng)
                stage.loss(batch, rng).backward()
                optimizer.step()
            assert sum(waits.values()) <= STEP_WAITS.get(type(stage).__name__, 0), waits


def test_every_preset_has_its_number_of_waits() -> None:
    assert set(WAITS) == set(presets())


@pytest.mark.parametrize("preset", WAITS)
def test_a_preset_learns_and_draws_on_a_device_and_waits_so_often(
    preset: str, request: pytest.FixtureRequest
) -> None:
    showers = showers_of(preset, request)
    system = slim(preset, showers)
    with pretend_device() as device:
        rng = batch_rng(1, 0, "cuda")
        learn_once(device, system, showers, rng)
        system.prepare("cuda")
        with device.counted() as waits:
            sampled = system.draw(ENERGIES, seeds=Seeds.of(1, range(len(ENERGIES)), "cuda"))
    assert len(sampled) == len(ENERGIES)
    assert sum(waits.values()) == WAITS[preset], waits


@pytest.mark.parametrize("name", ALONE)
def test_a_system_trained_on_a_device_is_that_of_the_cpu(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """To the last bit, as both compute alike here; also what is fitted on sampled showers."""
    run, settings, showers = map(request.getfixturevalue, RUNS[name])
    sample = showers[: RunFolder(run).config()["data"]["n_showers"]]
    system = build(smallest(name), sample.geometry, seed=4, overrides=settings)
    with pretend_device():
        cf.train(system, sample, run=tmp_path, seed=4, device="cuda")
    for stage in system.stages:
        there, here = (
            load_file(folder / "stages" / stage / "weights.safetensors")
            for folder in (tmp_path, run)
        )
        assert all(there[key].equal(here[key]) for key in here)
    assert all(stage.is_fitted for stage in system.stages.values())


@pytest.fixture
def begin(
    slab: VoxelShowers, small: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], StageTraining]:
    """Begin a training of many steps an epoch, which saves nothing."""
    monkeypatch.setattr(StageTraining, "_save", lambda training: None)

    def begin() -> StageTraining:
        system = build(
            "l2lflows/tiny", slab.geometry, overrides={**small, "energies.recipe.batch_size": 4}
        )
        stage = system.stages["energies"]
        quantities = ShowerQuantities(slab, (*stage.reads, *stage.writes))
        folder = StageFolder(tmp_path / "stage")
        return StageTraining("energies", stage, quantities, {}, folder, seed=0, device="cuda")

    return begin


def test_a_training_waits_only_to_look_at_its_losses(begin: Callable[[], StageTraining]) -> None:
    with pretend_device() as device:
        training = begin()
        with device.counted() as waits:
            training.run(until=LOOK_EVERY + 10)
    assert sum(waits.values()) == 1, waits


def test_a_loss_that_is_not_finite_is_found_late_and_changes_nothing(
    begin: Callable[[], StageTraining], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: dict[int, list[torch.Tensor]] = {}
    with pretend_device():
        training = begin()
        loss = type(training.stage).loss

        def diverging(stage: Any, batch: Any, rng: Any) -> torch.Tensor:
            weights[training.step] = [p.detach().clone() for p in stage.parameters()]
            return loss(stage, batch, rng) * (math.inf if training.step == 7 else 1)

        monkeypatch.setattr(type(training.stage), "loss", diverging)
        with pytest.raises(FloatingPointError, match=r"energies: loss .*inf .* at step 7; start"):
            training.run()
        assert max(weights) == LOOK_EVERY - 1
        pairs = zip(weights[7], weights[8], strict=True)
        assert all(before.equal(after) for before, after in pairs)
        assert all(value.isfinite().all() for value in weights[LOOK_EVERY - 1])


def room(free: int) -> Any:
    """So many bytes are free on the device."""
    return mock.patch("torch.cuda.mem_get_info", return_value=(free, free))


def test_a_sample_that_is_too_large_for_the_device_is_sent_batch_by_batch(
    slab: VoxelShowers,
) -> None:
    """Either way the host does not wait, and the quantities are those of the host."""
    whole = ShowerQuantities(slab, ("energy_inc", "layer_01"))
    numbers = torch.tensor([3, 1, 200])
    for free in (1 << 30, 1 << 10):
        with pretend_device() as device, room(free):
            there = whole.to("cuda")
            with device.counted() as waits:
                taken = there.take(numbers)
            assert not waits
            assert {values.device.type for values in taken.values()} == {"cuda"}
            for name, values in whole.take(numbers).items():
                assert values.equal(taken[name].cpu())
