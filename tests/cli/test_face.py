"""What a newcomer meets first: lists, versions, suggestions, and errors in the words of options."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import caloforge as cf
from caloforge import samples
from caloforge.cascade import presets, system_names
from caloforge.cli.options import in_options
from caloforge.simulation import detector_presets

Command = Callable[..., Any]  # arguments to exit code and what was printed


def test_the_version_as_a_module_and_as_a_command(caloforge: Command) -> None:
    assert caloforge("--version").out == f"caloforge {cf.__version__}\n"
    command = [sys.executable, "-m", "caloforge", "--version"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == f"caloforge {cf.__version__}\n"


def test_completion_for_shells_is_offered(caloforge: Command) -> None:
    assert "--install-completion" in caloforge("--help").out


# ---------------------------------------------------------------- what there is


def test_info_lists_all_that_there_is(caloforge: Command) -> None:
    facts = json.loads(caloforge("info", "--json").out)
    named = [f"{system}/{size}" for system, sizes in facts["systems"].items() for size in sizes]
    assert named == list(presets())
    assert facts["geometries"] == list(cf.geometry_presets())
    assert facts["detectors"] == list(detector_presets())
    table = caloforge("info").out
    assert all(name in table for name in (*system_names(), *cf.geometry_presets()))


def test_info_of_a_system_lists_its_presets(caloforge: Command) -> None:
    rows = json.loads(caloforge("info", "supercalo", "--json").out)["presets"]
    assert [row["preset"] for row in rows] == [p for p in presets() if p.startswith("supercalo/")]
    tiny = next(row for row in rows if row["preset"] == "supercalo/tiny")
    system = cf.build("supercalo/tiny", tiny["geometry"])
    assert tiny["parameters"] == sum(system.n_parameters.values())
    assert tiny["passes"] == sum(system.sequential_passes.values())
    table = caloforge("info", "supercalo").out
    assert "supercalo/calochallenge-3" in table
    assert f"{tiny['parameters']:,}" in table


@pytest.mark.parametrize("name", cf.geometry_presets())
def test_info_of_a_geometry(name: str, caloforge: Command) -> None:
    facts = json.loads(caloforge("info", name, "--json").out)
    geometry = cf.geometry_preset(name)
    assert (facts["layers"], facts["voxels"]) == (geometry.n_layers, geometry.n_voxels)
    assert facts["detector"] == (name in detector_presets())


# ---------------------------------------------------------------- nearly right

NEARLY = {
    "system": (["info", "l2lflow/small"], "did you mean 'l2lflows'?"),
    "system alone": (["info", "calodreams"], "did you mean 'calodream'?"),
    "preset": (["info", "supercalo/smal"], "did you mean 'small'?"),
    "geometry": (["info", "calochalenge-2"], "did you mean 'calochallenge-2'?"),
    "geometry as option": (
        ["info", "l2lflows/tiny", "--geometry", "ild30"],
        "did you mean 'ild-30'?",
    ),
    "detector": (
        ["simulate", "--geometry", "ild-ecall", "--energy", "1e4", "-n", "1", "-o", "{tmp}/a.h5"],
        "did you mean 'ild-ecal'?",
    ),
    "setting": (
        ["train", "l2lflows/tiny", "layers.recipe.epoch=3", "--data", "{data}", "-o", "{tmp}/r"],
        "did you mean 'layers.recipe.epochs'?",
    ),
    "setting without its place": (
        ["train", "l2lflows/tiny", "epochs=3", "--data", "{data}", "-o", "{tmp}/r"],
        "did you mean 'layers.recipe.epochs'?",
    ),
    "stage": (
        ["train", "l2lflows/tiny", "--stage", "energy", "--data", "{data}", "-o", "{tmp}/r"],
        "did you mean 'energies'?",
    ),
    "metric": (
        [
            *("evaluate", "--reference", "{data}", "a={data}", "-o", "{tmp}/e"),
            *("--metric", "seperation"),
        ],
        "did you mean 'separation'?",
    ),
    "solver": (
        ["train", "calodream/tiny", "shape.solver=adaptiv", "--data", "{data}", "-o", "{tmp}/r"],
        "did you mean 'adaptive'?",
    ),
    "command": (["evalute"], "Did you mean 'evaluate'?"),
}


@pytest.mark.parametrize("name", NEARLY)
def test_a_name_that_is_nearly_right(
    name: str, caloforge: Command, data: Path, tmp_path: Path
) -> None:
    arguments, meant = NEARLY[name]
    result = caloforge(*(text.format(data=data, tmp=tmp_path) for text in arguments))
    assert result.code == 2
    assert meant in result.err


# ---------------------------------------------------------------- options, not arguments

OPTIONS = {"geometry": "--geometry", "batch_size": "--batch-size", "resume": "--resume"}


@pytest.mark.parametrize(
    ("python", "spoken"),
    [
        ("name one, such as geometry='ild-30'", "name one, such as --geometry ild-30"),
        ('give one: geometry="ild-30".', "give one: --geometry ild-30."),
        ("ask with resume=True", "ask with --resume"),
        ("batch_size must be 1 or more", "--batch-size must be 1 or more"),
        ("samples and batch_size must be 1", "samples and --batch-size must be 1"),
        ("set calibration.geometry=null", "set calibration.geometry=null"),
        ("no setting 'batch_size': expected one", "no setting 'batch_size': expected one"),
        ("the geometry needs a layer", "the geometry needs a layer"),
        ("seed must be 0 or more", "seed must be 0 or more"),  # no option of this command
        ("geometry=200/fake.h5 is no file", "geometry=200/fake.h5 is no file"),
        ("geometry=2.h5 is no file", "geometry=2.h5 is no file"),
        ("/data/batch_size/a.h5 is no file", "/data/batch_size/a.h5 is no file"),
    ],
)
def test_messages_speak_of_the_options_of_the_command(python: str, spoken: str) -> None:
    assert in_options(python, OPTIONS) == spoken


@pytest.fixture
def unsaid(tmp_path: Path) -> Path:
    """A CaloChallenge file that fits no known geometry."""
    with h5py.File(tmp_path / "unsaid.h5", "w") as file:
        file["incident_energies"], file["showers"] = np.ones((2, 1)), np.ones((2, 7))
    return tmp_path / "unsaid.h5"


@pytest.mark.parametrize(
    ("arguments", "spoken"),
    [
        (["coarsen", "{unsaid}", "-o", "{tmp}/a.h5"], "--geometry "),
        (["coarsen", "{points}", "-o", "{tmp}/a.h5"], "`caloforge project`"),
        (["project", "{data}", "-o", "{tmp}/a.h5"], "give a file of points"),
        (
            ["generate", "{run}", "-n", "1", "--energy", "fixed:-1", "-o", "{tmp}/a.h5"],
            "energ",
        ),
        (
            [
                *("simulate", "--geometry", "ild-30", "--energy", "1e4", "-n", "1"),
                *("-o", "{tmp}/a.h5", "--chunk-size", "-1"),
            ],
            "--chunk-size must be 1 or more",
        ),
        (
            [
                *("simulate", "--geometry", "ild-30", "--energy", "1e4", "-n", "1"),
                *("-o", "{tmp}/a.h5", "--mantissa-bits", "40"),
            ],
            "--mantissa-bits must lie in 1 … 23",
        ),
    ],
)
def test_errors_name_options_and_commands(
    arguments: list[str],
    spoken: str,
    caloforge: Command,
    unsaid: Path,
    data: Path,
    run: Path,
    tmp_path: Path,
) -> None:
    places = {"unsaid": unsaid, "data": data, "run": run, "tmp": tmp_path}
    places["points"] = samples.points_path()
    result = caloforge(*(text.format(**places) for text in arguments))
    assert result.code == 2
    assert spoken in result.err
    assert not any(python in result.err for python in ("geometry=", "open_points", "chunk_size"))


# ---------------------------------------------------------------- layouts


def test_generated_showers_in_the_calochallenges_layout(
    caloforge: Command, run: Path, data: Path, tmp_path: Path
) -> None:
    sparse, dense = tmp_path / "sparse.h5", tmp_path / "dense.h5"
    asked = ("generate", run, "--like", data, "--seed", 3, "--batch-size", 400)
    assert caloforge(*asked, "-o", sparse).code == 0
    assert caloforge(*asked, "-o", dense, "--layout", "calochallenge").code == 0
    showers = cf.read(sparse)
    with h5py.File(dense) as file:
        assert file["incident_energies"].shape == (len(showers), 1)
        assert np.array_equal(file["showers"], showers.dense().reshape(len(showers), -1))
    again = caloforge(*asked, "-o", dense, "--layout", "calochallenge", "--resume")
    assert again.code == 0  # what is finished is known
    assert np.array_equal(cf.read(dense).energy, showers.energy)


def test_coarse_showers_in_the_calochallenges_layout(caloforge: Command, tmp_path: Path) -> None:
    output = tmp_path / "coarse.h5"
    result = caloforge("coarsen", samples.path(), "-o", output, "--layout", "calochallenge")
    assert result.code == 0
    with h5py.File(output) as file:
        assert file["showers"].shape == (3000, 6480 // 10)
