"""What is written is read back, in a stream or at once."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from caloforge import data
from caloforge.geometry import geometry_preset
from caloforge.showers import PointShowers, VoxelShowers

LAYOUTS = ("sparse", "calochallenge")


def assert_same(one, other):
    """The same showers to the last bit."""
    assert len(one) == len(other)
    for name in ("energy_inc", "offset", *one.columns):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_keeps_every_geometry(layout, showers, tmp_path):
    data.write(tmp_path / "showers.h5", showers, layout=layout)
    again = data.read(tmp_path / "showers.h5")
    assert again.geometry == showers.geometry
    assert_same(again, showers)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_without_showers_is_a_file(layout, few, tmp_path):
    data.write(tmp_path / "none.h5", few[:0], layout=layout)
    again = data.read(tmp_path / "none.h5")
    assert len(again) == 0
    assert again.geometry == few.geometry


@pytest.mark.parametrize("layout", LAYOUTS)
def test_runs_of_a_file_are_runs_of_the_showers(layout, showers, tmp_path):
    data.write(tmp_path / "showers.h5", showers, layout=layout)
    with data.open_showers(tmp_path / "showers.h5") as file:
        assert len(file) == len(showers)
        assert np.array_equal(file.energy_inc, showers.energy_inc)
        for run in (slice(1, 3), slice(None, -2), slice(3, 1), slice(4, 99)):
            assert_same(file[run], showers[run])
        assert [len(batch) for batch in file.batches(2)] == [2, 2, 1]
        assert_same(VoxelShowers.concatenate(list(file.batches(2))), showers)
        with pytest.raises(ValueError, match="without step, got step 2"):
            file[::2]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_showers_may_be_written_in_a_stream(layout, showers, tmp_path):
    path = tmp_path / "showers.h5"
    dtype = showers.energy.dtype
    with data.create(path, showers.geometry, layout=layout, dtype=dtype) as writer:
        for batch in showers.batches(2):
            writer.append(batch)
            assert not path.exists()  # not before it is complete
    assert_same(data.read(path), showers)


def test_attributes_come_back(few, tmp_path):
    attributes = {"particle": "pi+", "seed": 7, "cut": 0.7, "generator": "Geant4"}
    data.write(tmp_path / "a.h5", few, attributes=attributes)
    with data.open_showers(tmp_path / "a.h5") as file:
        assert file.attributes.items() >= attributes.items()
        assert file.attributes["format_version"] == 1
        assert file.attributes["threshold_MeV"] == few.geometry.threshold


def test_attributes_of_another_file_never_change_the_geometry(few, tmp_path):
    data.write(tmp_path / "a.h5", few)
    with data.open_showers(tmp_path / "a.h5") as file:
        passed_on = {**file.attributes, "format_version": 99}
    other = VoxelShowers([1e3], [0, 1], [5], [1.0], geometry_preset("calochallenge-2"))
    data.write(tmp_path / "b.h5", other, attributes=passed_on)
    assert data.read(tmp_path / "b.h5").geometry == other.geometry


def test_a_file_follows_the_published_form(few, tmp_path):
    data.write(tmp_path / "sparse.h5", few)
    data.write(tmp_path / "dense.h5", few, layout="calochallenge")
    with h5py.File(tmp_path / "sparse.h5") as file:
        assert file["incident_energies"].shape == (3, 1)
        types = {name: column.dtype.name for name, column in file["voxels"].items()}
        assert types == {"offset": "int64", "index": "uint16", "energy": "float32"}
        assert file["voxels/energy"].compression == "gzip"
        assert file["voxels/energy"].shuffle
    with h5py.File(tmp_path / "dense.h5") as file:
        assert file["incident_energies"].shape == (3, 1)
        assert file["showers"].shape == (3, few.geometry.n_voxels)
        assert np.array_equal(file["showers"][:], few.dense())


def test_negative_energies_of_other_generators_are_refused_or_clipped(few, tmp_path):
    path, dense = tmp_path / "official.h5", few.dense().reshape(3, -1)
    empty = np.flatnonzero(dense[1] == 0)[0]
    dense[1, empty] = -0.5
    with h5py.File(path, "w") as file:
        file["incident_energies"], file["showers"] = few.energy_inc[:, None], dense
    with pytest.raises(data.ShowerFileError, match=r"must not be negative.*-0\.5"):
        data.read(path, few.geometry)
    with data.open_showers(path, few.geometry, clip_negative=True) as file:
        with pytest.warns(data.ShowerFileWarning, match="negative voxel energies"):
            clipped = file[:]
        assert_same(clipped, few)
        assert_same(file[:1], few[:1])  # no warning where nothing is negative
    dense[1, empty] = np.nan
    with h5py.File(path, "a") as file:
        file["showers"][...] = dense
    with (
        data.open_showers(path, few.geometry, clip_negative=True) as file,
        pytest.raises(data.ShowerFileError, match="finite"),
    ):
        file[:]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_calochallenge_files_of_others_are_read(dtype, flat, few, tmp_path):
    path = tmp_path / "official.h5"
    energy_inc = few.energy_inc.astype(dtype)
    with h5py.File(path, "w") as file:  # two datasets, no attribute, as the organisers' notebook
        file["incident_energies"] = energy_inc if flat else energy_inc[:, None]
        file.create_dataset("showers", data=few.dense().astype(dtype), compression="gzip")
    assert_same(data.read(path, few.geometry), few)
    with pytest.raises(data.ShowerFileError, match="does not state a known geometry"):
        data.read(path)


def test_the_number_of_voxels_hints_at_the_geometry(tmp_path):
    with h5py.File(tmp_path / "official.h5", "w") as file:
        file["incident_energies"] = np.full((2, 1), 2e4)
        file["showers"] = np.zeros((2, 533))
    with pytest.raises(data.ShowerFileError, match="geometry='calochallenge-1-pions'"):
        data.read(tmp_path / "official.h5")
    assert len(data.read(tmp_path / "official.h5", "calochallenge-1-pions")) == 2


def test_entries_of_a_file_in_another_order_are_sorted_and_summed(few, tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["incident_energies"] = np.full((2, 1), 2e4, np.float32)
        file["voxels/offset"] = np.array([0, 3, 4])
        file["voxels/index"] = np.array([7, 2, 7, 0], np.uint16)
        file["voxels/energy"] = np.array([1, 2, 4, 8], np.float32)
    again = data.read(path, few.geometry)
    assert again.offset.tolist() == [0, 2, 3]
    assert again.index.tolist() == [2, 7, 0]
    assert again.energy.tolist() == [2, 5, 8]
    assert again.dense()[0, 7] == 5


@pytest.mark.parametrize("geometry", ["calochallenge-2", "calochallenge-3"])
def test_geant4_electrons_survive_both_layouts(geometry, shared_data, tmp_path):
    with data.open_showers(shared_data / f"electrons-1-100GeV_{geometry}_test.h5") as file:
        assert file.geometry == geometry_preset(geometry)
        assert len(file) == 1756
        electrons = file[100:120]
    for layout in LAYOUTS:
        data.write(tmp_path / f"{layout}.h5", electrons, layout=layout)
        assert_same(data.read(tmp_path / f"{layout}.h5"), electrons)


def test_geant4_points_survive(shared_data, tmp_path):
    with data.open_points(shared_data / "photons-10-100GeV_ild-ecal_points_test.h5") as file:
        photons = file[5:8]
        pitch = 2.5 / 3
        cells = (photons.x.astype(np.float64) + 200 - pitch / 2) / pitch
        assert cells == pytest.approx(np.round(cells), abs=1e-3)  # centres of the published grid
        assert abs(photons.x).max() < 200
    data.write(tmp_path / "points.h5", photons, attributes={"particle": "gamma"})
    assert_same(data.read(tmp_path / "points.h5"), photons)
    with data.open_points(tmp_path / "points.h5") as file:
        assert file.geometry == photons.geometry == geometry_preset("ild-ecal")
        assert file.attributes["particle"] == "gamma"
        assert_same(PointShowers.concatenate(list(file.batches(2))), photons)


def test_points_and_voxels_are_not_mistaken(few, tmp_path):
    points = PointShowers([1e3], [0, 1], [0.0], [0.0], [0], [1.0], geometry_preset("ild-30"))
    data.write(tmp_path / "points.h5", points)
    data.write(tmp_path / "voxels.h5", few)
    with pytest.raises(data.ShowerFileError, match="holds point clouds: use open_points or read"):
        data.open_showers(tmp_path / "points.h5")
    with pytest.raises(data.ShowerFileError, match="holds voxel showers: use open_showers or read"):
        data.open_points(tmp_path / "voxels.h5")
    assert_same(data.read(tmp_path / "points.h5"), points)
    assert_same(data.read(tmp_path / "voxels.h5"), few)


@pytest.mark.parametrize("bits", [4, 8, 11])
def test_rounding_is_bounded_and_saves_space(bits, shared_data, tmp_path):
    electrons = data.read(shared_data / "electrons-1-1000GeV_calochallenge-2_test.h5")[:50]
    for name, mantissa_bits in (("exact.h5", None), ("rounded.h5", bits)):
        path = tmp_path / name
        with data.create(path, electrons.geometry, mantissa_bits=mantissa_bits) as writer:
            writer.append(electrons)
    rounded = data.read(tmp_path / "rounded.h5")
    assert np.array_equal(rounded.index, electrons.index)
    error = np.abs(rounded.energy.astype(np.float64) / electrons.energy - 1)
    assert 2.0 ** -(bits + 3) < error.max() <= 2.0 ** -(bits + 1)
    assert (tmp_path / "rounded.h5").stat().st_size < (tmp_path / "exact.h5").stat().st_size


def test_all_bits_of_the_mantissa_are_exact(few, tmp_path):
    with data.create(tmp_path / "a.h5", few.geometry, mantissa_bits=23) as writer:
        writer.append(few)
    assert_same(data.read(tmp_path / "a.h5"), few)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "root"}, "layout must be 'sparse' or 'calochallenge', got 'root'"),
        ({"mantissa_bits": 0}, "mantissa_bits must lie in 1 … 23, got 0"),
        ({"mantissa_bits": 24}, "mantissa_bits must lie in 1 … 23, got 24"),
        ({"layout": "calochallenge", "mantissa_bits": 9}, "in the sparse layout only"),
        ({"attributes": {"notes": {"a": 1}}}, "attribute 'notes' must be a number, a text"),
        ({"attributes": {"seed": None}}, "attribute 'seed' must be a number, a text"),
    ],
)
def test_impossible_wishes_leave_no_file(options, message, few, tmp_path):
    with (
        pytest.raises(ValueError, match=message),
        data.create(tmp_path / "a.h5", few.geometry, **options) as writer,
    ):
        writer.append(few)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_takes_showers_of_its_own_geometry_alone(layout, few, tmp_path):
    finer = dataclasses.replace(few.geometry, name="finer", threshold=0.1)
    with (
        pytest.raises(ValueError, match="this file takes showers of wedge, got showers of finer"),
        data.create(tmp_path / "a.h5", few.geometry, layout=layout) as writer,
    ):
        writer.append(dataclasses.replace(few, geometry=finer))
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- columns beside the showers


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_a_number_for_each_shower_comes_back(layout, dtype, few, tmp_path):
    column = np.array([0, 0, 1], dtype=dtype)
    path = tmp_path / "a.h5"
    with data.create(path, few.geometry, layout=layout, columns={"coarse_shower": column}) as file:
        for batch in few.batches(2):
            file.append(batch)
    assert_same(data.read(path), few)
    with data.open_showers(path) as file:
        again = file.column("coarse_shower")
        assert again.dtype == dtype
        assert again.tolist() == [0, 0, 1]
        assert file.column("fine_shower") is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"group": np.arange(2)},
            r"'group' needs a name of its own and 3 numbers, got shape \(2,\)",
        ),
        ({"group": np.zeros((3, 1))}, r"got shape \(3, 1\)"),
        ({"incident_energies": np.arange(3)}, "'incident_energies' needs a name of its own"),
        ({"voxels": np.arange(3)}, "'voxels' needs a name of its own"),
    ],
)
def test_columns_that_fit_no_showers_leave_no_file(columns, message, few, tmp_path):
    with (
        pytest.raises(ValueError, match=message),
        data.create(tmp_path / "a.h5", few.geometry, columns=columns) as file,
    ):
        file.append(few)
    assert list(tmp_path.iterdir()) == []


def test_a_column_of_another_shape_is_no_column(few, tmp_path):
    path = tmp_path / "a.h5"
    data.write(path, few)
    with h5py.File(path, "a") as file:
        file["group"] = np.arange(2)
        file.create_group("notes")
    with data.open_showers(path) as file:
        with pytest.raises(data.ShowerFileError, match=r"group must have shape \(3,\), got \(2,\)"):
            file.column("group")
        with pytest.raises(data.ShowerFileError, match="notes"):
            file.column("notes")
