"""What was never written, or lies elsewhere, is not read as zeros; what is 0 is said to be."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest

from caloforge import data
from caloforge.geometry import geometry_preset
from caloforge.showers import PointShowers, VoxelShowers


@pytest.fixture(scope="module")
def electrons(bundled) -> VoxelShowers:
    """Geant4 showers of a few GeV and more."""
    return bundled[:40]


@pytest.fixture
def path(electrons, tmp_path):
    """A file of the CaloChallenge's form."""
    data.write(tmp_path / "dense.h5", electrons, layout="calochallenge")
    return tmp_path / "dense.h5"


def put(path, name, values, **options):
    """Put another dataset in the place of one."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, data=values, **options)


# ---- incident energies


def padded(path, showers, energies):
    """A file of CaloClouds' form with one point a shower."""
    events = np.ones((len(showers), 5, 4), np.float32)
    with h5py.File(path, "w") as file:
        file["energy"], file["events"] = energies[:, None] / 1e3, events


def points(path, showers, energies):
    """A sparse file of points, one a shower."""
    with h5py.File(path, "w") as file:
        file["incident_energies"] = energies[:, None]
        file["points/offset"] = np.arange(len(showers) + 1)
        for name in ("x", "y", "layer", "energy"):
            file[f"points/{name}"] = np.ones(len(showers), np.uint8 if name == "layer" else "f4")
        file.attrs["geometry"] = "ild-ecal"


def voxels(layout):
    def write(path, showers, energies):
        data.write(path, showers, layout=layout)
        put(path, "incident_energies", energies[:, None])

    return write


def showerdata(path, showers, energies):
    """A file of the package showerdata with one point a shower."""
    pytest.importorskip("showerdata")
    n, geometry = len(showers), geometry_preset("ild-ecal")
    one = np.ones(n, np.float32)
    made = PointShowers(np.full(n, 2e4), np.arange(n + 1), one, one, one.astype(int), one, geometry)
    data.write(path, made, layout="showerdata", attributes={"particle": "gamma"})
    put(path, "energies", energies[:, None] / 1e3)


FORMS = {
    "showerdata": showerdata,
    "sparse": voxels("sparse"),
    "calochallenge": voxels("calochallenge"),
    "points": points,
    "caloclouds": padded,
}


@pytest.mark.parametrize("bad", [0.0, -2e3, np.nan, np.inf])
@pytest.mark.parametrize("form", FORMS)
def test_an_impossible_incident_energy_is_named_before_anything_is_read(
    form, bad, electrons, tmp_path
):
    energies = np.full(40, 2e4)
    energies[33] = bad
    FORMS[form](tmp_path / "a.h5", electrons, energies)
    said = rf"a\.h5, shower 33: energy_inc must be finite and above 0 \[MeV\], got {bad}: remove"
    with data.open_file(tmp_path / "a.h5") as file:
        for read in (lambda: file[:], lambda: file.energy_inc, lambda: next(file.batches(10))):
            with pytest.raises(data.ShowerFileError, match=said):
                read()
        with pytest.raises(data.ShowerFileError, match=said):
            file[30:]
        assert len(file[:33]) == 33  # what is before can still be had


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_was_reserved_and_never_filled_is_said_to_be(form, electrons, tmp_path):
    FORMS[form](tmp_path / "a.h5", electrons, np.where(np.arange(40) < 25, 2e4, 0.0))
    said = r"shower 25: .* got 0\.0: it is 0 up to shower 39, .* reserved and never filled by a wr"
    with (
        data.open_file(tmp_path / "a.h5") as file,
        pytest.raises(data.ShowerFileError, match=said),
    ):
        file[:]


@pytest.mark.parametrize("layout", ["sparse", "calochallenge"])
def test_an_end_of_empty_showers_is_told(layout, electrons, tmp_path):
    dense = electrons.dense()
    dense[30:] = 0
    broken = VoxelShowers.from_dense(electrons.energy_inc, dense, electrons.geometry)
    data.write(tmp_path / "a.h5", broken, layout=layout)
    for whole in (slice(None), slice(36, None)):
        with (
            data.open_showers(tmp_path / "a.h5") as file,
            pytest.warns(data.ShowerFileWarning, match=r"showers 30 to 39, .* 0 of the \d+ befor"),
        ):
            file[whole]


