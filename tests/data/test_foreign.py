"""A file of something else is named for what it is, with what to do about it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from caloforge import data

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def saved(save, *arrays, **named):
    stream = io.BytesIO()
    save(stream, *arrays, **named)
    return stream.getvalue()


def archived() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("showers.h5"))
    return stream.getvalue()


def zipped(name: str = "showers.h5") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"showers")
    return stream.getvalue()


FOREIGN = {
    "empty": (b"", "is empty, no HDF5 file: fetch it again"),
    "root": (b"root\x00\x00\xf2\xc8" + bytes(200), "is a ROOT file, .*uproot"),
    "lcio": (b"\x00\x00\x00\x40\xab\xad\xca\xfe" + bytes(64), "is an LCIO file"),
    "npy": (saved(np.save, np.ones(3)), r"is a NumPy array \(npy\), .*numpy"),
    "npz": (saved(np.savez, showers=np.ones(3)), r"is NumPy arrays \(npz\), .*numpy"),
    "gzip": (gzip.compress(b"showers"), "is compressed by gzip, .*gunzip"),
    "bzip2": (bz2.compress(b"showers"), "is compressed by bzip2, .*unpack it first"),
    "xz": (lzma.compress(b"showers"), "is compressed by xz, .*unpack it first"),
    "zip": (zipped(), "is a zip archive, .*unzip"),
    "torch": (zipped("model/data.pkl"), "is a file of PyTorch, .*if you trust it"),
    "tar": (archived(), "is a tar archive, .*tar -xf"),
    "pickle": (b"\x80\x04\x95\x0b" + bytes(99), "is a pickle, .*not loaded"),
    "lfs": (POINTER, "is the pointer of Git LFS to the file, .*git lfs pull"),
    "annex": (b"../.git/annex/objects/Xq/MD5-s9--1/MD5-s9--1\n", "git annex get"),
    "page": (b"\n<!DOCTYPE html>\n<html><title>Zenodo</title>", "is an HTML page, .*not the page"),
    "binning": (b'<Bins><Bin pid="22"></Bin></Bins>', "read_calochallenge_xml"),
    "answer": (b'{"status": 403, "message": "denied"}', r"is text \(JSON\)"),
    "table": (b"energy,x,y\n1.0,2.0,3.0\n", "is text, which begins 'energy,x,y', no HDF5"),
    "utf-8": ("Träger\n".encode() * 200, "is text, which begins 'Träger'"),
    "zeros": (bytes(4096), "is full of zeros where it should begin, .*broke off"),
    "noise": (bytes(range(255, 0, -1)), r"begins with the bytes ff fe fd .*choose another file"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_named(kind, tmp_path):
    content, message = FOREIGN[kind]
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(data.ShowerFileError, match=rf"a\.h5.* {message}"):
        data.read(tmp_path / "a.h5")


def test_what_is_no_plain_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")  # opening it would wait for ever
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    for name, message in {
        "pipe.h5": "is no plain file but a pipe or a device",
        "run": "is a run folder: generate showers with it; give a file",
        "": "is a folder; give a file of showers",
        "nowhere.h5": "there is no file",
    }.items():
        with pytest.raises(data.ShowerFileError, match=message):
            data.holds_points(tmp_path / name)


WRITER = """
import os, signal, sys, h5py
file = h5py.File(sys.argv[1], "w", libver="latest")
file["showers"] = [1.0]
if sys.argv[2] == "dies":
    file.swmr_mode = True
    os.kill(os.getpid(), signal.SIGKILL)
