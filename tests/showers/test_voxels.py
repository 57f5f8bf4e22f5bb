"""Sparse showers do what dense arrays do, and refuse what is no shower."""

from __future__ import annotations

import dataclasses

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from caloforge import data
from caloforge.geometry import CartesianLayer, Geometry, PolarLayer, geometry_preset
from caloforge.showers import VoxelShowers

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

REGULAR = Geometry("regular", (PolarLayer((0, 5, 10), 3),) * 2, (1.0, 2.0), 0.0)
IRREGULAR = Geometry(
    "irregular",
    (PolarLayer((0, 5, 10), 3), PolarLayer((0, 20), 1), CartesianLayer((-9, 0, 9), (0, 9))),
    (1.0, 2.0, 4.0),
    0.0,
)

# Energies [MeV] of float32, about half of them zero.
energies = st.one_of(st.just(0.0), st.floats(2**-10, 2**20, width=32))


@st.composite
def dense_showers(draw, geometry=None, max_showers=6):
    """A geometry, incident energies and dense voxel energies."""
    voxels = geometry or draw(st.sampled_from([REGULAR, IRREGULAR]))
    n = draw(st.integers(0, max_showers))
    energy_inc = draw(arrays.arrays(np.float32, n, elements=st.floats(1, 1e6, width=32)))
    dense = draw(arrays.arrays(np.float32, (n, voxels.n_voxels), elements=energies))
    return voxels, energy_inc, dense


def _flat(showers: VoxelShowers) -> np.ndarray:
    return showers.dense().reshape(len(showers), showers.geometry.n_voxels)


# ---- sparse and dense


@given(dense_showers())
def test_dense_is_the_inverse_of_from_dense(made):
    geometry, energy_inc, dense = made
    showers = VoxelShowers.from_dense(energy_inc, dense, geometry)
    assert len(showers) == len(energy_inc)
    assert np.array_equal(showers.energy_inc, energy_inc)
    assert np.array_equal(_flat(showers), dense)
    assert np.array_equal(np.diff(showers.offset), np.count_nonzero(dense, axis=1))


@given(dense_showers())
def test_a_regular_shower_is_a_block_and_an_irregular_one_a_row(made):
    geometry, energy_inc, dense = made
    showers = VoxelShowers.from_dense(energy_inc, dense, geometry)
    expected = geometry.shape if geometry.is_regular else (geometry.n_voxels,)
    assert showers.dense().shape == (len(energy_inc), *expected)
    assert showers.dense().dtype == np.float32


@given(dense_showers(), st.data())
def test_selecting_showers_is_selecting_rows(made, data):
    geometry, energy_inc, dense = made
    n = len(energy_inc)
    showers = VoxelShowers.from_dense(energy_inc, dense, geometry)
    bound = st.none() | st.integers(-n - 2, n + 2)
    kinds = [
        st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, -1])),
        arrays.arrays(bool, n),
        st.lists(st.integers(-n, n - 1), max_size=8) if n else st.just([]),
    ]
    selection = data.draw(st.one_of(kinds))
    rows = np.arange(n)[selection if len(np.shape(selection)) == 0 or len(selection) else []]
    chosen = showers[selection]
    assert np.array_equal(chosen.energy_inc, energy_inc[rows.astype(int)])
    assert np.array_equal(_flat(chosen), dense[rows.astype(int)])


@given(dense_showers(), st.integers(1, 4))
def test_batches_joined_are_the_whole(made, size):
    geometry, energy_inc, dense = made
    showers = VoxelShowers.from_dense(energy_inc, dense, geometry)
    batches = list(showers.batches(size))
    assert all(len(batch) == size for batch in batches[:-1])
    joined = VoxelShowers.concatenate([showers[:0], *batches])
    assert np.array_equal(joined.offset, showers.offset)
    assert np.array_equal(_flat(joined), dense)