def test_a_few_empty_showers_are_physics(electrons, tmp_path):
    dense = electrons.dense()
    dense[[3, 8, 22, 39]] = 0  # as at low energies
    few = VoxelShowers.from_dense(electrons.energy_inc, dense, electrons.geometry)
    data.write(tmp_path / "a.h5", few)
    assert np.array_equal(data.read(tmp_path / "a.h5").dense(), dense)


# ---- what was declared and not written


@pytest.mark.parametrize("name", ["incident_energies", "showers"])
@pytest.mark.parametrize("packed", [None, "gzip"])
@pytest.mark.parametrize("rows", [0, 10, 30])
def test_what_was_never_written_is_refused(name, rows, packed, path):
    with h5py.File(path, "r+") as file:
        shape = file[name].shape
        del file[name]
        chunks = (10, shape[1]) if rows else None
        declared = file.create_dataset(
            name, shape, "f4", chunks=chunks, compression=packed if rows else None
        )
        if rows:
            declared[:rows] = 1.0
    with pytest.raises(
        data.ShowerFileError, match=rf"{name}: it has the shape .* was not written to its e"
    ):
        data.read(path)


MEMORY = """
import resource, sys
from caloforge import data
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        data.read(path, "calochallenge-2")
    except data.ShowerFileError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def packed_twice(file):
    """A quarter of a gigabyte of zeros."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((1 << 24, 1))
    creation.set_deflate(9)
    creation.set_deflate(9)
    space = h5py.h5s.create_simple((4 << 24, 1))
    made = h5py.h5d.create(file.id, b"incident_energies", h5py.h5t.IEEE_F32LE, space, creation)
    packed = zlib.compress(zlib.compress(bytes(4 << 24), 9), 9)
    for i in range(4):
        made.write_direct_chunk((i << 24, 0), packed)


def in_one_chunk(file):
    """Two energies in a chunk for half a thousand million."""
    options = {"chunks": (1 << 29, 1), "compression": "gzip", "maxshape": (None, 1)}
    made = file.create_dataset("incident_energies", (2, 1), "f4", **options)
    made.id.write_direct_chunk((0, 0), zlib.compress(b""))


def declared(chunks):
    def write(file):
        file.create_dataset("incident_energies", (1 << 36, 1), "f4", chunks=chunks)

    return write


def test_a_huge_claim_costs_no_memory(tmp_path):
    claims = {
        "claims 0.268 GB in": packed_twice,
        "it is cut into chunks of 2.15 GB": in_one_chunk,
        "0 of its 274877906944 bytes are there": declared(None),
        "0 of its 1048576 chunks are there": declared((1 << 16, 1)),
    }
    for number, claim in enumerate(claims.values()):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            claim(file)
            n = file["incident_energies"].shape[0]
            file.create_dataset("showers", (n, 6480), "f4", chunks=(1, 6480))
    command = [sys.executable, "-c", MEMORY, *sorted(map(str, tmp_path.glob("*.h5")))]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    *messages, grown = told.splitlines()
    assert len(messages) == len(claims)
    for message, claim in zip(messages, claims, strict=True):
        assert claim in message
    assert int(grown) < 64_000  # kB, a quarter of the least claim


# ---- what lies elsewhere


