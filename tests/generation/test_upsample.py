"""Upsampling and resampling in memory, streamed, interrupted: always the same showers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caloforge as cf
from caloforge.cascade import SamplingOptions, System, build
from caloforge.generation import GenerationProgress, generate, upsample
from caloforge.showers import VoxelShowers

TWICE = SamplingOptions(resample=2)


@pytest.fixture(scope="module")
def system(supercalo_run: Path) -> System:
    return cf.load(supercalo_run)


@pytest.fixture(scope="module")
def given(bundled: VoxelShowers) -> VoxelShowers:
    return bundled[200:223]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten showers a part, so that a job of 23 has three, or five where each is sampled twice."""
    monkeypatch.setattr("caloforge.generation.production.PART_SIZE", 10)


def same(a: VoxelShowers, b: VoxelShowers) -> bool:
    columns = ("energy_inc", "offset", "index", "energy")
    return all(np.array_equal(getattr(a, c), getattr(b, c)) for c in columns)


class StopError(Exception):
    pass


@pytest.mark.parametrize("resample", [1, 2])
@pytest.mark.parametrize("batch_size", [4, 100])
def test_streamed_to_disk_is_as_in_memory(
    batch_size: int,
    resample: int,
    system: System,
    given: VoxelShowers,
    small_parts: None,
    tmp_path: Path,
) -> None:
    job = {
        "seed": 3,
        "batch_size": batch_size,
        "options": SamplingOptions(resample=resample),
    }
    kept = upsample(system, given, **job)
    path = upsample(system, given, **job, output=tmp_path / "fine.h5")
    assert same(cf.read(path), kept)
    batches = system.upsample(given.batches(batch_size), seed=3, options=job["options"])
    assert same(VoxelShowers.concatenate(list(batches)), kept)
    assert np.array_equal(kept.energy_inc, given.energy_inc.repeat(resample))
    assert [entry.name for entry in tmp_path.iterdir()] == ["fine.h5"]


def test_an_interrupted_job_gives_what_an_uninterrupted_one_gives(
    system: System, given: VoxelShowers, small_parts: None, tmp_path: Path
) -> None:
    """And counts all showers, not the coarse ones."""

    def stop(progress: GenerationProgress) -> None:
        if progress.done > 25:
            raise StopError

    output = tmp_path / "fine.h5"
    job = {"seed": 3, "batch_size": 5, "output": output, "options": TWICE}
    with pytest.raises(StopError):
        upsample(system, given, **job, progress=stop)
    parts = sorted((tmp_path / "fine.h5.parts").glob("*.h5"))
    assert [len(cf.read(part)) for part in parts] == [10, 10]
    parts[0].unlink()  # a part in the middle is missing too
    seen: list[GenerationProgress] = []
    upsample(system, given, **job, resume=True, progress=seen.append)
    expected = upsample(system, given, seed=3, batch_size=5, options=TWICE)
    assert same(cf.read(output), expected)
    assert [progress.done for progress in seen] == [20, 30, 40, 46]
    assert {progress.n for progress in seen} == {46}


@pytest.mark.parametrize("verb", ["generate", "upsample"])
def test_the_file_says_which_showers_share_a_coarse_one(
    verb: str, system: System, given: VoxelShowers, small_parts: None, tmp_path: Path
) -> None:
    few, job = given[:7], {"seed": 3, "batch_size": 2, "output": tmp_path / "fine.h5"}
    draw, source = (generate, few.energy_inc) if verb == "generate" else (upsample, few)
    with cf.open_showers(draw(system, source, **job, options=TWICE)) as file:
        assert file.column("coarse_shower").tolist() == [i for i in range(7) for _ in range(2)]
        assert file.attributes["resample"] == 2
        coarse = file[:].coarsen(system.coarsening).dense().reshape(7, 2, -1)
    np.testing.assert_allclose(coarse[:, 0], coarse[:, 1], rtol=1e-5, atol=1e-6)
    with cf.open_showers(draw(system, source, **job)) as file:
        assert file.column("coarse_shower") is None
        assert "resample" not in file.attributes


@pytest.mark.parametrize("other", ["coarse", "energies", "options", "weights", "seed"])
def test_resuming_another_job_is_refused(
    other: str,
    system: System,
    given: VoxelShowers,
    supercalo_run: Path,
    small_parts: None,
    tmp_path: Path,
) -> None:
    def stop(progress: GenerationProgress) -> None:
        raise StopError

    job = {"seed": 3, "batch_size": 5, "output": tmp_path / "fine.h5", "options": TWICE}
    with pytest.raises(StopError):
        upsample(system, given, **job, progress=stop)
    source, changed = given, system
    if other == "coarse":  # other showers of the same energies
        source = VoxelShowers.from_dense(given.energy_inc, 0.9 * given.dense(), given.geometry)
    elif other == "energies":
        source = given[np.arange(len(given))[::-1]]
    elif other == "weights":
        changed = cf.load(supercalo_run)
        next(changed.stages["upsample"].parameters()).data += 0.1
    elif other == "options":
        job["options"] = SamplingOptions(resample=1, memory_budget=1 << 20)
    else:
        job[other] = 1
    with pytest.raises(ValueError, match=f"answers another request .*{other}: "):
        upsample(changed, source, **job, resume=True)
    with pytest.raises(ValueError, match="unfinished job: resume it, or remove"):
        upsample(system, given, **job)


def test_what_is_refused_leaves_nothing(
    system: System, given: VoxelShowers, run: Path, tmp_path: Path
) -> None:
    """No parts either, which would have to be removed before the corrected job."""
    job = {"seed": 3, "output": tmp_path / "fine.h5"}
    other = cf.load(run)
    with pytest.raises(ValueError, match="l2lflows offers no choice of resample"):
        generate(other, [1e4], **job, options=TWICE)
    with pytest.raises(ValueError, match="it upsamples none"):
        upsample(other, given, **job)
    with pytest.raises(ValueError, match="nor in the fine ones"):
        upsample(system, other, [1e4], **job)
    with pytest.raises(ValueError, match="coarse showers have no energies of fine layers"):
        upsample(system, given.coarsen(system.coarsening), **job)
    alone = build("supercalo/tiny", given.geometry, overrides={"energies": None, "coarse": None})
    alone.stages["upsample"].load_state(system.stages["upsample"].state())
    with pytest.raises(ValueError, match="the stage upsample needs coarse_5x2x1"):
        generate(alone, [1e4], **job)
    with pytest.raises(ValueError, match="one incident energy or more"):
        upsample(system, given[:0], **job)
    with pytest.raises(ValueError, match="which have their energy_inc"):
        upsample(system, given, given.energy_inc, **job)
    assert not list(tmp_path.iterdir())
