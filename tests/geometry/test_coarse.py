"""Coarse voxels: the bookkeeping between them and the fine ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caloforge.geometry import Coarsening, Geometry, geometry_preset
from caloforge.showers import VoxelShowers

DATASET_2 = geometry_preset("calochallenge-2")
A, B = Coarsening(DATASET_2, (5, 2, 1)), Coarsening(DATASET_2, (1, 4, 3))
ILD = Coarsening(geometry_preset("ild-30"), (3, 2, 5))


@pytest.mark.parametrize(
    ("coarsening", "n_coarse", "n_fine", "shape"),
    [(A, 648, 10, (9, 8, 9)), (B, 540, 12, (45, 4, 3))],
    ids=["A", "B"],
)
def test_the_choices_of_the_paper(
    coarsening: Coarsening, n_coarse: int, n_fine: int, shape: tuple[int, int, int]
) -> None:
    """SuperCalo, section III A: 648 coarse voxels of 10, 540 of 12."""
    assert (coarsening.n_coarse, coarsening.n_fine) == (n_coarse, n_fine)
    assert coarsening.shape == coarsening.geometry.shape == shape


@pytest.mark.parametrize("coarsening", [A, B, ILD], ids=["A", "B", "ILD"])
def test_every_fine_voxel_lies_in_one_coarse_voxel(coarsening: Coarsening) -> None:
    fine = coarsening.fine
    assert np.array_equal(np.sort(coarsening.fine_index.ravel()), np.arange(fine.n_voxels))
    numbers = np.arange(coarsening.n_coarse)[:, None]
    assert np.array_equal(
        coarsening.coarse_index[coarsening.fine_index],
        np.broadcast_to(numbers, coarsening.fine_index.shape),
    )


@pytest.mark.parametrize("coarsening", [A, B, ILD], ids=["A", "B", "ILD"])
def test_coarse_voxels_lie_where_their_fine_voxels_are(coarsening: Coarsening) -> None:
    """The centre of each fine voxel is found in the coarse voxel that holds it."""
    fine, coarse = coarsening.fine, coarsening.geometry
    layer = fine.voxel_layer // coarsening.factors[0]
    found = coarse.find_voxels(layer, fine.voxel_x, fine.voxel_y)
    assert np.array_equal(found, coarsening.coarse_index)
    members = fine.voxel_z[coarsening.fine_index]
    np.testing.assert_allclose(coarse.voxel_z, members.mean(1))


def test_the_order_within_a_coarse_voxel_is_that_of_the_geometry() -> None:
    """A: five layers, in each two bins of alpha; the index is (layer 16 + alpha) 9 + r."""
    expected = [(layer * 16 + alpha) * 9 + 3 for layer in range(5, 10) for alpha in (2, 3)]
    coarse = (1 * 8 + 1) * 9 + 3
    assert A.fine_index[coarse].tolist() == expected


def test_neighbours_wrap_around_in_alpha_alone() -> None:
    number = np.arange(648).reshape(9, 8, 9)
    inner = A.neighbours[number[4, 0, 4]]
    assert inner.tolist() == [
        *(number[4, 7, 4], number[4, 1, 4]),
        *(number[4, 0, 3], number[4, 0, 5]),
        *(number[3, 0, 4], number[5, 0, 4]),
    ]
    assert A.neighbours[number[0, 2, 0]].tolist() == [
        *(number[0, 1, 0], number[0, 3, 0], -1, number[0, 2, 1]),
        *(-1, number[1, 2, 0]),
    ]
    assert A.neighbours[number[8, 2, 8]].tolist()[3::2] == [-1, -1]


def test_cells_have_no_neighbours_behind_the_border() -> None:
    number = np.arange(ILD.n_coarse).reshape(ILD.shape)
    assert ILD.neighbours[number[0, 0, 0]].tolist() == [
        *(-1, number[0, 1, 0], -1, number[0, 0, 1]),
        *(-1, number[1, 0, 0]),
    ]


def test_a_voxel_is_not_beside_itself() -> None:
    rings = Coarsening(DATASET_2, (45, 16, 3))
    assert rings.neighbours.tolist() == [
        [-1, -1, -1, 1, -1, -1],
        [-1, -1, 0, 2, -1, -1],
        [-1, -1, 1, -1, -1, -1],
    ]


@settings(max_examples=20, deadline=None)
@given(
    factors=st.tuples(
        st.sampled_from([1, 3, 5, 9, 15, 45]),
        st.sampled_from([1, 2, 4, 8, 16]),
        st.sampled_from([1, 3, 9]),
    )
)
def test_to_be_beside_is_mutual(factors: tuple[int, int, int]) -> None:
    coarsening = Coarsening(DATASET_2, factors)
    beside = coarsening.neighbours
    for back, forth in ((0, 1), (2, 3), (4, 5)):
        voxels = np.flatnonzero(beside[:, back] >= 0)
        assert np.array_equal(beside[beside[voxels, back], forth], voxels)


def test_coarse_showers_have_the_energy_of_the_fine_ones(bundled: VoxelShowers) -> None:
    showers = bundled[:50]
    for coarsening in (A, B):
        coarse = showers.coarsen(coarsening)
        assert coarse.geometry == coarsening.geometry
        expected = showers.dense().reshape(50, -1)[:, coarsening.fine_index].sum(2)
        np.testing.assert_allclose(coarse.dense().reshape(50, -1), expected, rtol=1e-5)
        np.testing.assert_allclose(coarse.total_energy(), showers.total_energy(), rtol=1e-6)
    layers = showers.layer_energies().reshape(50, 9, 5).sum(2)
    np.testing.assert_allclose(showers.coarsen(A).layer_energies(), layers, rtol=1e-6, atol=1e-9)


def test_a_coarse_geometry_is_stored_like_any_other() -> None:
    assert Geometry.from_dict(A.geometry.to_dict()) == A.geometry
    assert A.geometry.name == "calochallenge-2-5x2x1"


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ((4, 2, 1), r"do not divide .* along axis 0 take a divisor of 45"),
        ((5, 3, 1), "along axis 1 take a divisor of 16"),
        ((5, 2, 2), "along axis 2 take a divisor of 9"),
        ((0, 2, 1), "whole numbers of 1 or more"),
        ((5, 2), "three whole numbers"),
    ],
)
def test_factors_that_do_not_divide_are_refused(factors: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Coarsening(DATASET_2, factors)


def test_irregular_geometries_and_foreign_showers_are_refused(bundled: VoxelShowers) -> None:
    with pytest.raises(ValueError, match="is irregular"):
        Coarsening(geometry_preset("calochallenge-1-photons"), (1, 1, 1))
    with pytest.raises(ValueError, match="the coarsening is of ild-30"):
        bundled[:2].coarsen(ILD)


def test_the_nearest_coarsening_divides_every_axis() -> None:
    fine = geometry_preset("calochallenge-3")  # 45 layers of 50 alpha and 18 r
    assert Coarsening.nearest(fine, (5, 2, 1)).factors == (5, 2, 1)
    assert Coarsening.nearest(fine, (4, 4, 4)).factors == (3, 5, 3)  # of two as near the smaller
    assert Coarsening.nearest(fine, (100, 1, 1)).factors == (45, 1, 1)
