"""Training a whole system: one folder holds it, resuming and several processes change nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import caloforge as cf
from caloforge.cascade import ShowerQuantities, System
from caloforge.data import open_source
from caloforge.showers import VoxelShowers
from caloforge.training import RunFolder, TrainingProgress, cascade, load

# particles of any energy are asked for
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")

ENERGIES = np.geomspace(1e3, 1e5, 30)


def build(slab: VoxelShowers, small: dict[str, object], seed: int = 4, **more: object) -> System:
    return cf.build("l2lflows/tiny", slab.geometry, seed=seed, overrides={**small, **more})


def same(a: VoxelShowers, b: VoxelShowers) -> bool:
    columns = ("energy_inc", "offset", "index", "energy")
    return all(np.array_equal(getattr(a, c), getattr(b, c)) for c in columns)


def stage_weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {
        path.parent.name: load_file(path)
        for path in sorted(folder.glob("stages/*/weights.safetensors"))
    }


# ---------------------------------------------------------------- from the folder alone


def test_a_run_folder_holds_no_more_than_readable_formats(run: Path) -> None:
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    stages = ["energies", *(f"layer_{i:02d}" for i in range(4))]
    names = ("weights.safetensors", "transforms.json", "log.csv", "summary.json")
    assert files == {"config.yaml", *(f"stages/{s}/{name}" for s in stages for name in names)}


def test_a_trained_system_is_loaded_from_its_folder_alone(
    run: Path, slab: VoxelShowers, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "moved")
    system = load(tmp_path / "moved")
    assert system.geometry == slab.geometry
    assert same(system.generate(ENERGIES, seed=1), load(run).generate(ENERGIES, seed=1))


def test_training_returns_what_loading_gives(
    run: Path, slab: VoxelShowers, small: dict[str, object], copy: Path
) -> None:
    shutil.rmtree(copy / "stages" / "layer_01")
    resumed = cf.train(build(slab, small), slab, run=copy, seed=4, resume=True)
    assert same(resumed.generate(ENERGIES, seed=1), load(run).generate(ENERGIES, seed=1))
    mine, theirs = stage_weights(copy), stage_weights(run)
    assert torch.equal(
        mine["layer_01"]["flow.bijection.bijections.1.shift"],
        theirs["layer_01"]["flow.bijection.bijections.1.shift"],
    )


def test_generated_showers_follow_seed_and_batches(run: Path) -> None:
    system = load(run)
    first = system.generate(ENERGIES, seed=1, batch_size=10)
    assert same(first, system.generate(ENERGIES, seed=1, batch_size=10))
    assert not same(first, system.generate(ENERGIES, seed=2, batch_size=10))
    # a batch is independent of the others
    middle = system.stream(ENERGIES[10:20], seed=1, batch_size=10, first=10)
    assert same(next(middle), first[10:20])
    torch.manual_seed(0)
    before = torch.get_rng_state()
    system.generate(ENERGIES[:3], seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_configuration_on_disk_is_complete(
    run: Path, slab: VoxelShowers, small: dict[str, object]
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["system"] == "l2lflows"
    assert (config["initial_seed"], config["seed"]) == (4, 4)
    assert config["config"]["layers"]["recipe"]["epochs"] == 2
    assert config["config"]["layers"]["floor"] == 1e-7  # a default of the preset
    assert config["data"]["n_showers"] == len(slab)
    quantiles = config["data"]["energy_inc_quantiles"]
    assert quantiles[0] == pytest.approx(slab.energy_inc.min(), rel=1e-5)
    assert quantiles[50] == pytest.approx(np.median(slab.energy_inc), rel=1e-5)
    assert quantiles[100] == pytest.approx(slab.energy_inc.max(), rel=1e-5)
    assert RunFolder(run).build().config == build(slab, small).config


# ---------------------------------------------------------------- resuming and processes


def test_a_stopped_run_gives_what_an_uninterrupted_one_gives(
    run: Path, slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(progress: TrainingProgress) -> None:
        if progress.stage == "layer_01":
            raise StopError

    folder = tmp_path / "run"
    with pytest.raises(StopError):
        cf.train(build(slab, small), slab, run=folder, seed=4, progress=stop)
    assert RunFolder(folder).stage("layer_00").is_trained
    with pytest.raises(ValueError, match=r"not trained to its end, . of 5 stages are missing"):
        load(folder)
    cf.train(build(slab, small), slab, run=folder, seed=4, resume=True)
    mine, theirs = stage_weights(folder), stage_weights(run)
    assert mine.keys() == theirs.keys()
    for stage in mine:
        assert all(torch.equal(mine[stage][k], theirs[stage][k]) for k in theirs[stage]), stage


def test_two_processes_give_a_complete_run(
    run: Path, slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    seen: set[str] = set()
    system = cf.train(
        build(slab, small),
        in_files(slab, tmp_path, (100,)),
        run=tmp_path / "run",
        seed=4,
        processes=2,
        progress=lambda progress: seen.add(progress.stage),
    )
    assert seen == set(system.stages)
    assert same(
        load(tmp_path / "run").generate(ENERGIES, seed=1), system.generate(ENERGIES, seed=1)
    )
    # as good as one process after the other; threads may round differently
    for name in system.stages:
        mine, theirs = (RunFolder(r).stage(name).summary() for r in (tmp_path / "run", run))
        assert mine["steps"] == theirs["steps"]
        assert mine["validation"] == pytest.approx(theirs["validation"], rel=1e-3)


def test_single_stages_are_trained_when_asked(
    run: Path, slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    """In any order, each in a call of its own, as jobs on a cluster do."""
    folder = tmp_path / "run"
    for stage in ("layer_03", "energies"):
        cf.train(build(slab, small), slab, run=folder, stages=[stage], seed=4, resume=True)
    assert [p.name for p in sorted((folder / "stages").iterdir())] == ["energies", "layer_03"]
    theirs = stage_weights(run)["layer_03"]
    mine = stage_weights(folder)["layer_03"]
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)


def in_files(slab: VoxelShowers, folder: Path, cuts: tuple[int, ...]) -> str:
    """The pattern of files that hold the showers."""
    for number, (start, stop) in enumerate(pairwise((0, *cuts, len(slab)))):
        cf.write(folder / f"slab_{number}.h5", slab[start:stop])
    return str(folder / "slab_*.h5")


@pytest.mark.parametrize("fits", [True, False], ids=["in memory", "from disk"])
@pytest.mark.parametrize("cuts", [(), (7, 251)], ids=["one file", "three files"])
def test_files_train_as_their_showers_do(
    fits: bool,
    cuts: tuple[int, ...],
    slab: VoxelShowers,
    small: dict[str, object],
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the last bit, whether they fit into memory or are read batch by batch."""
    if not fits:
        nothing = partial(ShowerQuantities, budget=0)
        monkeypatch.setattr(cascade, "held", lambda source: source)
        monkeypatch.setattr(cascade, "ShowerQuantities", nothing)
    system = build(slab, small)
    files = in_files(slab, tmp_path, cuts)
    cf.train(system, files, run=tmp_path / "run", stages=["layer_00"], seed=4)
    mine, theirs = (stage_weights(r)["layer_00"] for r in (tmp_path / "run", run))
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    data, before = (RunFolder(r).config()["data"] for r in (tmp_path / "run", run))
    assert {**data, "showers": "in memory"} == before


