"""A mistake on the command line is one line and exit code 2, and leaves no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caloforge.processes import WorkerDiedError

Command = Callable[..., Any]  # arguments to exit code and what was printed

MISTAKES = {
    "unknown preset": (["info", "l2lflows/huge"], "no preset 'l2lflows/huge'"),
    "unknown system": (["info", "l3l/tiny"], "no system 'l3l'"),
    "unknown geometry": (["info", "l2lflows/tiny", "--geometry", "cms"], "cms"),
    "irregular geometry": (
        ["info", "l2lflows/tiny", "--geometry", "calochallenge-1-pions"],
        "needs a regular geometry",
    ),
    "no data": (["train", "l2lflows/tiny", "--data", "{tmp}/no.h5", "-o", "{tmp}/r"], "no.h5"),
    "data that are none": (
        ["train", "l2lflows/tiny", "--data", "{tmp}/text.h5", "-o", "{tmp}/r"],
        "text.h5",
    ),
    "negative threshold": (
        [
            *("evaluate", "--reference", "{data}", "a={data}", "-o", "{tmp}/e"),
            *("--threshold", "-1", "--metric", "separation"),
        ],
        "threshold must be 0 or more [MeV], got -1.0",
    ),
    "setting without value": (
        ["train", "l2lflows/tiny", "epochs", "--data", "{data}", "-o", "{tmp}/r"],
        "written name=value, got 'epochs'",
    ),
    "files beside their option": (
        ["train", "l2lflows/tiny", "--data", "{data}", "{data}", "-o", "{tmp}/r"],
        "give each file its own --data, or a pattern in quotes",
    ),
    "a pattern of no file": (
        ["train", "l2lflows/tiny", "--data", "{tmp}/no_*.h5", "-o", "{tmp}/r"],
        "no file fits the pattern",
    ),
    "setting without a place": (
        ["train", "l2lflows/tiny", "epochs=3", "--data", "{data}", "-o", "{tmp}/r"],
        "no setting 'epochs': expected one of energies",
    ),
    "settings file that holds none": (
        [
            "train",
            "l2lflows/tiny",
            "--data",
            "{data}",
            "-o",
            "{tmp}/r",
            "--config",
            "{tmp}/text.h5",
        ],
        "must hold settings by name",
    ),
    "no settings file": (
        [
            "train",
            "l2lflows/tiny",
            "--data",
            "{data}",
            "-o",
            "{tmp}/r",
            "--config",
            "{tmp}/no.yaml",
        ],
        "no.yaml",
    ),
    "unknown stage": (
        ["train", "l2lflows/tiny", "--data", "{data}", "-o", "{tmp}/r", "--stage", "layer_77"],
        "no stage layer_77",
    ),
    "run that is there": (
        ["train", "l2lflows/tiny", "--data", "{data}", "-o", "{run}"],
        "holds a run already: resume it",
    ),
    "run of other settings": (
        ["train", "l2lflows/tiny", "--data", "{data}", "-o", "{run}", "--resume"],
        "begun with another config",
    ),
    "no run": (["generate", "{tmp}/no", "-n", "3", "-o", "{tmp}/a.h5"], "no run folder"),
    "neither number nor file": (["generate", "{run}", "-o", "{tmp}/a.h5"], "either -n"),
    "number and file": (
        ["generate", "{run}", "-n", "3", "--like", "{data}", "-o", "{tmp}/a.h5"],
        "either -n",
    ),
    "no showers": (["generate", "{run}", "-n", "0", "-o", "{tmp}/a.h5"], "energ"),
    "spectrum that is none": (
        ["generate", "{run}", "-n", "3", "--energy", "gauss:1:2", "-o", "{tmp}/a.h5"],
        "gauss",
    ),
    "no folder to write to": (
        ["generate", "{run}", "-n", "3", "-o", "{tmp}/no/a.h5"],
        "does not exist",
    ),
    "a folder to write to": (
        ["generate", "{run}", "-n", "3", "-o", "{tmp}"],
        "is a folder: give the name of a file",
    ),
    "a file as run folder": (
        ["train", "l2lflows/tiny", "--data", "{data}", "-o", "{tmp}/text.h5"],
        "text.h5 is no folder: choose another name",
    ),
    "a file as folder of scores": (
        ["evaluate", "--reference", "{data}", "{data}", "-o", "{tmp}/text.h5/e"],
        "text.h5 is no folder: choose another name",
    ),
    "no candidate": (
        ["evaluate", "--reference", "{data}", "{tmp}/no.h5", "-o", "{tmp}/e"],
        "no.h5",
    ),
    "no candidate of a name": (
        ["evaluate", "--reference", "{data}", "mine={tmp}/no.h5", "-o", "{tmp}/e"],
        "no.h5 to be called mine, and no mine=",
    ),
    "two candidates of one name": (
        ["evaluate", "--reference", "{data}", "{data}", "{data}", "-o", "{tmp}/e"],
        "are both called slab: write NAME=PATH",
    ),
    "timing of no run": (["bench", "{tmp}/no", "-o", "{tmp}/t.json"], "no run folder"),
    "batch sizes that are none": (
        ["bench", "{run}", "--batch-sizes", "1;100", "-o", "{tmp}/t.json"],
        "comma-separated batch sizes, such as 1,100,10000, got '1;100'",
    ),
    "batch of no shower": (["bench", "{run}", "--batch-sizes", "10,0"], "must be positive, got 0"),
    "unknown device": (
        ["bench", "{run}", "--device", "tpu"],
        "the device auto, cpu or cuda, got 'tpu'",
    ),
    "no run of the clock": (["bench", "{run}", "--runs", "0"], "runs must be positive, got 0"),
    "no folder for the timing": (
        ["bench", "{run}", "-o", "{tmp}/no/t.json"],
        "does not exist",
    ),
    "factors that do not divide": (
        ["coarsen", "{data}", "--factors", "3,2,1", "-o", "{tmp}/c.h5"],
        "factors (3, 2, 1) do not divide the (4, 16, 9) voxels of slab",
    ),
    "too few factors": (
        ["coarsen", "{data}", "--factors", "2,2", "-o", "{tmp}/c.h5"],
        "expected three whole numbers such as 5,2,1, got '2,2'",
    ),
    "half a voxel": (
        ["coarsen", "{data}", "--factors", "2.5,2,1", "-o", "{tmp}/c.h5"],
        "expected three whole numbers",
    ),
    "no showers to coarsen": (["coarsen", "{tmp}/no.h5", "-o", "{tmp}/c.h5"], "no.h5"),
    "resampling of what has no coarse showers": (
        ["generate", "{run}", "-n", "3", "--resample", "2", "-o", "{tmp}/a.h5"],
        "l2lflows offers no choice of resample: what can be chosen is postprocess",
    ),
    "solver of what solves nothing": (
        ["generate", "{run}", "-n", "3", "--solver", "rk4-5", "-o", "{tmp}/a.h5"],
        "l2lflows offers no choice of solver",
    ),
    "solver of layer energies that are not solved for": (
        ["generate", "{run}", "-n", "3", "--energy-solver", "rk4-5", "-o", "{tmp}/a.h5"],
        "l2lflows offers no choice of --energy-solver",
    ),
    "timing by a solver of what solves nothing": (
        ["bench", "{run}", "--solver", "rk4-5", "-o", "{tmp}/t.json"],
        "l2lflows offers no choice of solver",
    ),
    "choice without a value": (
        ["generate", "{run}", "-n", "3", "--choose", "solver", "-o", "{tmp}/a.h5"],
        "a choice is written name=value, got 'solver'",
    ),
    "choice made twice": (
        ["generate", "{run}", "-n", "3", "--resample", "2", "--choose", "resample=3", "-o", "a.h5"],
        "resample is chosen twice, 2 and 3",
    ),
    "choice of a wrong kind": (
        ["generate", "{run}", "-n", "3", "--choose", "postprocess=3", "-o", "{tmp}/a.h5"],
        "expected true or false, got 3",
    ),
    "upsampling with what upsamples none": (
        ["upsample", "{run}", "{data}", "-o", "{tmp}/a.h5"],
        "l2lflows samples showers of particles: it upsamples none",
    ),
    "no coarse showers": (["upsample", "{run}", "{tmp}/no.h5", "-o", "{tmp}/a.h5"], "no.h5"),
    "energies for showers that have theirs": (
        ["upsample", "{run}", "{data}", "-n", "3", "-o", "{tmp}/a.h5"],
        "-n, --energy and --like are for the run folder of a coarse generator",
    ),
    "coarse generator without a number": (
        ["upsample", "{run}", "{run}", "-o", "{tmp}/a.h5"],
        "either -n",
    ),
    "detector": (
        ["simulate", "--geometry", "cms", "--energy", "fixed:1e3", "-n", "1", "-o", "{tmp}/s.h5"],
        "cms",
    ),
}


@pytest.mark.filterwarnings("ignore::caloforge.evaluation.SmallSampleWarning")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(
    mistake: str, data: Path, run: Path, tmp_path: Path, caloforge: Command
) -> None:
    (tmp_path / "text.h5").write_text("just words")
    arguments, message = MISTAKES[mistake]
    places = {"tmp": tmp_path, "data": data, "run": run}
    result = caloforge(*(argument.format(**places) for argument in arguments))
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error ")]
    assert len(errors) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text.h5"]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--energy", "gauss:1:2", "gauss"),
        ("--direction", "0,1", "expected 3 numbers"),
        ("--position", "a,b,c", "such as 1,2,3, got 'a,b,c'"),
        ("--particle", "muon", "muon"),
    ],
)
def test_a_mistake_about_the_gun(
    option: str, value: str, message: str, geant4_data: Path, tmp_path: Path, caloforge: Command
) -> None:
    options = {"--geometry": "calochallenge-2", "--energy": "fixed:1e3", "-n": "1", option: value}
    output = tmp_path / "s.h5"
    result = caloforge("simulate", *(x for pair in options.items() for x in pair), "-o", output)
    assert result.code == 2
    assert message in result.err
    assert len([line for line in result.err.splitlines() if line.startswith("error ")]) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "l2lflows/tiny"],
        ["polish"],
        ["generate", "run", "-n", "many"],
        ["generate", "run", "-n", "3", "-o", "a.h5", "--resample", "0"],
        ["upsample", "run"],
    ],
)
def test_a_misspelt_command_is_exit_code_2(arguments: list[str], caloforge: Command) -> None:
    result = caloforge(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (WorkerDiedError("a process of the training died: resume it"), 1, "error a process of the"),
        (KeyboardInterrupt(), 130, "stopped; "),
        (SystemExit(143), 143, "stopped; "),
    ],
)
def test_an_end_before_its_time_is_one_line(
    error: BaseException,
    code: int,
    line: str,
    run: Path,
    tmp_path: Path,
    caloforge: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("caloforge.generate", stop, raising=False)
    result = caloforge("generate", run, "-n", "3", "-o", tmp_path / "a.h5")
    assert result.code == code
    assert result.err.startswith(line)
    assert len(result.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
