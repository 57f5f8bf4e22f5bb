"""A long job keeps what it has finished, answers one request, and ends as one file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from caloforge import data
from caloforge.showers import VoxelShowers

REQUEST = {"geometry": "wedge", "seed": 1, "energy": (1e3, 1e5)}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out.h5"


def _same(one: VoxelShowers, other: VoxelShowers) -> bool:
    names = ("energy_inc", "offset", "index", "energy")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_parts_of_points_are_joined(output, bundled_points):
    photons = bundled_points[:6]
    parts = data.Parts(output, 3, REQUEST)
    for part in (1, 2, 0):
        parts.save(part, photons[2 * part : 2 * part + 2])
    parts.assemble({"particle": "gamma"}, columns={"number": np.arange(6)})
    with data.open_points(output) as file:
        assert file.geometry == photons.geometry
        assert file.attributes["particle"] == "gamma"
        assert file.column("number").tolist() == list(range(6))
        for name in ("energy_inc", "offset", *photons.columns):
            assert np.array_equal(getattr(file[:], name), getattr(photons, name))
    assert not parts.folder.exists()


def test_parts_finished_in_any_order_are_joined_in_theirs(output, few):
    parts = data.Parts(output, 3, REQUEST)
    for part in (2, 0, 1):
        assert part in parts.missing()
        parts.save(part, few[part : part + 1])
    assert parts.missing() == []
    assert parts.assemble({"seed": 1}) == output
    assert _same(data.read(output), few)
    with data.open_showers(output) as file:
        assert file.attributes["seed"] == 1
    assert [entry.name for entry in output.parent.iterdir()] == ["out.h5"]


def test_a_resumed_job_makes_what_is_missing(output, few):
    data.Parts(output, 3, REQUEST).save(1, few[1:2])
    parts = data.Parts(output, 3, REQUEST, resume=True)
    assert parts.missing() == [0, 2]
    for part in parts.missing():
        parts.save(part, few[part : part + 1])
    parts.assemble({})
    assert _same(data.read(output), few)


def test_resuming_what_was_never_begun_begins_it(output):
    assert data.Parts(output, 2, REQUEST, resume=True).missing() == [0, 1]


def test_an_unfinished_job_is_not_overwritten(output):
    data.Parts(output, 3, REQUEST)
    with pytest.raises(ValueError, match="holds the parts of an unfinished job: resume it, or rem"):
        data.Parts(output, 3, REQUEST)


@pytest.mark.parametrize(
    ("n_parts", "request_now", "message"),
    [
        (3, {**REQUEST, "seed": 2}, r"another request \(seed: 1 then, 2 now\)"),
        (4, REQUEST, r"another request \(n_parts: 3 then, 4 now\)"),
        (3, {"geometry": "wedge", "seed": 1}, r"another request \(energy: \[.*\] then, None now\)"),
    ],
)
def test_another_request_is_refused(output, n_parts, request_now, message):
    data.Parts(output, 3, REQUEST)
    with pytest.raises(ValueError, match=message):
        data.Parts(output, n_parts, request_now, resume=True)


def test_an_incomplete_job_makes_no_file(output, few):
    parts = data.Parts(output, 3, REQUEST)
    parts.save(1, few)
    with pytest.raises(ValueError, match=r"2 of 3 parts of .* are missing: resume the job"):
        parts.assemble({})
    assert not output.exists()
    assert parts.path(1).exists()


def test_parts_survive_a_join_that_fails(output, few):
    output.write_bytes(b"the old file")
    parts = data.Parts(output, 2, REQUEST)
    parts.save(0, few)
    parts.save(1, few)
    whole = parts.path(1).read_bytes()
    parts.path(1).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(data.ShowerFileError, match=r"000001\.h5"):
        parts.assemble({})
    assert output.read_bytes() == b"the old file"
    assert parts.path(0).exists()


KILLED = """
import os, signal, sys
from caloforge import data
from caloforge.data import sparse
showers = data.read(sys.argv[2])
parts = data.Parts(sys.argv[1], 2, {}, resume=True)
parts.save(0, showers)
sparse._rounded = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # in the middle of a write
parts.save(1, showers)
"""


def test_a_part_half_written_is_not_counted(output, few, tmp_path):
    data.write(tmp_path / "few.h5", few)
    command = [sys.executable, "-c", KILLED, str(output), str(tmp_path / "few.h5")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    parts = data.Parts(output, 2, {}, resume=True)
    assert parts.missing() == [1]
    parts.save(1, few)
    parts.assemble({})
    assert len(data.read(output)) == 2 * len(few)
    assert not parts.folder.exists()


def test_a_job_killed_before_its_request_was_noted_begins_anew(output):
    folder = output.with_name("out.h5.parts")
    folder.mkdir()
    (folder / ".request.json.1.tmp").write_text("{")
    assert data.Parts(output, 1, REQUEST).missing() == [0]
    assert json.loads((folder / "request.json").read_text())["seed"] == 1


def test_a_folder_of_other_files_is_left_alone(output):
    folder = output.with_name("out.h5.parts")
    folder.mkdir()
    (folder / "thesis.tex").write_text("all I have")
    with pytest.raises(ValueError, match="holds no parts but other files: move them"):
        data.Parts(output, 1, REQUEST)
    assert (folder / "thesis.tex").read_text() == "all I have"


def test_a_job_needs_a_folder_and_a_part(tmp_path):
    with pytest.raises(ValueError, match=r"the folder .*gone does not exist"):
        data.Parts(tmp_path / "gone" / "out.h5", 1, REQUEST)
    with pytest.raises(ValueError, match="n_parts must be 1 or more, got 0"):
        data.Parts(tmp_path / "out.h5", 0, REQUEST)


@pytest.mark.parametrize("part", [-1, 2])
def test_there_is_no_part_beyond_the_last(output, few, part):
    with pytest.raises(ValueError, match=f"part must lie in 0 … 1, got {part}"):
        data.Parts(output, 2, REQUEST).save(part, few)


def test_a_job_without_parts_may_be_abandoned(output, few):
    parts = data.Parts(output, 2, REQUEST)
    parts.abandon()
    assert list(output.parent.iterdir()) == []
    parts = data.Parts(output, 2, REQUEST)
    parts.save(1, few)
    parts.abandon()
    assert data.Parts(output, 2, REQUEST, resume=True).missing() == [0]
