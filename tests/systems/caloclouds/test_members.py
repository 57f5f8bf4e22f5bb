"""Sampled clusters get the members of real ones, rotated and scaled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from caloforge.showers import ClusteredShowers, PointShowers, clustered
from caloforge.systems.caloclouds.members import MemberLibrary


@pytest.fixture(scope="module")
def clusters(bundled_points: PointShowers) -> ClusteredShowers:
    return clustered(bundled_points, 2.0, 12)


@pytest.fixture(scope="module")
def library(clusters: ClusteredShowers) -> MemberLibrary:
    found = MemberLibrary(20_000)
    found.keep(clusters, torch.Generator().manual_seed(1))
    return found


def rows(showers: PointShowers) -> Tensor:
    columns = (showers.x, showers.y, showers.layer, showers.energy)
    return torch.from_numpy(np.stack(columns, 1).astype(np.float32))


def assigned_members(
    library: MemberLibrary, points: Tensor, seed: int = 1
) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return library.assign(points, torch.rand(len(points), generator=rng))


def of_clusters(members: Tensor, sizes: Tensor, weight: Tensor) -> Tensor:
    """Sum over the members of each cluster, in double precision."""
    total = torch.zeros(len(sizes), dtype=torch.float64)
    return total.index_add_(0, torch.repeat_interleave(sizes), (members[:, 3] * weight).double())


def test_energy_centre_and_layer_of_a_cluster_stay(
    library: MemberLibrary, clusters: ClusteredShowers, generator: torch.Generator
) -> None:
    sampled = rows(clusters)
    sampled[::3, :2] *= -1.3
    sampled[::5, 3] *= 2
    members, sizes = assigned_members(library, sampled)
    assert sizes.min() >= 1
    assert torch.equal(members[:, 2], sampled[:, 2].repeat_interleave(sizes))
    energy = of_clusters(members, sizes, torch.ones(len(members)))
    torch.testing.assert_close(energy.float(), sampled[:, 3], rtol=1e-4, atol=1e-9)
    for axis in (0, 1):
        centre = of_clusters(members, sizes, members[:, axis]) / energy
        torch.testing.assert_close(centre.float(), sampled[:, axis], rtol=1e-4, atol=1e-3)


def test_members_turn_with_the_direction_from_the_axis(library: MemberLibrary) -> None:
    there = torch.tensor([[30.0, 0.0, 12.0, 1.5]]).repeat(50, 1)
    turned = torch.tensor([[0.0, 30.0, 12.0, 1.5]]).repeat(50, 1)
    (one, sizes), (other, again) = (
        assigned_members(library, points, seed=3) for points in (there, turned)
    )
    assert torch.equal(sizes, again)
    assert sizes.max() > 1
    torch.testing.assert_close(other[:, 0], -one[:, 1], atol=1e-4, rtol=0)
    torch.testing.assert_close(other[:, 1], one[:, 0], atol=1e-4, rtol=0)


def test_real_clusters_get_as_many_members_and_hits_as_they_had(
    library: MemberLibrary, clusters: ClusteredShowers, bundled_points: PointShowers
) -> None:
    members, sizes = assigned_members(library, rows(clusters), seed=2)
    assert float(sizes.sum()) == pytest.approx(len(bundled_points.energy), rel=0.03)
    n = torch.zeros(60, dtype=torch.int64)
    n.index_add_(0, torch.from_numpy(clusters.event()), sizes)
    x, y, layer, energy = members.numpy().T
    sampled = PointShowers(
        bundled_points.energy_inc,
        np.concatenate([[0], n.cumsum(0)]),
        x,
        y,
        layer.astype(np.int64),
        energy,
        bundled_points.geometry,
    )
    hits, of_geant4 = (
        np.sum(showers.project(showers.geometry).energy > 0.1)
        for showers in (sampled, bundled_points)
    )
    assert hits == pytest.approx(of_geant4, rel=0.03)


def test_bigger_clusters_have_more_members(library: MemberLibrary) -> None:
    def mean_size(energy: float) -> float:
        points = torch.tensor([[60.0, 0.0, 12.0, energy]]).repeat(500, 1)
        return float(assigned_members(library, points, seed=1)[1].double().mean())

    assert 1 <= mean_size(0.05) < 0.8 * mean_size(0.3) < 0.6 * mean_size(3.0)


@pytest.mark.parametrize("energy", [0.0, 1e-30, 1e9])
def test_energies_and_places_beyond_the_sample_are_served(
    library: MemberLibrary, energy: float
) -> None:
    points = torch.tensor([[0.0, 0.0, 0.0, energy], [1e4, -1e4, 29.0, energy]])
    members, sizes = assigned_members(library, points, seed=1)
    assert members.isfinite().all()
    assert len(sizes) == 2
    none, _ = assigned_members(library, points[:0])
    assert none.shape == (0, 4)


def test_few_clusters_will_do(clusters: ClusteredShowers, generator: torch.Generator) -> None:
    library = MemberLibrary(3)
    library.keep(clusters, generator)
    assert len(library.begins) == 4
    members, sizes = assigned_members(library, rows(clusters))
    assert len(members) == sizes.sum() >= len(sizes)


def test_it_is_loaded_into_one_that_knows_no_clusters(
    library: MemberLibrary, clusters: ClusteredShowers
) -> None:
    other = MemberLibrary(20_000)
    other.load_state_dict(library.state_dict())
    one, same = (assigned_members(found, rows(clusters))[0] for found in (library, other))
    assert torch.equal(one, same)


def test_a_sample_without_energy_is_refused(
    bundled_points: PointShowers, generator: torch.Generator
) -> None:
    with pytest.raises(ValueError, match="needs one with energy or more, got none"):
        MemberLibrary(10).keep(clustered(bundled_points[:0], 2.0, 12), generator)
