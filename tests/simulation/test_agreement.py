"""Simulated showers agree with Geant4 showers that others made, and would not otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import caloforge as cf
from caloforge.simulation import Detector, detector_preset

# read-outs of the field are narrower than showers
pytestmark = pytest.mark.filterwarnings("ignore::caloforge.simulation.LossWarning")

Floats = NDArray[np.float64]


def mean_p_value(sample: Floats, reference: Floats) -> float:
    """Two-sided, of the difference of two means; samples of shape (n,)."""
    error = np.hypot(stats.sem(sample), stats.sem(reference))
    return float(2 * stats.norm.sf(abs(sample.mean() - reference.mean()) / error))


def profile_p_value(sample: Floats, reference: Floats) -> float:
    """Chi-squared of two mean profiles with their covariances; samples of shape (n, bins).

    Neighbouring bins are joined until each holds 2 % of the reference: in thinner ones a few
    showers decide, and their mean is not normal.
    """
    share = reference.mean(axis=0) / reference.mean(axis=0).sum()
    bins = np.unique((np.cumsum(share) - share / 2) // 0.02, return_inverse=True)[1]
    join = np.eye(bins.max() + 1)[bins]
    a, b = sample @ join, reference @ join
    difference = a.mean(axis=0) - b.mean(axis=0)
    covariance = np.cov(a, rowvar=False) / len(a) + np.cov(b, rowvar=False) / len(b)
    chi2 = difference @ np.linalg.solve(covariance, difference)
    return float(stats.chi2.sf(chi2, len(difference)))


def p_values(showers: cf.VoxelShowers, reference: cf.VoxelShowers) -> dict[str, float]:
    """Probability of differences as large as these between two samples of the same showers."""
    both = showers, reference
    response, expected = (s.total_energy() / s.energy_inc for s in both)
    rings = np.unique(reference.geometry.voxel_r)

    def radial(s: cf.VoxelShowers) -> Floats:
        ring = np.searchsorted(rings, s.geometry.voxel_r[s.index])
        sums = np.bincount(s.event() * len(rings) + ring, s.energy, len(s) * len(rings))
        return sums.reshape(len(s), len(rings)) / s.energy_inc[:, None]

    return {
        "response": mean_p_value(response, expected),
        "width of the response": mean_p_value(
            (response - response.mean()) ** 2, (expected - expected.mean()) ** 2
        ),
        "longitudinal profile": profile_p_value(
            *(s.layer_energies() / s.energy_inc[:, None] for s in both)
        ),
        "radial profile": profile_p_value(*(radial(s) for s in both)),
    }


def read_reference(folder: Path, name: str, energies: tuple[float, float]) -> cf.VoxelShowers:
    """The shared showers, train and test, of a range of energies [MeV]."""
    both = cf.VoxelShowers.concatenate(
        [cf.read(folder / f"{name}_{part}.h5") for part in ("train", "test")]
    )
    low, high = energies
    return both[(both.energy_inc >= low) & (both.energy_inc < high)]


@pytest.fixture(scope="module")
def electrons(shared_data: Path) -> cf.VoxelShowers:
    """3,906 electrons of 1 to 10 GeV, log-uniform."""
    return read_reference(shared_data, "electrons-1-100GeV_calochallenge-2", (1e3, 1e4))


def with_tungsten(detector: Detector, factor: float) -> Detector:
    plates = (
        dataclasses.replace(plate, thickness=plate.thickness * factor)
        if plate.material == "W"
        else plate
        for plate in detector.plates
    )
    return dataclasses.replace(detector, plates=tuple(plates))


def simulate_electrons(detector: Detector, n: int) -> cf.VoxelShowers:
    return cf.simulate(detector, particle="e-", energy="loguniform:1e3:1e4", n=n, seed=1)


@pytest.mark.slow
def test_electrons_agree(geant4_data: Path, electrons: cf.VoxelShowers) -> None:
    made = simulate_electrons(detector_preset("calochallenge-2"), 1000)
    found = p_values(made, electrons)
    assert min(found.values()) > 1e-3, found


@pytest.mark.slow
def test_electrons_in_tungsten_5_percent_thicker_do_not(
    geant4_data: Path, electrons: cf.VoxelShowers
) -> None:
    thicker = with_tungsten(detector_preset("calochallenge-2"), 1.05)
    found = p_values(simulate_electrons(thicker, 120), electrons)
    assert found["response"] < 1e-4, found
    assert found["longitudinal profile"] < 1e-4, found
    assert found["radial profile"] < 1e-3, found


def test_the_comparison_accepts_geant4_against_itself(
    electrons: cf.VoxelShowers, rng: np.random.Generator
) -> None:
    found = []
    for _ in range(20):
        order = rng.permutation(len(electrons))
        found += p_values(electrons[order[:1000]], electrons[order[1000:]]).values()
    assert min(found) > 1e-3
    assert np.mean(np.array(found) < 0.5) == pytest.approx(0.5, abs=0.25)


def test_photons_agree_in_the_ild_calorimeter(geant4_data: Path, shared_data: Path) -> None:
    reference = read_reference(shared_data, "photons-10-100GeV_ild-30", (1e4, 1.6e4))
    made = cf.simulate("ild-30", energy="uniform:1e4:1.6e4", n=40, seed=1)
    response, expected = (s.total_energy() / s.energy_inc for s in (made, reference))
    assert mean_p_value(response, expected) > 1e-3
    # The odd layers stand behind less material than the even ones: a structure of ±10 %.
    profiles = [s.layer_energies().sum(axis=0) / s.total_energy().sum() for s in (made, reference)]
    np.testing.assert_allclose(*profiles, atol=0.015)
