"""The bundled sample: real showers of its own, small, and made as its file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import caloforge as cf
from caloforge import samples


@pytest.fixture(scope="module")
def electrons() -> cf.VoxelShowers:
    return samples.load()


def test_parts_are_the_whole(electrons: cf.VoxelShowers) -> None:
    train, test = samples.load("train"), samples.load("test")
    assert (len(train), len(test)) == (2000, 1000)
    both = cf.VoxelShowers.concatenate([train, test])
    np.testing.assert_array_equal(both.energy, electrons.energy)
    np.testing.assert_array_equal(both.energy_inc, electrons.energy_inc)


def test_another_part_is_refused() -> None:
    with pytest.raises(ValueError, match="all, train, test, got 'valid'"):
        samples.load("valid")  # type: ignore[arg-type]


def test_energies_are_log_uniform_from_1_to_100_gev(electrons: cf.VoxelShowers) -> None:
    assert stats.kstest(np.log10(electrons.energy_inc), stats.uniform(3, 2).cdf).pvalue > 1e-3


def test_the_file_says_how_it_was_made() -> None:
    with cf.open_showers(samples.path()) as file:
        attributes = file.attributes
    assert attributes["generator"].startswith("Geant4 11.4 (calzone 1.2")
    assert attributes["command"].startswith(
        "caloforge simulate --geometry calochallenge-2 --shape planes --particle e- "
        "--energy loguniform:1000.0:100000.0 -n 3000 --seed 101"
    )
    assert attributes["threshold_MeV"] == pytest.approx(0.01515, rel=1e-3)


def test_the_file_is_small_enough_to_ship() -> None:
    assert samples.path().stat().st_size < 10e6


def test_it_agrees_with_other_geant4_showers_and_shares_none(
    electrons: cf.VoxelShowers, shared_data: Path
) -> None:
    name = "electrons-1-100GeV_calochallenge-2"
    others = cf.VoxelShowers.concatenate(
        [cf.read(shared_data / f"{name}_{part}.h5") for part in ("train", "test")]
    )
    # Of 3,000 and 7,902 energies of float32's precision, 0.4 agree by chance.
    assert len(np.intersect1d(electrons.energy_inc, others.energy_inc)) < 5
    ours, theirs = (s.total_energy() / s.energy_inc for s in (electrons, others))
    assert abs(ours.mean() - theirs.mean()) < 3.5 * np.hypot(stats.sem(ours), stats.sem(theirs))
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)


def test_the_point_clouds_are_geant4_photons_on_their_grid(
    bundled_points: cf.PointShowers,
) -> None:
    assert (len(bundled_points), len(bundled_points.energy)) == (60, 213_087)
    assert bundled_points.geometry == cf.geometry_preset("ild-ecal")
    assert stats.kstest(bundled_points.energy_inc, stats.uniform(1e4, 9e4).cdf).pvalue > 1e-3
    # silicon sees 2.5 % of a photon's energy, with a resolution of 17 % / sqrt(E / GeV)
    seen = bundled_points.total_energy() / bundled_points.energy_inc
    assert seen == pytest.approx(0.0254, rel=0.3)
    cells = (bundled_points.x.astype(np.float64) + 200) / (2.5 / 3)
    assert cells % 1 == pytest.approx(0.5, abs=1e-3)
    assert samples.points_path().stat().st_size < 1e6
