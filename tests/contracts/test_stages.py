"""Every stage keeps to what it declares: what it reads, writes, and lets a user choose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_runs import RUNS
from torch import Tensor

import caloforge as cf
from caloforge.cascade import Stage, System
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.showers import VoxelShowers
from caloforge.training import RunFolder

ENERGIES = np.geomspace(1.5e4, 8e4, 6).astype(np.float32)
REPORTS = {"rejected"}  # what a stage may tell beside what it writes
SPECTRUM = {"showers": 20, "bins": 8, "rescale": True}


class Spied(dict[str, Tensor]):
    """Quantities that record which of them were read."""

    def __init__(self, known: Quantities) -> None:
        super().__init__({name: values.clone() for name, values in known.items()})
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.seen.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.seen.add(name)
        return super().get(name, default)


@dataclass(frozen=True)
class Step:
    """A stage in its system, with what it was given and what it made of it."""

    name: str
    stage: Stage
    upstream: dict[str, Stage]
    known: Quantities
    spied: Spied
    noise: Noise
    made: Quantities


def decoded(stage: Stage, given: Quantities, seeds: Seeds, upstream: Any) -> tuple[Noise, Any]:
    noise = stage.noise(given, seeds)
    if stage.latent_shape is not None:
        noise["z"] = seeds.branch("z").normal(*stage.latent_shape)
    # anything but its own choices is not there
    return noise, stage.decode(noise, given, upstream, stage.chosen({}))


@torch.inference_mode()
def steps(system: System) -> Iterator[Step]:
    """One after the other, each with what those before it made."""
    system.prepare("cpu")
    known: Quantities = {"energy_inc": torch.from_numpy(ENERGIES)}
    if system.is_directed:
        known["direction"] = torch.tensor([0.0, 0.0, 1.0]).repeat(len(ENERGIES), 1)
    for name, stage in system.stages.items():
        spied, upstream = Spied(known), system.upstream(name)
        noise, made = decoded(stage, spied, Seeds.of(1, range(len(ENERGIES))), upstream)
        yield Step(name, stage, upstream, known, spied, noise, made)
        known = known | made


@pytest.fixture(scope="module")
def mapped_run(
    slab: VoxelShowers, small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run folder of an L2LFlows with a spectrum map."""
    return trained("l2lflows/tiny", slab, {**small, "spectrum": SPECTRUM}, tmp_path_factory)


@pytest.fixture(scope="module")
def latent_run(
    slab: VoxelShowers, small_calodream: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run folder of a latent CaloDREAM, of which hits and spectrum are corrected."""
    parts = ("energies.", "shape.")
    settings = {name: value for name, value in small_calodream.items() if name.startswith(parts)}
    settings |= {"autoencoder.hit_showers": 20, "spectrum": SPECTRUM}
    return trained("calodream/latent-tiny", slab, settings, tmp_path_factory)


def trained(preset: str, showers: VoxelShowers, settings: dict[str, Any], folders: Any) -> Path:
    folder: Path = folders.mktemp("runs") / "run"
    system = cf.build(preset, showers.geometry, seed=4, overrides=settings)
    cf.train(system, showers[:60], run=folder, seed=4)
    return folder


@pytest.fixture(params=[*(run for run, *_ in RUNS.values()), "mapped_run", "latent_run"])
def system(request: pytest.FixtureRequest) -> System:
    return cf.load(request.getfixturevalue(request.param))


def test_a_stage_reads_and_writes_what_it_declares_and_leaves_its_inputs_alone(
    system: System,
) -> None:
    for step in steps(system):
        stage = step.stage
        assert step.spied.seen <= {*stage.reads, *stage.optional}, step.name
        assert set(stage.writes) <= step.made.keys() <= {*stage.writes, *REPORTS}, step.name
        assert step.spied.keys() == step.known.keys()
        for name, values in step.known.items():
            assert dict.__getitem__(step.spied, name).equal(values), (step.name, name)


def rows(name: str, values: Tensor, made: Quantities, shower: int) -> Tensor:
    """A quantity of one shower."""
    if name != "points":
        return values[shower]
    return values.split(made["n_points"].tolist())[shower]


def test_a_shower_is_independent_of_its_neighbours(system: System) -> None:
    """Alone it is decoded to what it is decoded to among others, but for rounding."""
    for step in steps(system):
        if not step.stage.writes:
            continue
        alone = {
            name: rows(name, values, step.known, 3)
            for name, values in step.known.items()
            if name in (*step.stage.reads, *step.stage.optional)
        }
        given = {n: v if n == "points" else v[None] for n, v in alone.items()}
        with torch.inference_mode():
            _, made = decoded(step.stage, given, Seeds.of(1, [3]), step.upstream)
        for name in step.stage.writes:
            here, there = rows(name, made[name], made, 0), rows(name, step.made[name], step.made, 3)
            assert here.shape == there.shape
            scale = float(there.abs().double().sum()) or 1.0
            apart = (here.double() - there.double()).abs()
            # rounding decides on few entries at a threshold, and nowhere on more
            assert float((apart > 1e-5 * scale).double().mean()) <= 1e-3, (step.name, name)


def test_a_stage_is_saved_and_loaded_as_it_is(system: System, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for name, stage in system.stages.items():
        folder.stage(name).save_weights(stage)
    again = type(system)(system.config, system.geometry)
    for name, stage in again.stages.items():
        folder.stage(name).load_weights(stage)
        there = system.stages[name].state_dict()
        assert stage.is_fitted
        assert stage.state() == system.stages[name].state()
        assert all(values.equal(there[key]) for key, values in stage.state_dict().items())
