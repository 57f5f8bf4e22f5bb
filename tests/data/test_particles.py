"""Files keep the incident particles of their showers, whatever their layout."""

from __future__ import annotations

import dataclasses

import h5py
import numpy as np
import pytest

from caloforge import data
from caloforge.geometry import geometry_preset
from caloforge.pdg import PDG_CODES
from caloforge.showers import Particles, PointShowers, Showers, VoxelShowers

N = 8
KINDS = np.resize([11, -11, 22, 211, 2212], N)
COLUMNS = ("direction", "pdg")


def with_particles(showers: Showers) -> Showers:
    """The same showers as if each were of another kind and direction."""
    angle = np.linspace(0, 0.7, len(showers), dtype=np.float32)
    direction = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    return dataclasses.replace(showers, direction=direction, pdg=KINDS)


@pytest.fixture(scope="module")
def electrons(bundled: VoxelShowers) -> VoxelShowers:
    return with_particles(bundled[:N])


@pytest.fixture(scope="module")
def photons(bundled_points: PointShowers) -> PointShowers:
    return with_particles(bundled_points[:N])


def assert_same(found: Particles, expected: Particles, *, rtol: float = 0) -> None:
    np.testing.assert_allclose(found.energy, expected.energy, rtol=rtol)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def written(path) -> dict[str, object]:
    """The columns that a file of caloforge holds."""
    with h5py.File(path) as file:
        return {name: file[name].dtype for name in COLUMNS if name in file}


@pytest.mark.parametrize("layout", ["sparse", "calochallenge"])
def test_voxels_keep_their_particles(electrons, layout, tmp_path):
    path = tmp_path / "a.h5"
    data.write(path, electrons, layout=layout)
    assert written(path) == {"direction": np.float32, "pdg": np.int32}
    with data.open_showers(path, "calochallenge-2") as file:
        assert_same(file.particles, electrons.particles)
        assert_same(file[3:6].particles, electrons[3:6].particles)
    assert_same(data.read_particles(path), electrons.particles)
    other = "calochallenge" if layout == "sparse" else "sparse"
    data.write(tmp_path / "b.h5", data.read(path), layout=other)
    assert_same(data.read(tmp_path / "b.h5").particles, electrons.particles)


def test_points_keep_their_particles(photons, tmp_path):
    path = tmp_path / "a.h5"
    data.write(path, photons)
    assert_same(data.read(path).particles, photons.particles)
    assert_same(data.read_particles(path), photons.particles)


def test_showerdata_keeps_particles(photons, tmp_path):
    showerdata = pytest.importorskip("showerdata")
    path = tmp_path / "a.h5"
    data.write(path, photons, layout="showerdata")
    assert showerdata.load(path).pdg.tolist() == KINDS.tolist()
    assert_same(data.read(path).particles, photons.particles, rtol=1e-6)
    assert_same(data.read_particles(path), photons.particles, rtol=1e-6)
    unknown = dataclasses.replace(photons, pdg=np.where(KINDS == 11, 0, KINDS))
    with pytest.raises(ValueError, match=r"those of 2 of 8 showers are not known: .*'particle'"):
        data.write(path, unknown, layout="showerdata")
    data.write(path, unknown, layout="showerdata", attributes={"particle": "e-"})
    assert_same(data.read(path).particles, photons.particles, rtol=1e-6)


def test_particles_for_root(photons, tmp_path):
    uproot = pytest.importorskip("uproot")
    data.write_root(tmp_path / "a.root", photons)
    with uproot.open(tmp_path / "a.root") as file:
        tree = file["showers"].arrays(["energy_inc", *COLUMNS], library="np")
    assert_same(Particles(tree["energy_inc"], tree["direction"], tree["pdg"]), photons.particles)