@given(dense_showers(), st.floats(0, 2**20, width=32))
def test_above_keeps_what_reaches_the_threshold(made, threshold):
    geometry, energy_inc, dense = made
    above = VoxelShowers.from_dense(energy_inc, dense, geometry).above(threshold)
    assert np.array_equal(_flat(above), np.where(dense >= np.float32(threshold), dense, 0))
    assert len(above) == len(energy_inc)


def test_a_core_holds_the_middle_of_real_showers(shared_data):
    whole = data.read(shared_data / "photons-10-100GeV_ild-30_test.h5")[:40]
    core, outside = whole.crop(geometry_preset("ild-core"))
    assert core.geometry == geometry_preset("ild-core")
    assert np.array_equal(core.energy_inc, whole.energy_inc)
    assert np.array_equal(core.dense(), whole.dense()[:, :, 10:20, 10:20])
    assert outside == pytest.approx(1 - core.total_energy() / whole.total_energy())
    assert 0.05 < outside.mean() < 0.1  # five cells are somewhat more than a Moliere radius


def test_a_core_of_empty_showers_loses_nothing():
    geometry = geometry_preset("ild-30")
    empty = VoxelShowers.from_dense([1e4, 2e4], np.zeros((2, geometry.n_voxels)), geometry)
    core, outside = empty.crop(geometry.crop(2, 2))
    assert core.offset.tolist() == [0, 0, 0]
    assert outside.tolist() == [0.0, 0.0]


def test_voxels_that_are_not_the_middle_are_refused(shared_data):
    whole = geometry_preset("ild-30")
    showers = VoxelShowers.from_dense([1e4], np.ones((1, whole.n_voxels)), whole)
    shifted = dataclasses.replace(whole.crop(10, 10), z=tuple(z + 1 for z in whole.z))
    with pytest.raises(ValueError, match=r"not the middle of ild-30: .*geometry.crop\(10, 10\)"):
        showers.crop(shifted)
    with pytest.raises(ValueError, match="no place in the middle of 30 x 30"):
        showers.crop(geometry_preset("calochallenge-2"))


def test_a_voxel_at_the_threshold_survives_as_float32():
    # Just above the float32 number that is nearest to it.
    threshold = np.float64(geometry_preset("calochallenge-2").threshold)
    threshold = np.float64(np.float32(threshold)) + 1e-12
    dense = np.zeros((1, REGULAR.n_voxels), np.float32)
    dense[0, 3] = threshold
    assert len(VoxelShowers.from_dense([1e3], dense, REGULAR).above(threshold).energy) == 1


@given(dense_showers())
def test_layer_energies_are_sums_over_the_voxels_of_each_layer(made):
    geometry, energy_inc, dense = made
    showers = VoxelShowers.from_dense(energy_inc, dense, geometry)
    double = dense.astype(np.float64)
    expected = [double[:, geometry.layer_slice(i)].sum(axis=1) for i in range(geometry.n_layers)]
    assert showers.layer_energies() == pytest.approx(np.stack(expected, axis=1), rel=1e-12)
    assert showers.layer_energies().dtype == np.float64
    assert showers.total_energy() == pytest.approx(double.sum(axis=1), rel=1e-12)


@given(dense_showers())
def test_event_numbers_the_shower_of_each_entry(made):
    geometry, energy_inc, dense = made
    showers = VoxelShowers.from_dense(energy_inc, dense, geometry)
    event, voxel = np.nonzero(dense)
    assert np.array_equal(showers.event(), event)
    assert np.array_equal(showers.index, voxel)


@given(dense_showers(), st.randoms(use_true_random=False))
def test_entries_in_any_order_and_in_pieces_make_the_same_showers(made, random):
    geometry, energy_inc, dense = made
    showers = VoxelShowers.from_dense(energy_inc, dense, geometry)
    counts = np.diff(showers.offset)
    pieces = []
    for i in range(len(showers)):  # every energy in two halves, shuffled within the shower
        halves = [*range(showers.offset[i], showers.offset[i + 1])] * 2
        random.shuffle(halves)
        pieces += halves
    again = VoxelShowers(
        energy_inc,
        np.concatenate([[0], np.cumsum(2 * counts)]),
        showers.index[np.array(pieces, int)],
        showers.energy[np.array(pieces, int)] / 2,
        geometry,
    )
    assert np.array_equal(again.offset, showers.offset)
    assert np.array_equal(again.index, showers.index)
    assert np.array_equal(again.energy, showers.energy)


