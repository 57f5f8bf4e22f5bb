"""Every system computes on a real accelerator; what needs none is in `test_device.py`.

python -m pytest -m gpu                  # on an accelerator
python -m pytest -m gpu --device cpu     # the same tests tried without one
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_runs import ENERGIES, LEARNED, RUNS, same

import caloforge as cf
from caloforge.cascade import Learned, SamplingOptions, ShowerQuantities, System
from caloforge.cascade.seeds import batch_rng
from caloforge.showers import Showers
from caloforge.training import RunFolder, StageFolder
from caloforge.training.loop import StageTraining

# energies of one list for all systems, some of them below those of the bundled clouds
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
SYSTEMS = pytest.mark.parametrize("name", LEARNED)


def untrained(
    name: str, request: pytest.FixtureRequest, precision: str = "32"
) -> tuple[System, Showers]:
    """The system that the run folder began with, its first stage of a precision, and its sample."""
    run, settings, showers = (request.getfixturevalue(fixture) for fixture in RUNS[name])
    sample = showers[: RunFolder(run).config()["data"]["n_showers"]]
    first = "shower" if name == "caloclouds" else "energies"
    settings = {**settings, f"{first}.recipe.precision": precision}
    return cf.build(f"{name}/tiny", sample.geometry, seed=4, overrides=settings), sample


def learned_stages(system: System) -> dict[str, Learned]:
    return {name: s for name, s in system.stages.items() if isinstance(s, Learned)}


def begin(system: System, sample: Showers, name: str, folder: Path, device: str) -> StageTraining:
    stage = system.stages[name]
    learned = ShowerQuantities(
        system.training_sample(sample), stage.learns or (*stage.reads, *stage.writes)
    )
    upstream = system.upstream(name)
    for needed in upstream.values():
        needed.fit(ShowerQuantities(sample, needed.learns), {}, torch.Generator())
    return StageTraining(name, stage, learned, upstream, StageFolder(folder), seed=4, device=device)


@SYSTEMS
def test_losses_and_gradients_of_every_stage_are_finite(
    name: str, accelerator: str, request: pytest.FixtureRequest
) -> None:
    system = cf.load(request.getfixturevalue(RUNS[name][0])).to(accelerator)
    _, sample = untrained(name, request)
    rng, sample = batch_rng(1, 0, accelerator), system.training_sample(sample)
    for key, stage in learned_stages(system).items():
        learned = ShowerQuantities(sample, stage.learns or (*stage.reads, *stage.writes))
        quantities = learned.to(accelerator).take(torch.arange(8))
        stage.train()
        loss = stage.loss(stage.batch(quantities, system.upstream(key), rng), rng)
        loss.backward()
        gradients = [p.grad for p in stage.parameters() if p.grad is not None]
        assert loss.device.type == torch.device(accelerator).type
        assert loss.isfinite()
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)


@SYSTEMS
def test_a_run_folder_draws_on_the_accelerator_what_it_was_trained_for(
    name: str, accelerator: str, request: pytest.FixtureRequest
) -> None:
    """One seed, one sample; and another seed of the CPU has the same energies on average."""
    system = cf.load(request.getfixturevalue(RUNS[name][0]))
    energies = np.repeat(ENERGIES, 20)
    first, again = (
        system.generate(energies, seed=1, batch_size=35, device=accelerator) for _ in range(2)
    )
    if isinstance(first, cf.VoxelShowers):  # sums of points are in no fixed order
        assert same(first, again)
    here = cf.load(request.getfixturevalue(RUNS[name][0])).generate(energies, seed=2)
    totals = [np.log(sampled.total_energy().clip(1e-3)) for sampled in (first, here)]
    error = np.sqrt(sum(total.var() / len(total) for total in totals))
    assert abs(totals[0].mean() - totals[1].mean()) < 6 * error


@SYSTEMS
def test_a_stopped_training_resumes_on_the_accelerator(
    name: str, accelerator: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """With the weights, and the moments of the optimizer, that it was stopped with."""
    system, sample = untrained(name, request)
    key = next(iter(learned_stages(system)))
    stopped = begin(system, sample, key, tmp_path, accelerator)
    stopped.run(until=3)
    other, _ = untrained(name, request)
    resumed = begin(other, sample, key, tmp_path, accelerator)
    assert resumed.step == 3
    kept = dict(resumed.stage.state_dict())
    assert all(value.equal(kept[name]) for name, value in stopped.stage.state_dict().items())
    for mine, theirs in zip(resumed.stage.parameters(), stopped.stage.parameters(), strict=True):
        for moment, values in resumed.optimizer.state[mine].items():
            assert values.equal(stopped.optimizer.state[theirs][moment])
    resumed.run()
    assert resumed.folder.is_trained


@SYSTEMS
def test_mixed_precision_trains_weights_of_single_precision(
    name: str, accelerator: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    system, sample = untrained(name, request, "bf16-mixed")
    training = begin(system, sample, next(iter(learned_stages(system))), tmp_path, accelerator)
    before = [p.detach().clone() for p in training.stage.parameters()]
    training.run(until=2)
    after = list(training.stage.parameters())
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in after)
    assert any(not p.equal(b) for p, b in zip(after, before, strict=True))


@pytest.mark.parametrize("name", ["calodream", "caloclouds"])
def test_showers_are_drawn_in_half_precision(
    name: str, accelerator: str, request: pytest.FixtureRequest
) -> None:
    system = cf.load(request.getfixturevalue(RUNS[name][0]))
    options = SamplingOptions(precision="bf16")
    sampled = system.generate(ENERGIES, seed=1, device=accelerator, options=options)
    assert np.isfinite(sampled.total_energy()).all()
