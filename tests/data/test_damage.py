"""A bad file gives one clear error, and a bad write never touches the good file."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from caloforge import data
from caloforge.geometry import geometry_preset
from caloforge.showers import PointShowers

LAYOUTS = ("sparse", "calochallenge")


@pytest.fixture(params=LAYOUTS)
def path(request, few, tmp_path):
    """A good file of either layout."""
    path = tmp_path / "good.h5"
    data.write(path, few, layout=request.param)
    return path


@pytest.fixture
def sparse(few, tmp_path):
    data.write(tmp_path / "good.h5", few)
    return tmp_path / "good.h5"


@pytest.fixture
def dense(few, tmp_path):
    data.write(tmp_path / "good.h5", few, layout="calochallenge")
    return tmp_path / "good.h5"


def replace(path, name, values):
    """Put other values in the place of a dataset."""
    with h5py.File(path, "r+") as file:
        del file[name]
        if values is not None:
            file[name] = values


# ---- reading


@pytest.mark.parametrize("left", [7, 100, 0.3, 0.6, 0.99, -1])
def test_a_truncated_file_is_refused(left, path):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole)) if isinstance(left, float) else left])
    with pytest.raises(
        data.ShowerFileError, match=r"good\.h5 is no readable HDF5 file .*truncated"
    ):
        data.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(data.ShowerFileError, match=r"there is no file .*nowhere\.h5"):
        data.read(tmp_path / "nowhere.h5")


def test_a_file_of_something_else_is_refused(tmp_path):
    with h5py.File(tmp_path / "jets.h5", "w") as file:
        file["jets"] = np.ones(3)
    with pytest.raises(data.ShowerFileError, match=r"jets\.h5 is no file of showers: .* got jets"):
        data.read(tmp_path / "jets.h5")


def test_a_file_of_another_version_is_refused(path):
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(data.ShowerFileError, match=r"format_version 2, this .* reads 1: update"):
        data.read(path)


def test_a_file_without_a_version_is_the_first(path, few):
    with h5py.File(path, "r+") as file:
        del file.attrs["format_version"]
    assert len(data.read(path)) == len(few)


@pytest.mark.parametrize("name", ["incident_energies", "voxels/offset", "voxels/index"])
def test_a_missing_dataset_is_named(name, sparse):
    replace(sparse, name, None)
    with pytest.raises(data.ShowerFileError, match=f"good.h5 has no dataset '{name}', it holds"):
        data.read(sparse)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("incident_energies", np.ones((3, 2)), r"incident_energies must have shape \(n, 1\), got"),
        ("incident_energies", np.float32(1), r"incident_energies must have shape \(n, 1\), got \("),
        ("incident_energies", np.ones((4, 1)), "offset must hold 5 integers for 4 incident energ"),
        ("voxels/offset", np.array([0, 1, 2]), "offset must hold 4 integers for 3 incident energ"),
        ("voxels/offset", np.array([0.0, 1, 2, 3]), "offset must hold 4 integers .*, got float64"),
        ("voxels/offset", np.array([1, 1, 2, 27]), "offset must begin at 0, got 1"),
        ("voxels/offset", np.array([0, 1, 2, 3]), r"index must have shape \(3,\) as offset says"),
        (
            "voxels/energy",
            np.ones(2),
            r"energy must have shape \(\d+,\) as offset says, got \(2,\)",
        ),
    ],
)
def test_a_dataset_of_another_shape_is_refused(name, values, message, sparse):
    replace(sparse, name, values)
    with pytest.raises(data.ShowerFileError, match=f"good.h5.*{message}"):
        data.read(sparse)


@pytest.mark.parametrize("values", [np.ones((2, 14)), np.ones(14), np.ones((3, 2, 7))])
def test_a_dense_dataset_of_another_shape_is_refused(values, dense):
    replace(dense, "showers", values)
    with pytest.raises(
        data.ShowerFileError, match=r"showers must have shape \(3, n_voxels\) for 3"
    ):
        data.read(dense)


def test_a_dataset_of_another_number_of_voxels_is_refused(dense):
    replace(dense, "showers", np.ones((3, 13)))
    with pytest.raises(data.ShowerFileError, match="has 13 voxels a shower, wedge has 14: choose"):
        data.read(dense)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.nan, "finite .*, got nan"),
        (np.inf, "finite .*, got inf"),
        (-1.0, "not be negative .*, got -1.0"),
    ],
)
def test_impossible_voxel_energies_are_named_by_shower_and_voxel(bad, message, few, path):
    entry = few.offset[1] + 1
    with h5py.File(path, "r+") as file:
        if "showers" in file:
            file["showers"][1, few.index[entry]] = bad
        else:
            file["voxels/energy"][entry] = bad
    named = rf"good\.h5, shower 1, voxel {few.index[entry]}: energy must be"
    with (
        data.open_showers(path) as file,
        pytest.raises(data.ShowerFileError, match=named.removesuffix(" be") + ".*" + message),
    ):
        file[1:]  # counted from the first shower of the file, not of what is read


def test_an_index_outside_the_geometry_is_refused(sparse):
    with h5py.File(sparse, "r+") as file:
        file["voxels/index"][2] = 14
    with pytest.raises(
        data.ShowerFileError, match="showers 0 to 3: voxel indices must lie in 0 … 1"
    ):
        data.read(sparse)


def test_an_offset_that_falls_is_refused(sparse):
    with h5py.File(sparse, "r+") as file:
        file["voxels/offset"][1] = file["voxels/offset"][2] + 1
    with pytest.raises(
        data.ShowerFileError, match="showers 0 to 3: offset must begin at 0 and nev"
    ):
        data.read(sparse)


def test_another_geometry_is_refused(path, few):
    with pytest.raises(data.ShowerFileError, match="holds showers of wedge, not of ild-30"):
        data.read(path, "ild-30")
    other = dataclasses.replace(few.geometry, layers=few.geometry.layers[::-1])
    with pytest.raises(data.ShowerFileError, match="other voxels than those of the given wedge"):
        data.read(path, other)
    assert data.read(path, few.geometry).geometry == few.geometry


def test_an_unknown_preset_is_refused_before_the_file_is_opened(path):
    with pytest.raises(ValueError, match="there is no geometry 'calo'") as caught:
        data.read(path, "calo")
    assert not isinstance(caught.value, data.ShowerFileError)


def test_a_geometry_that_cannot_be_read_is_refused(path):
    with h5py.File(path, "r+") as file:
        file.attrs["geometry_definition"] = "{no json"
    with pytest.raises(data.ShowerFileError, match=r"good\.h5, its head: "):
        data.read(path)


def test_a_damaged_range_is_named_and_the_rest_is_read(shared_data, tmp_path):
    path = tmp_path / "damaged.h5"
    shutil.copyfile(shared_data / "electrons-1-100GeV_calochallenge-2_test.h5", path)
    whole = data.read(path)
    with h5py.File(path) as file:
        column = file["voxels/energy"]
        chunk = column.id.get_chunk_info(column.id.get_num_chunks() // 2)
        entries = np.arange(column.shape[0])[chunk.chunk_offset[0] :][: column.chunks[0]]
    path.chmod(0o644)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        raw.write(b"\xff" * 64)
    first, last = whole.event()[entries[[0, -1]]]
    with data.open_showers(path) as file:
        assert len(file[:first]) == first
        assert len(file[last + 1 :]) == len(whole) - last - 1
        run = f"showers {first} to {last + 1}"
        with pytest.raises(data.ShowerFileError, match=f"damaged.h5, {run}: "):
            file[first : last + 1]


@pytest.mark.parametrize("signature", [b"TREE", b"HEAP", b"SNOD"])
def test_damage_to_what_holds_a_file_together_is_one_error(signature, path):
    path.write_bytes(path.read_bytes().replace(signature, b"\xff\xff\xff\xff"))
    with pytest.raises(data.ShowerFileError, match=r"good\.h5"), data.open_file(path) as file:
        file[:]


def test_grid_numbers_need_their_grid(tmp_path):
    path = tmp_path / "points.h5"
    geometry = geometry_preset("ild-ecal")
    data.write(path, PointShowers([1e3], [0, 1], [0.0], [0.0], [0], [1.0], geometry))
    replace(path, "points/x", np.array([3], np.uint16))
    with pytest.raises(
        data.ShowerFileError, match="points/x holds grid numbers without the attrib"
    ):
        data.read(path)
    with h5py.File(path, "r+") as file:
        file["points/x"].attrs.update(pitch_mm=0.5, origin_mm=-10.0)
    assert data.read(path).x.tolist() == [-8.5]


# ---- writing


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_write_that_fails_leaves_the_old_file(layout, path, few):
    before = path.read_bytes()

    def interrupted():
        with data.create(path, few.geometry, layout=layout) as writer:
            writer.append(few)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["good.h5"]


def test_a_missing_folder_is_named_before_any_work(few, tmp_path):
    with pytest.raises(ValueError, match=r"the folder .*gone does not exist: create it to write"):
        data.write(tmp_path / "gone" / "a.h5", few)


def test_a_folder_is_not_replaced(few, tmp_path):
    with pytest.raises(ValueError, match="is a folder: give the name of a file"):
        data.write(tmp_path, few)


def test_a_link_is_followed(few, tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link.h5"
    link.symlink_to(tmp_path / "disk" / "a.h5")
    data.write(link, few)
    assert link.is_symlink()
    assert len(data.read(tmp_path / "disk" / "a.h5")) == len(few)


KILLED = """
import os, signal, sys
from caloforge import data
showers = data.read(sys.argv[1])
with data.create(sys.argv[1], showers.geometry) as writer:
    writer.append(showers)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_the_old_file(sparse):
    before = sparse.read_bytes()
    ended = subprocess.run([sys.executable, "-c", KILLED, str(sparse)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert sparse.read_bytes() == before


@pytest.mark.parametrize("geometry", ["calochallenge-1-pions", "ild-30"])
def test_reading_never_changes_a_file(geometry, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["incident_energies"] = np.full((2, 1), 2e4)
        file["showers"] = np.ones((2, geometry_preset(geometry).n_voxels))
    before = (tmp_path / "a.h5").read_bytes()
    data.read(tmp_path / "a.h5", geometry)
    with pytest.raises(data.ShowerFileError):
        data.read(tmp_path / "a.h5", "calochallenge-2")
    assert (tmp_path / "a.h5").read_bytes() == before
