"""The correction of the number of points, and of where they lie (CaloClouds, section 3.3)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from caloforge.cascade import Quantities, SamplingOptions, ShowerQuantities
from caloforge.cascade.draw import Draw
from caloforge.cascade.usual import UsualParticle
from caloforge.geometry import geometry_preset
from caloforge.showers import Particles, PointShowers
from caloforge.systems.caloclouds import CloudFit
from caloforge.systems.caloclouds.calibration import CloudCalibration, Occupancy

N = np.arange(700, 7000, 50)


def fitted_to(calibration: CloudCalibration, geant4: PointShowers, sampled: PointShowers) -> None:
    """Fit to clouds whose networks sample their points one by one."""
    n_data, n_gen = np.diff(geant4.offset), np.diff(sampled.offset)
    calibration.fit_clouds(geant4, n_data, sampled, n_gen)


def cubic(n: np.ndarray) -> np.ndarray:
    """Hits of n points, fewer and fewer for each."""
    return 0.5 * n - 3e-5 * n**2 + 1e-9 * n**3


@pytest.fixture
def tenth_fewer() -> Occupancy:
    """Sampled points hit more cells: those of 0.9 N are as many as Geant4's of N."""
    return Occupancy.fit(N, cubic(N), N, cubic(N / 0.9))


def counts(generator: torch.Generator) -> Tensor:
    rates = torch.linspace(0, 300, 30).expand(50, 30)
    return torch.poisson(rates, generator=generator)


def test_the_correction_is_p_gen_of_p_data(tenth_fewer: Occupancy) -> None:
    n = torch.tensor([1000.0, 2500.0, 5000.0])
    wanted = torch.full((3,), 0.9, dtype=torch.float64)
    torch.testing.assert_close(tenth_fewer.correction(n), wanted, rtol=2e-3, atol=0)
    same = Occupancy.fit(N, cubic(N), N, cubic(N))
    torch.testing.assert_close(same.correction(n), torch.ones(3).double(), rtol=2e-3, atol=0)


def test_outside_the_range_of_the_fit_it_goes_on_as_at_its_end(tenth_fewer: Occupancy) -> None:
    c = tenth_fewer.correction(torch.tensor([1.0, 700.0, 6950.0, 1e6]))
    assert c[0] == c[1] != c[2] == c[3]


def test_it_is_never_more_than_a_factor_of_two() -> None:
    n = torch.tensor([1000.0, 3000.0])
    for factor, limit in ((5, 0.5), (0.2, 2.0)):
        wild = Occupancy.fit(N, cubic(N), N, factor * cubic(N))
        assert wild.correction(n).tolist() == [limit] * 2


def test_corrected_counts_are_whole_and_sum_to_the_corrected_number(
    tenth_fewer: Occupancy, generator: torch.Generator
) -> None:
    before = counts(generator)
    after = tenth_fewer.corrected(before)
    c = tenth_fewer.correction(before.sum(1))
    assert after.dtype == before.dtype
    assert torch.equal(after, after.round())
    assert torch.equal(after.sum(1).double(), (c * before.sum(1)).round())
    assert float((after - c[:, None] * before).abs().max()) <= 1
    assert torch.equal(after[:, 0], torch.zeros(50))  # as the first layer was empty
    # no layer is favoured
    assert (after.sum(0) / before.sum(0))[5:].numpy() == pytest.approx(0.9, abs=0.01)


def test_a_correction_of_one_changes_nothing(generator: torch.Generator) -> None:
    same = Occupancy.fit(N, N, N, N)
    before = counts(generator)
    assert torch.equal(same.corrected(before), before)


def test_polynomials_are_kept_as_numbers(
    tenth_fewer: Occupancy, generator: torch.Generator
) -> None:
    again = Occupancy.from_state(json.loads(json.dumps(tenth_fewer.state())))
    n = torch.rand(100, generator=generator) * 7000
    assert torch.equal(again.correction(n), tenth_fewer.correction(n))


def test_too_few_different_showers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"4 different numbers of points of Geant4, got \[5, 6\]"):
        Occupancy.fit(np.array([5, 6, 6]), np.array([1, 2, 2]), N, N)
    with pytest.raises(ValueError, match=r"hits of sampled showers, got \[7\]: train longer"):
        Occupancy.fit(N, N, N, np.full(len(N), 7))


# ---------------------------------------------------------------- on real clouds


def halved(clouds: PointShowers) -> PointShowers:
    """Every second point cut into two halves, which hit the same cells."""
    copies = np.tile([1, 2], len(clouds.energy))[: len(clouds.energy)]
    ends = np.concatenate([[0], np.cumsum(copies)])
    columns = {name: np.repeat(getattr(clouds, name), copies) for name in clouds.columns}
    columns["energy"] = columns["energy"] / np.repeat(copies, copies)
    return dataclasses.replace(clouds, offset=ends[clouds.offset], **columns)


def moved(clouds: PointShowers, x: float, y: float) -> PointShowers:
    return dataclasses.replace(clouds, x=clouds.x + np.float32(x), y=clouds.y + np.float32(y))