def test_entries_without_energy_are_dropped():
    showers = VoxelShowers([1e3, 2e3], [0, 2, 3], [4, 5, 0], [0.0, 7.0, 0.0], REGULAR)
    assert showers.offset.tolist() == [0, 1, 1]
    assert showers.index.tolist() == [5]


def test_a_run_of_showers_is_not_copied():
    showers = VoxelShowers([1e3, 2e3], [0, 2, 3], [4, 5, 0], [1.0, 7.0, 3.0], REGULAR)
    assert np.shares_memory(showers[:].energy, showers.energy)


def test_one_number_selects_one_shower():
    showers = VoxelShowers([1e3, 2e3], [0, 2, 3], [4, 5, 0], [1.0, 7.0, 3.0], REGULAR)
    assert len(showers[-1]) == 1
    assert showers[-1].energy.tolist() == [3.0]
    with pytest.raises(IndexError):
        showers[2]


def test_a_mask_of_another_length_is_refused():
    showers = VoxelShowers([1e3, 2e3], [0, 0, 0], [], [], REGULAR)
    with pytest.raises(IndexError, match=r"a mask must have shape \(2,\), got \(3,\)"):
        showers[[True, False, True]]


def test_no_showers_at_all():
    for geometry in (REGULAR, IRREGULAR):
        none = VoxelShowers([], [0], [], [], geometry)
        assert len(none) == 0
        assert none.layer_energies().shape == (0, geometry.n_layers)
        assert none.total_energy().shape == (0,)
        assert len(none.above(1.0)) == 0
        assert len(none[[]]) == 0
        assert list(none.batches(3)) == []
        empty = VoxelShowers.from_dense([], none.dense(), geometry)
        assert len(VoxelShowers.concatenate([none, empty])) == 0


def test_showers_without_energy():
    empty = VoxelShowers([1e3, 2e3], [0, 0, 0], [], [], IRREGULAR)
    assert empty.total_energy().tolist() == [0.0, 0.0]
    assert not empty.dense().any()
    assert len(empty[1:]) == 1


def test_indices_are_stored_as_small_as_the_geometry_allows():
    assert VoxelShowers([1e3], [0, 1], [3], [1.0], REGULAR).index.dtype == np.uint16
    edges = tuple(range(258))
    many = dataclasses.replace(REGULAR, layers=(CartesianLayer(edges, edges),) * 2)
    assert VoxelShowers([1e3], [0, 1], [3], [1.0], many).index.dtype == np.uint32


def test_showers_of_two_geometries_cannot_be_joined():
    one, other = (VoxelShowers([1.0], [0, 0], [], [], g) for g in (REGULAR, IRREGULAR))
    with pytest.raises(ValueError, match="showers of regular and irregular cannot be joined"):
        VoxelShowers.concatenate([one, other])


def test_there_must_be_something_to_join():
    with pytest.raises(ValueError, match="at least one VoxelShowers, got none"):
        VoxelShowers.concatenate([])


