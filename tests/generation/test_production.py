"""Generation in memory, streamed, interrupted: always the same showers."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import caloforge as cf
from caloforge.cascade import SamplingOptions, System
from caloforge.generation import GenerationProgress, generate, training_energies
from caloforge.showers import UnitsWarning, VoxelShowers
from caloforge.training import RunFolder, load

# particles of any energy are asked for
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")

ENERGIES = np.geomspace(1e3, 1e5, 43).astype(np.float32)


@pytest.fixture(scope="module")
def system(run: Path) -> System:
    return load(run)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten showers a part, so that a job of 43 has five."""
    monkeypatch.setattr("caloforge.generation.production.PART_SIZE", 10)


def same(a: VoxelShowers, b: VoxelShowers) -> bool:
    columns = ("energy_inc", "offset", "index", "energy")
    return all(np.array_equal(getattr(a, c), getattr(b, c)) for c in columns)


@pytest.mark.parametrize("batch_size", [1, 5, 7, 100])
def test_streamed_to_disk_is_as_in_memory(
    batch_size: int, system: System, small_parts: None, tmp_path: Path
) -> None:
    energies = ENERGIES[:13] if batch_size == 1 else ENERGIES
    kept = generate(system, energies, seed=3, batch_size=batch_size)
    path = generate(system, energies, seed=3, batch_size=batch_size, output=tmp_path / "a.h5")
    assert same(cf.read(path), kept)
    assert same(system.generate(energies, seed=3, batch_size=batch_size), kept)
    assert np.array_equal(kept.energy_inc, energies)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.h5"]


def test_an_interrupted_job_gives_what_an_uninterrupted_one_gives(
    system: System, small_parts: None, tmp_path: Path
) -> None:
    class StopError(Exception):
        pass

    def stop(progress: GenerationProgress) -> None:
        if progress.done > 25:
            raise StopError

    job = {"seed": 3, "batch_size": 5, "output": tmp_path / "fake.h5"}
    with pytest.raises(StopError):
        generate(system, ENERGIES, **job, progress=stop)
    assert not (tmp_path / "fake.h5").exists()
    parts = sorted((tmp_path / "fake.h5.parts").glob("*.h5"))
    assert len(parts) == 2
    parts[0].unlink()  # a part in the middle is missing too
    seen: list[GenerationProgress] = []
    generate(system, ENERGIES, **job, resume=True, progress=seen.append)
    assert same(cf.read(tmp_path / "fake.h5"), generate(system, ENERGIES, seed=3, batch_size=5))
    assert (seen[0].done, seen[-1].done, seen[-1].n) == (15, 43, 43)
    assert all(progress.showers_per_second > 0 for progress in seen)


def test_showers_of_two_calibrations_do_not_mix(
    caloclouds_run: Path, small_parts: None, tmp_path: Path
) -> None:
    """The networks are the same, the showers are not."""

    def stop(progress: GenerationProgress) -> None:
        raise KeyboardInterrupt

    system, energies = load(caloclouds_run), ENERGIES[-12:]
    job = {"seed": 3, "batch_size": 10, "output": tmp_path / "fake.h5"}
    with pytest.raises(KeyboardInterrupt):
        generate(system, energies, **job, progress=stop)
    calibration = system.stages["clouds"]
    state = calibration.state()
    calibration.load_state({**state, "shift": [value + 1.0 for value in state["shift"]]})
    with pytest.raises(ValueError, match=r"answers another request .*weights: "):
        generate(system, energies, **job, resume=True)
    calibration.load_state(state)
    generate(system, energies, **job, resume=True)


