"""The training of one stage: stopping and resuming changes nothing, the best weights are kept."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from caloforge.cascade import ShowerQuantities, build
from caloforge.showers import VoxelShowers
from caloforge.training import StageFolder, TrainingProgress
from caloforge.training.loop import StageTraining, split
from caloforge.training.schedule import learning_rate

Begin = Callable[..., StageTraining]


@pytest.fixture
def begin(slab: VoxelShowers, small: dict[str, object], tmp_path: Path) -> Begin:
    """Begin, or resume, the training of a freshly built stage in a folder."""

    def begin(
        folder: str,
        stage: str = "layer_02",
        seed: int = 0,
        report: Callable[[TrainingProgress], None] | None = None,
        **recipe: object,
    ) -> StageTraining:
        part = "energies" if stage == "energies" else "layers"
        settings = {f"{part}.recipe.{key}": value for key, value in recipe.items()}
        system = build("l2lflows/tiny", slab.geometry, overrides={**small, **settings})
        chosen = system.stages[stage]
        return StageTraining(
            stage,
            chosen,
            ShowerQuantities(slab, (*chosen.reads, *chosen.writes)),
            {},
            StageFolder(tmp_path / folder),
            seed=seed,
            report=report,
        )

    return begin


def log(training: StageTraining) -> list[dict[str, str]]:
    with (training.folder.path / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def kept(training: StageTraining) -> dict[str, Tensor]:
    return load_file(training.folder.path / "weights.safetensors")


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---------------------------------------------------------------- begin


def test_a_layer_starts_from_its_neighbour_which_is_frozen(
    slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    settings = {**small, "layers.warm_start": True, "layers.first_epochs": 2}
    system = build("l2lflows/tiny", slab.geometry, overrides=settings)
    trained = []
    for name in ("layer_02", "layer_03"):  # layer 2 is the middle one
        stage = system.stages[name]
        quantities = ShowerQuantities(slab, (*stage.reads, *stage.writes))
        upstream = system.upstream(name)
        folder = StageFolder(tmp_path / name)
        trained.append(StageTraining(name, stage, quantities, upstream, folder, seed=0))
        if name == "layer_02":
            trained[0].run()
    first, second = (training.stage for training in trained)
    assert (first.recipe.epochs, first.needs) == (2, ())
    assert second.needs == ("layer_02",)
    assert not first.training
    assert not any(weights.requires_grad for weights in first.parameters())
    taken = [
        torch.equal(value, second.state_dict()[name])
        for name, value in first.state_dict().items()
        if value.shape == second.state_dict()[name].shape
    ]
    assert all(taken)
    assert len(taken) == len(first.state_dict()) - 1  # one more layer to look back on
    trained[1].run(until=1)
    changed = second.state_dict()
    assert not all(torch.equal(value, changed[name]) for name, value in first.named_parameters())


def test_a_trained_stage_does_not_begin_another_run(begin: Begin, tmp_path: Path) -> None:
    training = begin("first", epochs=1)
    training.run()
    again = (training.name, training.stage, training.training, {}, StageFolder(tmp_path / "second"))
    with pytest.raises(ValueError, match="'layer_02' is trained already: build a new system"):
        StageTraining(*again, seed=0)


# ---------------------------------------------------------------- stop and resume


@pytest.mark.parametrize(
    "recipe",
    [
        {"schedule": "one-cycle"},
        {"schedule": "exponential", "final_learning_rate": 1e-5, "ema": 0.9},
        {"schedule": "cosine", "weight_decay": 0.1, "gradient_clip": 0.5},
        {"schedule": "constant", "ema": 0.5, "patience": 5},
    ],
    ids=lambda recipe: "-".join(map(str, recipe.values())),
)
def test_a_stopped_training_gives_what_an_uninterrupted_one_gives(
    recipe: dict[str, Any], begin: Begin
) -> None:
    """Stopped at an epoch's end, in its middle, after its first step, twice at the same."""
    whole = begin("whole", **recipe)
    assert (whole.steps, whole.steps_per_epoch) == (10, 5)
    whole.run()
    for stop in (1, 5, 5, 7, 9):
        interrupted = begin("stopped", **recipe)
        interrupted.run(until=stop)
        assert interrupted.step == stop
        assert not interrupted.folder.is_trained
    resumed = begin("stopped", **recipe)
    assert resumed.step == 9
    resumed.run()
    assert equal(kept(resumed), kept(whole))
    assert equal(dict(resumed.stage.state_dict()), dict(whole.stage.state_dict()))
    assert log(resumed) == log(whole)
    assert resumed.stage.state() == whole.stage.state()
    assert resumed.folder.is_trained
    assert not (resumed.folder.path / "state.safetensors").exists()


def test_an_energy_flow_resumes_too(begin: Begin) -> None:
    whole = begin("whole", stage="energies")
    whole.run()
    begin("stopped", stage="energies").run(until=3)
    resumed = begin("stopped", stage="energies")
    resumed.run()
    assert equal(kept(resumed), kept(whole))