print("open", flush=True)
sys.stdin.read()
"""


def test_a_file_in_use_and_one_left_behind_are_named(few, tmp_path):
    command = [sys.executable, "-c", WRITER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*command, str(tmp_path / "used.h5"), "waits"], **pipes) as writer:
        writer.stdout.readline()
        with pytest.raises(data.ShowerFileError, match="is open in another process, which writes"):
            data.read(tmp_path / "used.h5")
        writer.stdin.close()
    subprocess.run([*command, str(tmp_path / "dead.h5"), "dies"], check=False)
    with pytest.raises(data.ShowerFileError, match=r"left open by a writer that died: .*h5clear"):
        data.read(tmp_path / "dead.h5")


def test_a_file_that_may_not_be_read_is_named(few):
    nobody = 65534  # root may read everything, and asks as nobody
    with tempfile.TemporaryDirectory() as folder:  # that of pytest is closed to others
        path = Path(folder) / "a.h5"
        data.write(path, few)
        path.chmod(0)
        Path(folder).chmod(0o755)
        user = os.geteuid()
        os.seteuid(nobody if user == 0 else user)
        try:
            with pytest.raises(data.ShowerFileError, match="may not be read by you"):
                data.read(path)
        finally:
            os.seteuid(user)


def test_a_block_of_others_before_the_file_is_fine(few, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:  # as MATLAB writes
        file["incident_energies"] = few.energy_inc[:, None]
        file["showers"] = few.dense()
    with (tmp_path / "a.h5").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    assert len(data.read(tmp_path / "a.h5", few.geometry)) == 3
    os.truncate(tmp_path / "a.h5", 700)
    with pytest.raises(data.ShowerFileError, match=r"no readable HDF5 .*truncated"):
        data.read(tmp_path / "a.h5", few.geometry)


# ---- names that others use in another way


@pytest.fixture
def plain(few, tmp_path):
    """A file as the CaloChallenge writes it, which says no geometry."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["incident_energies"], file["showers"] = few.energy_inc[:, None], few.dense()
    return tmp_path / "a.h5"


@pytest.mark.parametrize(
    "said", ["dataset_2", b"dataset_2", np.bytes_("ds2"), 2, np.array([b"dataset_2"]), np.ones(3)]
)
def test_a_geometry_of_another_convention_gives_way_to_the_given_one(said, plain, few):
    with h5py.File(plain, "r+") as file:
        file.attrs["geometry"] = said
    assert np.array_equal(data.read(plain, few.geometry).dense(), few.dense())
    with pytest.raises(
        data.ShowerFileError, match=r"does not state a known geometry .*attribute says.*giv"
    ):
        data.read(plain)


@pytest.mark.parametrize("said", [b"calochallenge-2", np.bytes_("calochallenge-2")])
def test_bytes_name_a_preset_as_text_does(said, bundled, tmp_path):
    data.write(tmp_path / "a.h5", bundled[:3])
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["geometry"] = said
    assert data.read(tmp_path / "a.h5").geometry == bundled.geometry
    with pytest.raises(data.ShowerFileError, match="holds showers of calochallenge-2, not of ild"):
        data.read(tmp_path / "a.h5", "ild-30")


@pytest.mark.parametrize("version", ["2.1", b"3", np.array([2, 1]), 0.5])
def test_a_version_of_another_convention_says_nothing(version, plain, few):
    with h5py.File(plain, "r+") as file:
        file.attrs["format_version"] = version
    assert len(data.read(plain, few.geometry)) == 3


@pytest.mark.parametrize("name", ["events", "points", "voxels", "num_points", "energy", "layers"])
@pytest.mark.parametrize("is_group", [True, False])
def test_the_two_datasets_of_the_calochallenge_decide(name, is_group, plain, few):
    with h5py.File(plain, "r+") as file:
        if is_group:
            file[f"{name}/offset"] = np.arange(4)
        else:
            file[name] = np.arange(3)
    assert not data.holds_points(plain)
    assert np.array_equal(data.read(plain, few.geometry).dense(), few.dense())


def test_a_dataset_called_points_is_no_sparse_form(few, tmp_path):
    data.write(tmp_path / "a.h5", few)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["points"] = np.arange(3)
    assert len(data.read(tmp_path / "a.h5")) == 3


@pytest.mark.parametrize("n", [1, 3])
def test_points_that_may_be_read_in_two_ways_are_not_guessed(n, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["energy"], file["events"] = np.full((n, 1), 20.0), np.ones((n, 4, 4))
    with pytest.raises(data.ShowerFileError, match=rf"may be 4 points .*shape \({n}, 5, 4\)"):
        data.read(tmp_path / "a.h5")