@pytest.mark.parametrize(
    "other", ["energies", "seed", "batch_size", "options", "weights", "settings"]
)
def test_resuming_another_job_is_refused(
    other: str, system: System, run: Path, small_parts: None, tmp_path: Path
) -> None:
    def stop(progress: GenerationProgress) -> None:
        raise KeyboardInterrupt

    job = {"seed": 3, "batch_size": 5, "output": tmp_path / "fake.h5"}
    with pytest.raises(KeyboardInterrupt):
        generate(system, ENERGIES, **job, progress=stop)
    energies, changed = ENERGIES, system
    if other == "energies":
        energies = ENERGIES[::-1]  # the same sum
    elif other == "weights":
        changed = load(run)
        next(changed.stages["layer_02"].parameters()).data += 0.1
    elif other == "settings":
        changed = load(run)
        changed.config = dataclasses.replace(changed.config, rescale="none")
    elif other == "options":
        job["options"] = SamplingOptions(postprocess=False)
    else:
        job[other] = 1
    with pytest.raises(ValueError, match=f"answers another request .*{other}: "):
        generate(changed, energies, **job, resume=True)
    with pytest.raises(ValueError, match="unfinished job: resume it, or remove"):
        generate(system, ENERGIES, seed=3, batch_size=5, output=tmp_path / "fake.h5")


def test_the_file_says_where_it_comes_from(system: System, tmp_path: Path) -> None:
    path = generate(
        system, ENERGIES, seed=3, output=tmp_path / "fake.h5", attributes={"run": "slab"}
    )
    with cf.open_showers(path) as file:
        facts = file.attributes
        assert file.geometry == system.geometry
        assert facts["generator"] == f"caloforge {cf.__version__}, l2lflows"
        assert (facts["seed"], facts["run"]) == (3, "slab")
        assert facts["particle"] == "e-"


@pytest.mark.parametrize("energies", [[], [[1e4]], [1e4, 0.0], [float("nan")], [-5.0]])
def test_impossible_energies_are_refused_and_leave_nothing(
    energies: list[float], system: System, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="energ"):
        generate(system, energies, seed=1, output=tmp_path / "fake.h5")
    assert not list(tmp_path.iterdir())


def test_a_batch_without_showers_is_refused(system: System) -> None:
    with pytest.raises(ValueError, match="batch_size of 1 or more, got 43 and 0"):
        generate(system, ENERGIES, seed=1, batch_size=0)


@pytest.mark.parametrize("postprocess", [True, False])
def test_no_voxel_lies_below_the_threshold(postprocess: bool, system: System) -> None:
    options = SamplingOptions(postprocess=postprocess)
    showers = generate(system, ENERGIES, seed=5, options=options)
    assert len(showers.energy) > 100
    assert float(showers.energy.min()) >= np.float32(system.geometry.threshold)
    assert np.isfinite(showers.energy).all()


def test_post_processing_is_what_the_options_switch(system: System) -> None:
    on, off = (
        generate(system, ENERGIES, seed=5, options=SamplingOptions(postprocess=p))
        for p in (True, False)
    )
    assert not same(on, off)
    assert same(on, generate(system, ENERGIES, seed=5))


def test_energies_are_drawn_as_the_training_sample_has_them(run: Path, slab: VoxelShowers) -> None:
    config = RunFolder(run).config()
    sampled = training_energies(config, 5000, seed=1)
    assert sampled.dtype == np.float32
    assert slab.energy_inc.min() * 0.9999 <= sampled.min()
    assert sampled.max() <= slab.energy_inc.max() * 1.0001
    assert scipy.stats.ks_2samp(sampled, slab.energy_inc).pvalue > 1e-3
    for share in (0.1, 0.5, 0.9):
        expected = np.quantile(slab.energy_inc, share)
        below = np.count_nonzero(sampled < expected) / 5000
        assert below == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 5000))
    assert np.array_equal(sampled, training_energies(config, 5000, seed=1))
    assert not np.array_equal(sampled, training_energies(config, 5000, seed=2))


def test_a_run_that_does_not_know_its_energies_says_so() -> None:
    with pytest.raises(
        ValueError, match="does not record its training energies: give the energies"
    ):
        training_energies({"data": {}}, 5, seed=1)


def test_energies_in_gev_are_noticed(system: System) -> None:
    for draw in (generate, type(system).generate):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert len(draw(system, [50.0], seed=1)) == 1
        (units,) = [str(w.message) for w in caught if w.category is UnitsWarning]
        assert "50 to 50 MeV lie far outside the 1000 to 1e+06 MeV" in units
        assert units.endswith("are they in GeV?")