def test_a_saved_state_is_needed_for_the_same_result(begin: Begin) -> None:
    """Without the optimizer's moments the weights differ: the test above can fail."""
    whole = begin("whole")
    whole.run()
    begin("stopped").run(until=7)
    resumed = begin("stopped")
    for state in resumed.optimizer.state.values():
        state["exp_avg"].zero_()
    resumed.run()
    assert not equal(kept(resumed), kept(whole))


def test_seeds_differ(begin: Begin) -> None:
    first, again, other = begin("a"), begin("b"), begin("c", seed=1)
    for training in (first, again, other):
        training.run(until=2)
    assert equal(dict(first.stage.state_dict()), dict(again.stage.state_dict()))
    assert not equal(dict(first.stage.state_dict()), dict(other.stage.state_dict()))


def test_every_epoch_has_an_order_of_its_own(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    training, seen = begin("run"), []
    take = training.training.take

    def watched(showers: Tensor) -> dict[str, Tensor]:
        seen.append(showers)
        return take(showers)

    monkeypatch.setattr(training.training, "take", watched)
    training.run()
    n = training.steps_per_epoch
    first, second = (torch.cat(seen[begin : begin + n]).tolist() for begin in (0, n))
    for order in (first, second):
        assert len(set(order)) == len(order) == n * training.batch_size
    assert first != second


def test_the_log_tells_the_learning_rate_of_an_epoch_s_last_step(begin: Begin) -> None:
    training = begin("run")
    training.run()
    assert [float(row["learning_rate"]) for row in log(training)] == [
        learning_rate(training.recipe, step - 1, training.steps) for step in (5, 10)
    ]


def test_training_leaves_the_global_random_state(begin: Begin) -> None:
    before, legacy = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    begin("run").run(until=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert str(np.random.get_state()) == str(legacy)  # noqa: NPY002


# ---------------------------------------------------------------- what is kept


@pytest.mark.parametrize("ema", [None, 0.5])
def test_the_best_checkpoint_is_kept(
    ema: float | None, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation losses 3, 1, 2: the weights after the second epoch stay."""
    losses = iter([3.0, 1.0, 2.0])
    weights: list[dict[str, Tensor]] = []

    def validate(training: StageTraining) -> float:
        weights.append({k: v.clone() for k, v in training.stage.state_dict().items()})
        return next(losses)

    monkeypatch.setattr(StageTraining, "_validate", validate)
    training = begin("run", epochs=3, ema=ema)
    training.run()
    assert equal(kept(training), weights[1])
    assert equal(dict(training.stage.state_dict()), weights[1])  # what the caller holds
    assert not equal(weights[1], weights[2])
    assert training.folder.summary()["validation"] == 1.0
    assert [float(row["validation"]) for row in log(training)] == [3.0, 1.0, 2.0]


def test_patience_ends_a_training_that_no_longer_improves(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([2.0, 1.0, 1.5, 1.2, 0.1])
    monkeypatch.setattr(StageTraining, "_validate", lambda training: next(losses))
    training = begin("run", epochs=5, patience=2)
    training.run()
    assert training.folder.is_trained
    assert [float(row["validation"]) for row in log(training)] == [2.0, 1.0, 1.5, 1.2]


def test_the_validation_loss_is_that_of_the_saved_weights(begin: Begin) -> None:
    training = begin("run", epochs=3, ema=0.8)
    training.run()
    best = min(float(row["validation"]) for row in log(training))
    again = training._validate()  # with the weights that were loaded back
    assert again == pytest.approx(best, rel=1e-6)


def test_transforms_are_fitted_on_the_training_split_alone(
    begin: Begin, slab: VoxelShowers
) -> None:
    training = begin("run")
    training.run(until=1)
    largest = training.stage.state()["voxels"]["0"]["maximum"]
    own = torch.arange(len(training.training))
    seen = training.training.take(own)["layer_02"]
    assert largest == float(seen.max())
    # a seed that holds the hottest shower back for validation fits another maximum
    hottest = int(slab.dense()[:, 2].max((1, 2)).argmax())
    for seed in range(1, 100):
        order = np.random.default_rng(seed).permutation(len(slab))
        if hottest in order[:40]:
            break
    other = begin("other", seed=seed)
    other.run(until=1)
    assert other.stage.state()["voxels"]["0"]["maximum"] < float(slab.dense()[:, 2].max())


def test_the_split_is_a_partition(slab: VoxelShowers) -> None:
    sample = ShowerQuantities(slab, ("energy_inc",))
    training, validation = split(sample, 0.1, 3)
    assert (len(training), len(validation)) == (360, 40)
    together = np.concatenate([training.showers.energy_inc, validation.showers.energy_inc])
    assert np.array_equal(np.sort(together), np.sort(slab.energy_inc))
    numbers = np.sort(np.concatenate([training._numbers, validation._numbers]))
    assert np.array_equal(numbers, np.arange(400))
    assert training._kept is validation._kept is sample._kept  # nothing is copied
    again, _ = split(sample, 0.1, 3)
    assert np.array_equal(again.showers.energy_inc, training.showers.energy_inc)


@pytest.mark.parametrize("n", [1, 4])
def test_a_sample_too_small_to_split_is_refused(slab: VoxelShowers, n: int) -> None:
    with pytest.raises(ValueError, match=f"{n} showers cannot be split .*: give more showers"):
        split(ShowerQuantities(slab[:n], ("energy_inc",)), 0.1, 0)


# ---------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_not_finite_keeps_the_state_before_it(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin("run").run(until=6)
    folder = begin("run").folder.path
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    training = begin("run")
    loss = type(training.stage).loss

    def diverging(stage: Any, batch: Any, rng: Any) -> Tensor:
        return loss(stage, batch, rng) * (math.nan if training.step == 8 else 1)

    monkeypatch.setattr(type(training.stage), "loss", diverging)
    with pytest.raises(FloatingPointError, match=r"layer_02: loss nan .* at step 8.*start again"):
        training.run()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()
    resumed = begin("run")
    resumed.run()
    whole = begin("whole")
    whole.run()
    assert equal(kept(resumed), kept(whole))


def test_a_gradient_that_is_not_finite_changes_no_weight(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = begin("run")
    training.run(until=2)
    weights = [p.detach().clone() for p in training.stage.parameters()]
    loss = type(training.stage).loss
    monkeypatch.setattr(
        type(training.stage), "loss", lambda stage, batch, rng: loss(stage, batch, rng) * math.inf
    )
    with pytest.raises(FloatingPointError):
        training.run()
    for parameter, before in zip(training.stage.parameters(), weights, strict=True):
        assert torch.equal(parameter, before)


def test_a_training_without_a_finite_validation_does_not_pass_as_trained(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StageTraining, "_validate", lambda training: math.nan)
    training = begin("run")
    with pytest.raises(FloatingPointError, match="no epoch had a finite validation loss"):
        training.run()
    assert not training.folder.is_trained


def test_a_damaged_state_says_so(begin: Begin) -> None:
    training = begin("run")
    training.run(until=2)
    path = training.folder.path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"state.safetensors is damaged .*start this stage again"):
        begin("run")


@pytest.mark.parametrize(
    ("name", "shape"), [("epoch_loss", (2,)), ("stage.more", (1,)), ("optimizer.step.more", ())]
)
def test_a_state_of_other_tensors_is_refused(
    name: str, shape: tuple[int, ...], begin: Begin
) -> None:
    training = begin("run")
    training.run(until=2)
    path = training.folder.path / "state.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({**load_file(path), name: torch.zeros(shape)}, path, metadata)
    with pytest.raises(ValueError, match=r"state.safetensors is damaged .*start this stage again"):
        begin("run")


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1},
        {"step": 10**6},
        {"rows": 3},
        {"rows": [{}]},
        {"best": "low"},
        {"stale": []},
        {"transforms": {}},
        {"transforms": None},
        {"seconds": None},
    ],
    ids=str,
)
def test_a_state_of_other_values_is_refused(change: dict[str, object], begin: Begin) -> None:
    training = begin("run")
    training.run(until=2)
    path = training.folder.path / "state.safetensors"
    with safe_open(path, "pt") as file:
        values = json.loads(file.metadata()["values"])
    save_file(load_file(path), path, {"values": json.dumps({**values, **change})})
    with pytest.raises(ValueError, match=r"state.safetensors is damaged .*start this stage again"):
        begin("run")


# ---------------------------------------------------------------- progress


@pytest.mark.parametrize("stage", ["energies", "layer_00", "layer_03"])
def test_the_loss_falls_on_real_showers(stage: str, begin: Begin) -> None:
    seen: list[TrainingProgress] = []
    training = begin("run", stage=stage, epochs=8, learning_rate=1e-2, report=seen.append)
    training.run()
    validation = [float(row["validation"]) for row in log(training)]
    assert validation[-1] < validation[0] - 0.1  # nats a layer, or a voxel
    last = seen[-1]
    assert last.finished
    assert (last.stage, last.step, last.steps) == (stage, training.steps, training.steps)
    assert [row["epoch"] for row in log(training)] == [str(i + 1) for i in range(8)]


def test_real_showers_pass_a_trained_flow_both_ways_in_single_precision(begin: Begin) -> None:
    for stage in ("energies", "layer_03"):
        training = begin(stage, stage=stage, epochs=8, learning_rate=1e-2)
        training.run()
        quantities = training.validation.take(torch.arange(40))
        flow = training.stage.flow
        batch = training.stage.batch(quantities, {}, torch.Generator().manual_seed(0))
        with torch.no_grad():
            context = flow._embed(batch["context"])
            z, _ = flow.bijection(batch["x"], context)
            x, _ = flow.bijection.inverse(z, context)
        error = (x - batch["x"]).abs() / batch["x"].abs().clamp_min(1)
        assert float(error.quantile(0.99)) < 1e-5
        assert float(error.max()) < 1e-4
