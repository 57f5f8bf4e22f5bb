"""Every system is trained, saved and sampled alike: one seed, one folder, the same showers."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import caloforge as cf
from caloforge.cascade import presets, system_names
from caloforge.showers import Showers, VoxelShowers
from caloforge.training import RunFolder

# particles of any energy are asked for
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")

# the fixtures of a run folder, of the settings that it was trained with, and of the showers
RUNS = {
    "l2lflows": ("run", "small", "slab"),
    "calodream": ("calodream_run", "small_calodream", "bundled"),
    "supercalo": ("supercalo_run", "small_supercalo", "bundled"),
    "library": ("library_run", "none", "bundled"),
    "library/layers": ("layers_run", "none", "bundled"),
    "library/layers-points": ("layers_points_run", "none", "bundled_points"),
    "parametric": ("parametric_run", "none", "bundled"),
    "parametric/binned": ("binned_run", "none", "bundled"),
    "parametric/points": ("parametric_points_run", "none", "bundled_points"),
    "parametric/binned-points": ("binned_points_run", "none", "bundled_points"),
    "quilt": ("quilt_run", "small_quilt", "bundled"),
    "quilt/directed": ("quilt_directed_run", "none", "bundled"),
    "quilt/copula-points": ("quilt_points_run", "none", "bundled_points"),
    "caloclouds": ("caloclouds_run", "small_caloclouds", "bundled_points"),
    "l2lflows, scores": ("l2lflows_scores_run", "small_scores", "slab"),
    "calodream, scores": ("calodream_scores_run", "small_calodream_scores", "bundled"),
    "supercalo, scores": ("supercalo_scores_run", "small_supercalo_scores", "bundled"),
}
ALONE = [name for name in RUNS if "," not in name]  # that have all stages of the others, too
LEARNED = [name for name in RUNS if f"{name}/tiny" in presets()]  # what begins with weights
EACH = pytest.mark.parametrize("name", RUNS)
ENERGIES = np.geomspace(2e3, 9e4, 7).astype(np.float32)


def same(a: Showers, b: Showers) -> bool:
    names = (*a.of_showers, "offset", *a.columns)
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)


def smallest(name: str) -> str:
    """The preset that trains in no time, which its settings may give stages of another system."""
    name, _, _ = name.partition(",")
    return f"{name}/tiny" if f"{name}/tiny" in presets() else name


def test_every_system_is_listed() -> None:
    assert {smallest(name).partition("/")[0] for name in RUNS} == set(system_names())


@EACH
def test_one_seed_trains_one_system(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A system trained again has the weights of the run folder and samples what it samples."""
    run, settings, showers = map(request.getfixturevalue, RUNS[name])
    sample = showers[: RunFolder(run).config()["data"]["n_showers"]]
    system = cf.build(smallest(name), sample.geometry, seed=4, overrides=settings)
    trained = cf.train(system, sample, run=tmp_path / "again", seed=4)
    for stage in trained.stages:
        mine, theirs = (
            load_file(folder / "stages" / stage / "weights.safetensors")
            for folder in (tmp_path / "again", run)
        )
        assert mine.keys() == theirs.keys()
        assert all(mine[key].equal(theirs[key]) for key in mine)
        transforms = (
            (folder / "stages" / stage / "transforms.json").read_text()
            for folder in (tmp_path / "again", run)
        )
        assert len(set(transforms)) == 1
        assert RunFolder(run).stage(stage).summary()["seconds"] >= 0
    loaded = cf.load(run)
    assert loaded.config == trained.config
    assert same(trained.generate(ENERGIES, seed=1), loaded.generate(ENERGIES, seed=1))


@EACH
def test_a_seed_gives_one_sample_whatever_was_drawn_before(
    name: str, request: pytest.FixtureRequest
) -> None:
    system = cf.load(request.getfixturevalue(RUNS[name][0]))
    first = system.generate(ENERGIES, seed=1, batch_size=3)
    other = system.generate(ENERGIES, seed=2, batch_size=3)
    assert same(system.generate(ENERGIES, seed=1, batch_size=3), first)
    assert not same(first, other)
    # a batch is independent of the others
    assert same(next(system.stream(ENERGIES[3:6], seed=1, batch_size=3, first=3)), first[3:6])
    assert np.array_equal(first.energy_inc, ENERGIES)
    assert first.geometry == system.geometry
    if isinstance(first, VoxelShowers):  # points have no threshold
        assert float(first.energy.min()) >= np.float32(system.geometry.threshold)


@EACH
def test_a_system_is_the_same_in_another_process(name: str, request: pytest.FixtureRequest) -> None:
    """Where its configuration and its weights arrive, as in a copy."""
    system = cf.load(request.getfixturevalue(RUNS[name][0]))
    expected = system.generate(ENERGIES, seed=1)  # prepared, which stays here
    other = copy.copy(system)
    assert other is not system
    assert (other.seed, other.usual, other.trained) == (system.seed, system.usual, system.trained)
    assert same(other.generate(ENERGIES, seed=1), expected)