def test_files_of_caloclouds_3_say_the_directions_in_the_frame_of_the_points(photons, tmp_path):
    path, counts = tmp_path / "a.h5", np.diff(photons.offset)
    events = np.zeros((N, 4, counts.max()), np.float32)
    for i, shower in enumerate(photons.batches(1)):
        rows = (shower.x, shower.layer, shower.y + 40, shower.energy / 1e3)
        events[i, :, : counts[i]] = rows
    with h5py.File(path, "w") as file:
        file["energy"], file["events"] = photons.energy_inc / 1e3, events  # GeV, shape (n,)
        file["p_norm_local"], file["pdg"] = photons.direction, KINDS
    assert_same(data.read(path).particles, photons.particles, rtol=1e-6)
    assert_same(data.read_particles(path), photons.particles, rtol=1e-6)
    with h5py.File(path, "r+") as file:
        del file["pdg"]  # theirs have none
    assert data.read(path).particles.kinds == ()


@pytest.mark.parametrize("layout", ["sparse", "calochallenge"])
@pytest.mark.parametrize("name", PDG_CODES)
def test_the_attribute_of_a_file_without_kinds_is_the_kind_of_all(bundled, layout, name, tmp_path):
    path = tmp_path / "a.h5"
    unknown = dataclasses.replace(bundled[:3], pdg=0)
    data.write(path, unknown, layout=layout, attributes={"particle": name})
    assert written(path) == {}
    assert data.read(path).pdg.tolist() == [PDG_CODES[name]] * 3
    with h5py.File(path, "r+") as file:
        file.attrs["particle"] = np.bytes_(name)
    assert data.read_particles(path).kinds == (PDG_CODES[name],)
    for foreign in ("pions of a beam", 3.5):
        with h5py.File(path, "r+") as file:
            file.attrs["particle"] = foreign
        assert data.read(path).particles.kinds == ()


def test_what_goes_without_saying_is_not_written(bundled, electrons, tmp_path):
    plain = dataclasses.replace(bundled[:N], pdg=0)
    data.write(tmp_path / "plain.h5", plain)
    assert written(tmp_path / "plain.h5") == {}
    with data.create(tmp_path / "mixed.h5", plain.geometry) as writer:
        for part in (plain[:3], electrons[3:5], plain[5:]):
            writer.append(part)
    read = data.read(tmp_path / "mixed.h5")
    assert_same(read[:3].particles, plain[:3].particles)
    assert_same(read[3:5].particles, electrons[3:5].particles)
    assert_same(read[5:].particles, plain[5:].particles)


def test_parts_keep_particles(electrons, photons, tmp_path):
    for name, showers in {"voxels": electrons, "points": photons}.items():
        parts = data.Parts(tmp_path / f"{name}.h5", 2, {})
        for number in range(2):
            parts.save(number, showers[4 * number : 4 * number + 4])
        assert_same(data.read_particles(parts.assemble({})), showers.particles)


def test_columns_that_do_not_fit_are_refused(electrons, tmp_path):
    path = tmp_path / "a.h5"
    data.write(path, electrons)
    damages = {
        "direction must have shape": ("direction", np.zeros((N, 2), np.float32)),
        "pdg must have shape": ("pdg", np.zeros(N - 1, int)),
        "vectors of length 1": ("direction", np.zeros((N, 3), np.float32)),
        "whole numbers": ("pdg", np.full(N, 0.5)),
    }
    for message, (name, values) in damages.items():
        data.write(path, electrons)
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = values
        for read in (data.read, data.read_particles):
            with pytest.raises(data.ShowerFileError, match=message):
                read(path)
    with pytest.raises(ValueError, match="column 'pdg' needs a name of its own"):
        data.write(path, electrons, columns={"pdg": KINDS})


def test_a_file_of_a_former_version_is_of_the_same_geometry(bundled, tmp_path):
    own = dataclasses.replace(geometry_preset("calochallenge-2"), threshold=1.0)
    data.write(tmp_path / "a.h5", dataclasses.replace(bundled[:2], geometry=own))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        text = file.attrs["geometry_definition"]
        file.attrs["geometry_definition"] = text.replace("{", '{"particle": "pi+", ', 1)
    assert data.read(tmp_path / "a.h5").geometry == own
