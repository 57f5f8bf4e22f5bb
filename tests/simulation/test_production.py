"""Production: the seed decides, and neither processes nor interruptions change a shower."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caloforge as cf
from caloforge.simulation import Fixed, LogUniform, LossWarning, Progress, detector_preset

# read-outs of the field are narrower than showers
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.simulation.LossWarning")

REQUEST: dict[str, Any] = {
    "particle": "e-",
    "energy": LogUniform(200, 1000),
    "n": 11,
    "chunk_size": 3,
    "seed": 5,
}


def make(**changes: Any) -> cf.VoxelShowers:
    return cf.simulate("calochallenge-2", **{**REQUEST, **changes})


def write(output: Path, **changes: Any) -> Path:
    return cf.simulate("calochallenge-2", output=output, **{**REQUEST, **changes})


def assert_same(a: cf.VoxelShowers, b: cf.VoxelShowers) -> None:
    assert a.geometry == b.geometry
    for name in ("energy_inc", "offset", "index", "energy"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.fixture(scope="module")
def showers(geant4_data: Path) -> cf.VoxelShowers:
    return make()


class Interrupt:
    """Presses Ctrl-C when so many showers are done."""

    def __init__(self, done: int) -> None:
        self.done = done

    def __call__(self, progress: Progress) -> None:
        if progress.done >= self.done:
            raise KeyboardInterrupt


def test_the_seed_decides(showers: cf.VoxelShowers) -> None:
    assert_same(make(), showers)
    other = make(seed=6)
    assert not np.array_equal(other.energy_inc, showers.energy_inc)
    assert not np.array_equal(
        make(energy=Fixed(500.0)).energy, make(energy=Fixed(500.0), seed=6).energy
    )


def test_showers_of_one_run_differ(geant4_data: Path) -> None:
    totals = make(energy=Fixed(500.0)).total_energy()
    assert len(np.unique(totals)) == len(totals)


def test_another_detector_in_between_changes_nothing(showers: cf.VoxelShowers) -> None:
    cf.simulate("ild-30", energy=Fixed(500.0), n=2)
    assert_same(make(), showers)


def test_the_number_of_processes_changes_nothing(showers: cf.VoxelShowers) -> None:
    assert_same(make(processes=2), showers)


def test_fewer_showers_are_the_first_ones(showers: cf.VoxelShowers) -> None:
    assert_same(make(n=6), showers[:6])


def test_a_file_holds_the_same_and_says_how_it_was_made(
    showers: cf.VoxelShowers, tmp_path: Path
) -> None:
    output = write(tmp_path / "made.h5")
    assert_same(cf.read(output), showers)
    with cf.open_showers(output) as file:
        attributes = file.attributes
        assert file.particles.pdg.tolist() == [11] * 11
        assert file.particles.are_along_depth  # in the frame of voxels that follow the particle
    assert attributes["geometry"] == "calochallenge-2"
    assert attributes["particle"] == "e-"
    assert attributes["energy"] == "loguniform:200:1000"
    assert attributes["threshold_MeV"] == pytest.approx(0.01515, rel=1e-3)
    assert attributes["generator"].startswith("Geant4 11.")
    assert "calzone 1." in attributes["generator"]
    assert (attributes["physics"], attributes["cut_mm"], attributes["seed"]) == ("standard", 0.7, 5)
    assert "--energy loguniform:200:1000 -n 11 --seed 5 --chunk-size 3" in attributes["command"]
    assert json.loads(attributes["request"])["n"] == 11
    assert [path.name for path in tmp_path.iterdir()] == ["made.h5"]


def test_the_threshold_of_the_detector_is_the_one_in_the_file(
    geant4_data: Path, tmp_path: Path
) -> None:
    output = cf.simulate("ild-30", energy=Fixed(1e3), n=2, output=tmp_path / "made.h5")
    with cf.open_showers(output) as file:
        assert file.attributes["threshold_MeV"] == 0.0
        assert file[:].energy.min() < 0.01


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_run_resumes_to_the_same_file(
    showers: cf.VoxelShowers, tmp_path: Path, processes: int
) -> None:
    output = tmp_path / "made.h5"
    with pytest.raises(KeyboardInterrupt):
        write(output, progress=Interrupt(6), processes=processes)
    assert not output.exists()
    seen: list[Progress] = []
    assert write(output, resume=True, progress=seen.append) == output
    assert_same(cf.read(output), showers)
    assert seen[-1].done == seen[-1].n == 11
    assert seen[-1].made <= 5
    whole = write(tmp_path / "whole.h5")
    with cf.open_showers(output) as a, cf.open_showers(whole) as b:
        assert str(a.attributes) == str(b.attributes)


def test_a_finished_run_resumes_at_once(geant4_data: Path, tmp_path: Path) -> None:
    output = write(tmp_path / "made.h5", n=3)
    seen: list[Progress] = []
    write(output, n=3, resume=True, progress=seen.append)
    assert seen == []
    write(output, n=3, seed=9, resume=True, progress=seen.append)
    assert seen[-1].done == 3


def test_another_request_does_not_resume(geant4_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "made.h5"
    with pytest.raises(KeyboardInterrupt):
        write(output, progress=Interrupt(3))
    with pytest.raises(ValueError, match=r"seed: 5 then, 7 now"):
        write(output, resume=True, seed=7)
    with pytest.raises(ValueError, match="unfinished"):
        write(output)


def test_a_failed_run_leaves_the_existing_file_alone(geant4_data: Path, tmp_path: Path) -> None:
    output = write(tmp_path / "made.h5", n=3)
    before = output.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write(output, seed=8, progress=Interrupt(3))
    assert output.read_bytes() == before


def test_progress_counts_showers_and_energy(geant4_data: Path) -> None:
    seen: list[Progress] = []
    made = make(progress=seen.append)
    assert [progress.done for progress in seen] == [3, 6, 9, 11]
    assert {progress.n for progress in seen} == {11}
    assert seen[-1].energy_made == pytest.approx(made.energy_inc.sum(dtype=np.float64))
    assert seen[-1].energy_per_second == pytest.approx(seen[-1].energy_made / seen[-1].seconds)
    assert seen[-1].showers_per_second == pytest.approx(11 / seen[-1].seconds)


def test_the_same_showers_in_finer_voxels_have_the_same_energy(geant4_data: Path) -> None:
    # Without a threshold both read-outs sum the same steps in the same cylinder.
    coarse, fine = (
        cf.simulate(replace(detector_preset(name), threshold=0.0), **REQUEST)
        for name in ("calochallenge-2", "calochallenge-3")
    )
    np.testing.assert_allclose(coarse.layer_energies(), fine.layer_energies(), rtol=1e-5)
    np.testing.assert_allclose(
        coarse.dense().sum(axis=2),
        fine.dense().sum(axis=2).reshape(11, 45, 9, 2).sum(axis=3),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.filterwarnings("default::caloforge.simulation.LossWarning")
def test_what_lies_outside_the_voxels_is_what_wider_ones_hold(
    geant4_data: Path, tmp_path: Path
) -> None:
    tilted: dict[str, Any] = {"direction": (3**0.5, 0.0, 1.0), "energy": Fixed(1000.0), "n": 8}
    detector = replace(detector_preset("calochallenge-2"), threshold=0.0)
    bins = detector.readout.layers[0]
    narrow, wide = (
        replace(
            detector, readout=replace(detector.readout, layers=(replace(bins, r_edges=r),) * 45)
        )
        for r in (bins.r_edges[:4], (*bins.r_edges, 1000.0))
    )
    with pytest.warns(
        LossWarning, match=r"[\d.]+% of the deposited energy lies outside the voxels"
    ):
        path = cf.simulate(narrow, output=tmp_path / "narrow.h5", seed=2, **tilted)
    whole = cf.simulate(wide, seed=2, **tilted).total_energy()
    with cf.open_showers(path) as file:
        outside, kept = file.column("outside"), file[:].total_energy()
    assert outside is not None
    assert outside.mean() > 0.02
    np.testing.assert_allclose(kept, (1 - outside) * whole, rtol=1e-5)  # energies are in float32


@pytest.mark.filterwarnings("ignore::caloforge.simulation.LossWarning")
def test_a_particle_that_leaves_the_plates_at_a_side_is_said(geant4_data: Path) -> None:
    few = {"energy": Fixed(200.0), "n": 1}
    with pytest.warns(LossWarning, match=r"1000 mm wide, at a side: .* back at 616 mm"):
        make(direction=(4.0, 0.0, 1.0), **few)  # 4 * (153 + 1) mm
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LossWarning)
        make(direction=(3.0, 0.0, 1.0), **few)
    assert not [one for one in caught if "at a side" in str(one.message)]


def test_another_read_out_of_a_known_detector(geant4_data: Path) -> None:
    preset = cf.geometry_preset("calochallenge-2")
    quiet = replace(preset, threshold=1.0)
    made = cf.simulate(quiet, **REQUEST)
    assert made.geometry == quiet
    assert made.energy.min() >= 1.0


def test_rounded_energies_are_close(geant4_data: Path, tmp_path: Path) -> None:
    exact = make(n=3)
    rounded = cf.read(write(tmp_path / "made.h5", n=3, mantissa_bits=13))
    np.testing.assert_allclose(rounded.energy, exact.energy, rtol=2**-13)
    assert not np.array_equal(rounded.energy, exact.energy)


def test_a_finished_file_of_another_rounding_is_made_anew(
    geant4_data: Path, tmp_path: Path
) -> None:
    write(tmp_path / "made.h5", n=3)
    exact = cf.read(tmp_path / "made.h5")
    rounded = cf.read(write(tmp_path / "made.h5", n=3, mantissa_bits=9, resume=True))
    assert not np.array_equal(rounded.energy, exact.energy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "n must be 1 or more"),
        ({"processes": 0}, "processes must be 1 or more"),
        ({"chunk_size": -1}, "chunk_size must be 1 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"physics": "best"}, "physics must be one of"),
        ({"cut": 0.0}, "cut must be positive"),
        ({"energy": "flat"}, "an energy spectrum is"),
        ({"particle": "pi-"}, "the gun shoots"),
        ({"resume": True}, "resume needs an output"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    geant4_data: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(**change)


def test_a_detector_without_an_official_sample_asks_for_the_particle() -> None:
    known = detector_preset("calochallenge-2")
    deeper = replace(known.readout, z=tuple(2 * z for z in known.readout.z))
    detector = replace(known, readout=deeper)
    with pytest.raises(ValueError, match=r"which particle to shoot at .* give particle="):
        cf.simulate(detector, energy=Fixed(1e3), n=1)


def test_an_unknown_detector_is_refused(geant4_data: Path) -> None:
    with pytest.raises(ValueError, match="no detector is known for 'calochallenge-9'"):
        cf.simulate("calochallenge-9", energy=Fixed(1e3), n=1)