# ---- what is no shower

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy_inc": [[1e3], [2e3]]}, r"energy_inc must have shape \(n,\), got \(2, 1\)"),
        ({"energy_inc": [1e3]}, r"offset must have shape \(2,\) for 1 showers, got \(3,\)"),
        (
            {"energy_inc": [1e3, NAN]},
            r"shower 1: energy_inc must be finite and above 0 .*got nan",
        ),
        ({"energy_inc": [-1.0, 1e3]}, r"shower 0: energy_inc must be .*above 0 \[MeV\], got -1.0"),
        ({"energy_inc": [1e3, INFINITY]}, "shower 1: energy_inc must be finite .*got inf"),
        ({"energy_inc": [0.0, 1e3]}, "shower 0: energy_inc must be .*got 0.0: remove the broken"),
        ({"offset": [1, 2, 3]}, "offset must begin at 0 and never fall"),
        ({"offset": [0, 4, 3]}, "offset must begin at 0 and never fall"),
        ({"offset": [0, 2, 4]}, r"index must have shape \(4,\) as offset says, got \(3,\)"),
        ({"offset": [0.0, 1.5, 3.0]}, "offset must hold integers, got float64"),
        ({"index": [0, 1, 12]}, "voxel indices must lie in 0 … 11 for regular, got 0 … 12: is it"),
        ({"index": [0, 1, -1]}, "voxel indices must lie in 0 … 11 for regular, got -1 … 1"),
        ({"index": [0.0, 1.0, 2.0]}, "index must hold integers, got float64"),
        ({"energy": [1.0, 2.0]}, r"energy must have shape \(3,\) as offset says, got \(2,\)"),
        ({"energy": [1.0, NAN, 3.0]}, "shower 1, voxel 1: energy must be finite .*got nan"),
        ({"energy": [1.0, 2.0, INFINITY]}, "shower 1, voxel 2: energy must be finite .*got inf"),
        ({"energy": [1.0, 1e39, 2.0]}, "shower 1, voxel 1: energy must be finite .*got inf"),
        ({"energy": [1.0, 2.0, -3.0]}, "shower 1, voxel 2: energy must not be negative .*got -3.0"),
    ],
)
def test_voxels_that_are_no_shower_are_refused(change, message):
    good = {"energy_inc": [1e3, 2e3], "offset": [0, 1, 3], "index": [0, 1, 2]}
    good |= {"energy": [1.0, 2.0, 3.0], "geometry": REGULAR}
    assert len(VoxelShowers(**good)) == 2
    with pytest.raises(ValueError, match=message):
        VoxelShowers(**{**good, **change})


@pytest.mark.parametrize(
    ("energy_inc", "shape", "message"),
    [
        (
            [1e3],
            (1, 11),
            r"regular has 12 voxels a shower, got 11 from an array of shape \(1, 11\)",
        ),
        ([1e3], (12,), r"regular has 12 voxels a shower, got 1 from an array of shape \(12,\)"),
        ([1e3], (2, 12), r"energy_inc must have shape \(2,\) for 2 dense showers, got \(1,\)"),
    ],
)
def test_dense_arrays_of_another_shape_are_refused(energy_inc, shape, message):
    with pytest.raises(ValueError, match=message):
        VoxelShowers.from_dense(energy_inc, np.ones(shape, np.float32), REGULAR)


# ---- Geant4's showers


@pytest.mark.parametrize("name", ["calochallenge-2", "calochallenge-3"])
def test_both_binnings_of_the_same_electrons_hold_the_same_layer_energies(name, shared_data):
    path = shared_data / f"electrons-1-100GeV_{name}_test.h5"
    other = shared_data / "electrons-1-100GeV_calochallenge-2_test.h5"
    with data.open_showers(path) as fine, data.open_showers(other) as coarse:
        a, b = fine[:200].layer_energies(), coarse[:200].layer_energies()
    # The threshold cuts more from small voxels; nearly all of an electron is measured.
    assert a.sum(axis=1) == pytest.approx(b.sum(axis=1), rel=0.05)
    assert a.sum(axis=0) == pytest.approx(b.sum(axis=0), rel=0.05)


def test_an_electron_leaves_its_energy_in_the_calorimeter(shared_data):
    with data.open_showers(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5") as file:
        showers = file[:]
    response = showers.total_energy() / showers.energy_inc
    assert response.mean() == pytest.approx(1.0, abs=0.05)
    depth = showers.layer_energies() @ np.asarray(showers.geometry.z) / showers.total_energy()
    steps = np.corrcoef(np.log(showers.energy_inc), depth)[0, 1]
    assert steps > 0.5  # the shower's centre lies deeper, the higher the energy