def test_a_worker_refuses_files_that_were_changed(slab: VoxelShowers, tmp_path: Path) -> None:
    source = open_source(in_files(slab[:20], tmp_path, (5,)))
    handed = cascade.Handed(source, slab[:20].fingerprint())
    assert same(handed.sample(), slab[:20])
    in_files(slab[20:40], tmp_path, (5,))
    with pytest.raises(ValueError, match=r"slab_0\.h5 and 1 more.* was changed while"):
        handed.sample()


class Killed(BaseException):
    """The process is dead from here on."""


def killed_after(n: int, name: str, patch: pytest.MonkeyPatch, done: list[str]) -> None:
    """Let a function of the system, together with the others, change n things and no more."""
    function = getattr(os, name)

    def call(path: Path, *arguments: Any, **options: Any) -> Any:
        if name == "mkdir" or path.exists():  # `unlink` of nothing changes nothing
            if len(done) == n:
                raise Killed
            done.append(name)
        return function(path, *arguments, **options)

    patch.setattr(os, name, call)


@pytest.mark.slow
def test_a_training_killed_at_any_step_resumes(
    slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    """Of what it does to its folder: files renamed and removed, folders made."""
    few, settings = slab[:100], {**small, "energies.recipe.epochs": 1}

    def train(folder: Path) -> dict[str, torch.Tensor]:
        cf.train(build(few, settings), few, run=folder, stages=["energies"], resume=True)
        assert not list(folder.rglob("state.safetensors"))
        return stage_weights(folder)["energies"]

    whole = train(tmp_path / "whole")
    for n in range(100):
        folder, done = tmp_path / f"{n}", list[str]()
        with pytest.MonkeyPatch.context() as patch:
            for name in ("mkdir", "replace", "unlink"):
                killed_after(n, name, patch, done)
            try:
                train(folder)
                break
            except Killed:
                pass
        resumed = train(folder)
        assert all(torch.equal(resumed[key], whole[key]) for key in whole), n
    assert n > 5
    assert {"mkdir", "replace"} <= {*done}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stage_that_needs_an_untrained_one_is_refused(
    processes: int, slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    """layer_01 starts from layer_02."""
    system = build(slab, small, **{"layers.warm_start": True})
    with pytest.raises(ValueError, match=r"layer_01 needs .*: train it too"):
        cf.train(
            system,
            slab,
            run=tmp_path / "run",
            stages=["energies", "layer_01"] if processes == 1 else ["layer_01", "layer_00"],
            processes=processes,
        )


def test_a_needed_stage_is_trained_before_the_one_that_needs_it(
    slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    """Whatever order they are asked in; resumed after it, the result is the same."""
    begun: list[str] = []

    def watch(progress: TrainingProgress) -> None:
        if progress.stage not in begun:
            begun.append(progress.stage)

    warm = {"layers.warm_start": True}
    stages = ["layer_00", "layer_01", "layer_02"]
    cf.train(build(slab, small, **warm), slab, run=tmp_path / "a", stages=stages, progress=watch)
    assert begun == ["layer_02", "layer_01", "layer_00"]
    for stage in begun:
        cf.train(build(slab, small, **warm), slab, run=tmp_path / "b", stages=[stage], resume=True)
    mine, theirs = stage_weights(tmp_path / "a"), stage_weights(tmp_path / "b")
    for stage in stages:
        assert all(torch.equal(mine[stage][k], theirs[stage][k]) for k in theirs[stage]), stage


@pytest.mark.parametrize("other", ["config", "seed", "initial seed", "n_showers", "geometry"])
def test_resuming_something_else_is_refused(
    other: str, slab: VoxelShowers, small: dict[str, object], copy: Path
) -> None:
    seed, initial, showers = 4, 4, slab
    settings = {**small}
    if other == "config":
        settings["layers.recipe.learning_rate"] = 1e-4
    elif other == "seed":
        seed = 5
    elif other == "initial seed":
        initial = 5
    elif other == "n_showers":
        showers = slab[:-1]
    else:
        showers = dataclasses.replace(
            slab, geometry=dataclasses.replace(slab.geometry, threshold=1)
        )
    system = build(showers, settings, seed=initial)
    before = (copy / "config.yaml").read_bytes()
    with pytest.raises(ValueError, match=f"begun with another {other}"):
        cf.train(system, showers, run=copy, seed=seed, resume=True)
    assert (copy / "config.yaml").read_bytes() == before


OTHER: dict[str, tuple[Callable[[VoxelShowers], VoxelShowers], str]] = {
    "one more": (lambda s: s[np.arange(len(s) + 1) % len(s)], r"n_showers \(400 then, 401 now\)"),
    "energies doubled": (
        lambda s: dataclasses.replace(s, energy_inc=2 * s.energy_inc),
        "sample: its incident energies differ",
    ),
    "deposits divided": (
        lambda s: dataclasses.replace(s, energy=s.energy / 10),
        "sample: the same incident energies, but other deposits",
    ),
    "one deposit": (
        lambda s: dataclasses.replace(s, energy=s.energy * (1 + (np.arange(len(s.energy)) == 9))),
        "sample: the same incident energies, but other deposits",
    ),
    "moved": (
        lambda s: dataclasses.replace(s, index=s.index[::-1]),
        "sample: the same incident energies, but other deposits",
    ),
    "another order": (lambda s: s[::-1], "sample: .* or another order"),
}


@pytest.mark.parametrize("name", OTHER)
def test_resuming_with_other_showers_is_refused(
    name: str, slab: VoxelShowers, small: dict[str, object], copy: Path
) -> None:
    """Also where all is trained and nothing is left to do."""
    change, said = OTHER[name]
    with pytest.raises(ValueError, match=f"begun with another {said}"):
        cf.train(build(slab, small), change(slab), run=copy, seed=4, resume=True)


def test_the_same_showers_are_known_in_any_precision_and_file(
    slab: VoxelShowers, small: dict[str, object], copy: Path, tmp_path: Path
) -> None:
    double = dataclasses.replace(slab, energy=slab.energy.astype(np.float64))
    cf.write(tmp_path / "slab.h5", slab, layout="calochallenge")
    for showers in (double, tmp_path / "slab.h5"):
        cf.train(build(slab, small), showers, run=copy, seed=4, resume=True)


def test_stages_that_are_fitted_are_kept_one_by_one(
    calodream_run: Path, bundled: VoxelShowers, small_calodream: dict[str, object], tmp_path: Path
) -> None:
    """Stopped at the second one, a run has the first, and ends as if it had not been stopped."""

    class StopError(Exception):
        pass

    def stop(progress: TrainingProgress) -> None:
        if progress.stage == "spectrum":
            raise StopError

    def resumed(**options: Any) -> None:
        system = cf.build("calodream/tiny", bundled.geometry, seed=4, overrides=small_calodream)
        cf.train(system, bundled[:200], run=folder, seed=4, resume=True, **options)

    folder = tmp_path / "run"
    shutil.copytree(calodream_run, folder)
    for name in ("solvers", "spectrum"):
        shutil.rmtree(folder / "stages" / name)
    with pytest.raises(StopError):
        resumed(progress=stop)
    kept = RunFolder(folder)
    assert [kept.stage(name).is_trained for name in ("solvers", "spectrum")] == [True, False]
    resumed()
    for name in ("solvers", "spectrum"):
        mine, theirs = (
            (run / "stages" / name / "transforms.json").read_bytes()
            for run in (folder, calodream_run)
        )
        assert mine == theirs


# ---------------------------------------------------------------- wrong input


def test_a_run_is_never_overwritten(
    slab: VoxelShowers, small: dict[str, object], copy: Path
) -> None:
    with pytest.raises(ValueError, match="holds a run already: resume it"):
        cf.train(build(slab, small), slab, run=copy, seed=4)


def test_showers_of_another_geometry_are_refused(
    slab: VoxelShowers, small: dict[str, object], bundled: VoxelShowers, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="calochallenge-2, the system is built for slab"):
        cf.train(build(slab, small), bundled[:100], run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_stage_is_refused(
    slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError,
        match=r"no stage layer_17, points .did you mean 'layer_01'.*; it has energies, layer_00",
    ):
        cf.train(build(slab, small), slab, run=tmp_path / "run", stages=["layer_17", "points"])
    assert not (tmp_path / "run").exists()