def test_a_network_that_draws_half_as_many_points_again_for_a_hit_is_corrected(
    bundled_points: PointShowers,
) -> None:
    calibration = CloudCalibration(CloudFit(), bundled_points.geometry)
    assert not calibration.is_fitted
    assert calibration.shift.tolist() == [0, 0]
    fitted_to(calibration, bundled_points, halved(bundled_points))
    assert calibration.is_fitted
    assert calibration.occupancy is not None
    n = torch.from_numpy(np.diff(bundled_points.offset))
    assert calibration.occupancy.correction(n).numpy() == pytest.approx(1.5, rel=0.05)
    assert calibration.shift.tolist() == pytest.approx([0, 0], abs=1e-5)


def test_the_mean_centre_of_gravity_is_brought_to_that_of_geant4(
    bundled_points: PointShowers,
) -> None:
    calibration = CloudCalibration(CloudFit(), bundled_points.geometry)
    fitted_to(calibration, bundled_points, moved(bundled_points, 3.0, -1.25))
    assert calibration.shift.tolist() == pytest.approx([-3.0, 1.25], abs=1e-4)


@pytest.mark.parametrize("name", [None, "ild-30"])
def test_hits_are_cells_above_the_threshold_of_the_geometry_that_is_named(
    bundled_points: PointShowers, name: str | None
) -> None:
    clouds = bundled_points[:20]
    calibration = CloudCalibration(CloudFit(geometry=name), clouds.geometry)
    fitted_to(calibration, clouds, clouds)
    assert calibration.occupancy is not None
    cells = clouds.project(clouds.geometry if name is None else geometry_preset(name)).dense()
    # a fit by least squares keeps the mean
    fitted = calibration.occupancy.p_data(np.diff(clouds.offset))
    assert fitted.mean() == pytest.approx((cells >= np.float32(0.1)).sum() / 20)


class Drawing:
    """A system that samples what it is given, and notes with which corrections."""

    name, is_directed, usual = "sampling", False, UsualParticle()

    def __init__(self, calibration: CloudCalibration, *rounds: PointShowers) -> None:
        self.calibration, self.rounds = calibration, list(rounds)
        self.seen: list[tuple[bool, float]] = []

    def prepare(self, device: str) -> None: ...

    def quantities(self, particles: Particles, **_: object) -> Quantities:
        self.seen.append((self.calibration.is_fitted, self.calibration.shift[0].item()))
        names = ("energy_inc", "layer_counts", "n_points", "points")
        return ShowerQuantities(self.rounds.pop(0), names).all()


def test_a_second_round_is_drawn_with_the_corrections_of_the_first(
    bundled_points: PointShowers, generator: torch.Generator
) -> None:
    calibration = CloudCalibration(CloudFit(showers=60, rounds=2), bundled_points.geometry)
    better = moved(bundled_points, 0.5, 0.0)
    system: Any = Drawing(calibration, moved(halved(bundled_points), 3.0, 0.0), better)
    told: list[tuple[int, int]] = []
    draw = Draw(system, bundled_points, 1, progress=lambda *told_: told.append(told_))
    calibration.fit(ShowerQuantities(bundled_points, calibration.learns), {}, generator, draw)
    assert told == [(60, 120), (120, 120)]
    assert system.seen == [(False, 0), (True, pytest.approx(-3, abs=1e-4))]
    assert calibration.shift.tolist() == pytest.approx([-3.5, 0], abs=1e-4)
    n = torch.tensor([3000.0])
    assert calibration.occupancy is not None
    assert calibration.occupancy.correction(n).item() == pytest.approx(1, rel=0.01)


@torch.no_grad()
def test_the_correction_acts_on_the_counts_and_says_where_points_are_shifted_to(
    tenth_fewer: Occupancy, bundled_points: PointShowers, generator: torch.Generator
) -> None:
    calibration = CloudCalibration(CloudFit(), bundled_points.geometry)
    calibration.load_state({**tenth_fewer.state(), "shift": [3.0, -1.25]})
    before = counts(generator)
    after = calibration.decode({}, {"layer_counts": before}, {}, SamplingOptions())
    assert torch.equal(after["layer_counts"], tenth_fewer.corrected(before))
    assert after["shift"].tolist() == [[3.0, -1.25]] * len(before)


def test_what_was_fitted_is_loaded_again(bundled_points: PointShowers) -> None:
    calibration, other = (CloudCalibration(CloudFit(), bundled_points.geometry) for _ in range(2))
    fitted_to(calibration, bundled_points, moved(halved(bundled_points), 1.0, 2.0))
    other.load_state(json.loads(json.dumps(calibration.state())))
    assert other.is_fitted
    assert other.state() == calibration.state()
    assert torch.equal(other.shift, calibration.shift)


@pytest.mark.parametrize("settings", [{"showers": 0}, {"rounds": 0}])
def test_no_showers_and_no_rounds_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="needs 1 shower or more and 1 round or more, got"):
        CloudFit(**settings)