@pytest.mark.parametrize("name", ["incident_energies", "showers"])
@pytest.mark.parametrize("kind", ["external", "soft", "dangling"])
def test_links_are_not_followed(kind, name, path, tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")  # opening it would wait for ever
    link = {
        "external": h5py.ExternalLink("pipe.h5", "/showers"),
        "soft": h5py.SoftLink("/elsewhere"),
        "dangling": h5py.ExternalLink("nowhere.h5", "/showers"),
    }[kind]
    with h5py.File(path, "r+") as file:
        file.move(name, "elsewhere")
        file[name] = link
    with pytest.raises(data.ShowerFileError, match=f"dense.h5: '{name}' is a link, and links are"):
        data.read(path)


def test_a_group_behind_a_link_is_not_read(electrons, tmp_path):
    data.write(tmp_path / "a.h5", electrons)
    data.write(tmp_path / "b.h5", electrons)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["voxels"]
        file["voxels"] = h5py.ExternalLink("b.h5", "/voxels")
        file["group"] = h5py.ExternalLink("b.h5", "/incident_energies")
    with pytest.raises(data.ShowerFileError, match="'voxels' is a link"):
        data.read(tmp_path / "a.h5")


def test_raw_bytes_beside_the_file_are_not_read(path, tmp_path):
    (tmp_path / "raw.bin").write_bytes(np.full(40, 2e4, np.float32).tobytes())
    with h5py.File(path, "r+") as file:
        del file["incident_energies"]
        raw = [(str(tmp_path / "raw.bin"), 0, 160)]
        file.create_dataset("incident_energies", (40, 1), "f4", external=raw)
    with pytest.raises(data.ShowerFileError, match=r"is kept outside the file, in .*raw\.bin"):
        data.read(path)


@pytest.fixture
def virtual(electrons, tmp_path):
    """A file that is put together of two parts in its folder."""
    geometry = electrons.geometry
    for number, part in enumerate((electrons[:25], electrons[25:])):
        data.write(tmp_path / f"part{number}.h5", part, layout="calochallenge")
    return assemble(tmp_path / "whole.h5", geometry, ["part0.h5", "part1.h5"])


def assemble(path, geometry, parts, sizes=(25, 15)):
    with h5py.File(path, "w") as file:
        for name, width in {"incident_energies": 1, "showers": geometry.n_voxels}.items():
            layout, start = h5py.VirtualLayout((40, width), "f4"), 0
            for part, n in zip(parts, sizes, strict=True):
                layout[start : start + n] = h5py.VirtualSource(part, name, (n, width))
                start += n
            file.create_virtual_dataset(name, layout)
    return path


def test_a_virtual_file_is_the_sum_of_its_parts(virtual, electrons):
    read = data.read(virtual, electrons.geometry)
    assert np.array_equal(read.energy_inc, electrons.energy_inc)
    assert np.array_equal(read.dense(), electrons.dense())


def shorten(part):
    part.unlink()
    with h5py.File(part, "w") as file:
        file["incident_energies"], file["showers"] = np.ones((3, 1)), np.ones((3, 6480))


def chain(part):
    part.rename(part.with_name("source.h5"))
    with h5py.File(part, "w") as file:
        file["incident_energies"] = h5py.ExternalLink("source.h5", "incident_energies")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda part: part.unlink(), r"'part1\.h5' is missing, which would read as zeros"),
        (lambda part: part.write_bytes(b"\0" * 99), "zeros where it should begin"),
        (lambda part: (part.unlink(), os.mkfifo(part)), r"'part1\.h5' is missing"),
        (shorten, "has another shape"),
        (chain, "is a link"),
    ],
    ids=["missing", "broken", "pipe", "shorter", "link"],
)
def test_a_virtual_file_needs_all_of_its_parts(harm, message, virtual, tmp_path):
    harm(tmp_path / "part1.h5")
    with pytest.raises(data.ShowerFileError, match=message):
        data.read(virtual, "calochallenge-2")


def test_a_virtual_file_has_its_parts_in_its_folder(virtual, electrons, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "link.h5").symlink_to(tmp_path / "part1.h5")
    (tmp_path / "inner" / "part0.h5").write_bytes((tmp_path / "part0.h5").read_bytes())
    for part in ("../part1.h5", str(tmp_path / "part1.h5"), "link.h5"):
        inner = assemble(tmp_path / "inner" / "a.h5", electrons.geometry, ["part0.h5", part])
        with pytest.raises(data.ShowerFileError, match="lies outside the folder of the file"):
            data.read(inner, electrons.geometry)
    uncovered = assemble(tmp_path / "b.h5", electrons.geometry, ["part0.h5"], sizes=(25,))
    with pytest.raises(data.ShowerFileError, match="its parts give 25 of the 40 numbers"):
        data.read(uncovered, electrons.geometry)


def test_a_filter_that_is_not_there_is_named(path):
    with h5py.File(path, "r+") as file:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((40, 1))
        creation.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())  # blosc
        del file["incident_energies"]
        space = h5py.h5s.create_simple((40, 1))
        h5py.h5d.create(file.id, b"incident_energies", h5py.h5t.IEEE_F32LE, space, creation)
    with pytest.raises(data.ShowerFileError, match=r"number 32001.*h5repack -f GZIP=4"):
        data.read(path)


def test_text_is_no_energy(path):
    put(path, "incident_energies", np.array([[b"fast"]] * 40))
    with pytest.raises(data.ShowerFileError, match="incident_energies: it must hold numbers, got"):
        data.read(path)
