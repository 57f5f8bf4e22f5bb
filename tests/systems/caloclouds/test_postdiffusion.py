"""After the diffusion, counts and energy of a cloud are what the Shower Flow says (3.3)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from caloforge.cascade import ShowerQuantities
from caloforge.showers import PointShowers
from caloforge.systems.caloclouds.postdiffusion import calibrated, uncalibrated


def cloud(depth: list[float], energy: list[float]) -> Tensor:
    """Points in a row along x."""
    x = torch.arange(len(depth))
    return torch.stack([x, torch.zeros(len(x)), torch.tensor(depth), torch.tensor(energy)], 1)


def totals(points: Tensor, n_points: Tensor) -> Tensor:
    """Energy of each cloud, in double precision."""
    return torch.stack([part[:, 3].double().sum() for part in points.split(n_points.tolist())])


def test_the_first_points_along_the_depth_are_those_of_the_first_layer() -> None:
    points = cloud([2.7, 0.1, 1.9, 0.2, 1.1], [1.0, 2.0, 3.0, 4.0, 0.0])
    counts = torch.tensor([[1.0, 0.0, 3.0, 1.0]])
    found, n_points = calibrated(points, torch.tensor([5]), counts, torch.tensor([20.0]))
    assert n_points.tolist() == [5]
    x, _, layer, energy = found.T.tolist()
    assert x == [1, 3, 4, 2, 0]
    assert layer == [0, 2, 2, 2, 3]
    assert energy == [4, 8, 0, 6, 2]  # twice what was sampled


def test_negative_energies_are_none_and_the_deepest_surplus_points_are_dropped() -> None:
    points = cloud([0.5, 3.0, 1.0, 2.0], [1.0, 100.0, -5.0, 3.0])
    counts = torch.tensor([[2.0, 1.0]])
    found, n_points = calibrated(points, torch.tensor([4]), counts, torch.tensor([1.0]))
    assert n_points.tolist() == [3]
    assert found[:, 0].tolist() == [0, 2, 3]
    assert found[:, 3].tolist() == [0.25, 0, 0.75]


def test_all_points_are_shifted_alike() -> None:
    points = cloud([0.0, 1.0], [1.0, 1.0])
    shift = torch.tensor([[0.5, -2.0]])
    found, _ = calibrated(
        points, torch.tensor([2]), torch.tensor([[2.0]]), torch.tensor([2.0]), shift
    )
    assert torch.equal(found[:, :2], points[:, :2] + shift)


def test_real_clouds_come_back_from_any_order_and_any_depth_within_their_layers(
    bundled_points: PointShowers, generator: torch.Generator
) -> None:
    """What Geant4 sampled has its own counts and energy: only its order is left to calibrate."""
    names = ("points", "n_points", "layer_counts", "visible_energy")
    q = ShowerQuantities(bundled_points[:9], names).all()
    depth = q["points"][:, 2] + torch.rand(len(q["points"]), generator=generator)
    sampled = torch.cat([q["points"][:, :2], depth[:, None], 0.7 * q["points"][:, 3:]], 1)
    found, n_points = calibrated(sampled, *(q[name] for name in names[1:]))
    assert torch.equal(n_points, q["n_points"])
    assert torch.allclose(totals(found, n_points).float(), q["visible_energy"], rtol=1e-6)
    of_clouds = (points.split(n_points.tolist()) for points in (found, q["points"]))
    for mine, theirs in zip(*of_clouds, strict=True):
        assert torch.equal(mine[:, 2], theirs[:, 2].sort().values)
        # the same points, in an order of their own
        ours, whole = (p[p[:, 3].argsort()] for p in (mine, theirs))
        torch.testing.assert_close(ours[:, 3], whole[:, 3], rtol=1e-5, atol=1e-9)
        assert sorted(mine[:, 0].tolist()) == sorted(theirs[:, 0].tolist())


def test_each_cloud_is_what_it_is_alone(generator: torch.Generator) -> None:
    n_points = torch.tensor([40, 0, 7, 300])
    counts = torch.tensor([[20, 0, 15], [0, 0, 0], [3, 3, 1], [0, 150, 100]]).float()
    visible = torch.tensor([5.0, 0.0, 0.3, 700.0])
    points = torch.randn(347, 4, generator=generator)
    found, n_found = calibrated(points, n_points, counts, visible)
    assert torch.equal(n_found, counts.sum(1).long())
    torch.testing.assert_close(totals(found, n_found), visible.double(), rtol=1e-6, atol=0)
    parts = zip(points.split(n_points.tolist()), found.split(n_found.tolist()), strict=True)
    for i, (sampled, here) in enumerate(parts):
        one = slice(i, i + 1)
        alone, _ = calibrated(sampled, n_points[one], counts[one], visible[one])
        assert torch.equal(here, alone)
        assert torch.equal(torch.bincount(here[:, 2].long(), minlength=3), counts[i].long())


def test_a_cloud_without_energy_stays_without() -> None:
    points = cloud([0.0, 1.0], [-1.0, 0.0])
    counts, energy = torch.tensor([[1.0, 1.0]]), torch.tensor([3.0])
    found, _ = calibrated(points, torch.tensor([2]), counts, energy)
    assert found[:, 3].tolist() == [0, 0]


def test_without_calibration_a_point_is_in_the_layer_that_it_lies_in_or_next_to() -> None:
    points = cloud([-0.3, 0.0, 0.99, 2.5, 3.2], [1.0, -1.0, 2.0, 3.0, 4.0])
    found = uncalibrated(points, 3)
    assert found[:, 2].tolist() == [0, 0, 0, 2, 2]
    assert found[:, 3].tolist() == [1, 0, 2, 3, 4]
    assert torch.equal(found[:, :2], points[:, :2])


@pytest.mark.parametrize("n", [0, 3])
def test_no_points_are_no_points(n: int) -> None:
    found, n_points = calibrated(
        torch.zeros(0, 4), torch.zeros(n).long(), torch.zeros(n, 5), torch.zeros(n)
    )
    assert found.shape == (0, 4)
    assert n_points.tolist() == [0] * n


def test_layers_have_their_energies_and_the_shower_its_sum() -> None:
    points = cloud([2.7, 0.1, 1.9, 0.2, 1.1], [1.0, 2.0, 3.0, 4.0, 0.0])
    counts = torch.tensor([[2.0, 2.0, 1.0, 0.0]])
    # the layer of no points can have no energy: the others share it
    wanted = torch.tensor([[12.0, 1.0, 5.0, 2.0]])
    found, _ = calibrated(points, torch.tensor([5]), counts, wanted.sum(1), layer_energies=wanted)
    energies = torch.zeros(4).index_add_(0, found[:, 2].long(), found[:, 3])
    torch.testing.assert_close(energies, torch.tensor([12.0, 1.0, 5.0, 0.0]) * 20 / 18)
    assert (found[:2, 3] / found[:2, 3].sum()).tolist() == pytest.approx([1 / 3, 2 / 3])
