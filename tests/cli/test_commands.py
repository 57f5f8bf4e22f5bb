"""The command line: the chain in four commands, JSON for scripts, tables for people."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import caloforge as cf
from caloforge.cascade import ExtrapolationWarning
from caloforge.cli import app
from caloforge.evaluation import SmallSampleWarning
from caloforge.generation import Timing, TimingRow, production
from caloforge.jobs import Serial
from caloforge.showers import VoxelShowers
from caloforge.training import RunFolder

Command = Callable[..., Any]  # arguments to exit code and what was printed
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]

# ---------------------------------------------------------------- help and information


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str, caloforge: Command) -> None:
    result = caloforge(command, "--help")
    assert result.code == 0
    assert re.search(rf"Example: caloforge {command}\b", result.out)


def test_the_help_names_every_command(caloforge: Command) -> None:
    result = caloforge("--help")
    assert result.code == 0
    assert set(COMMANDS) >= {
        *("simulate", "coarsen", "train", "generate", "upsample"),
        *("bench", "evaluate", "info", "demo"),
    }
    assert all(command in result.out for command in COMMANDS)


def test_info_as_json_counts_parameters(caloforge: Command) -> None:
    result = caloforge("info", "l2lflows/tiny", "--geometry", "ild-30", "--json")
    assert (result.code, result.err) == (0, "")
    facts = json.loads(result.out)
    assert facts["preset"] == "l2lflows/tiny"
    assert facts["geometry"] == "ild-30"
    system = cf.build("l2lflows/tiny", "ild-30")
    for name in ("parameters", "sequential_passes"):
        counts = system.n_parameters if name == "parameters" else system.sequential_passes
        assert facts[name] == {"total": sum(counts.values()), "stages": counts}


def test_info_as_a_table(caloforge: Command) -> None:
    result = caloforge("info", "l2lflows/tiny")
    assert result.code == 0
    total = sum(cf.build("l2lflows/tiny", "calochallenge-2").n_parameters.values())
    assert f"{total:,}" in result.out
    rows = [[cell.strip() for cell in line.split("│")] for line in result.out.splitlines()]
    passes = {row[1]: row[3] for row in rows if len(row) > 3}
    assert passes["layer_44"] == "4"  # one for each block
    assert passes["energies"] == "180"  # one for each layer in each of four blocks


def test_info_of_a_run(run: Path, caloforge: Command) -> None:
    facts = json.loads(caloforge("info", run, "--json").out)
    assert facts["geometry"] == "slab"
    assert next(iter(facts["parameters"]["stages"])) == "energies"
    assert facts["config"]["energies"]["blocks"] == 2


# ---------------------------------------------------------------- the chain


def test_train_generate_evaluate(
    data: Path, slab: VoxelShowers, small: dict[str, object], tmp_path: Path, caloforge: Command
) -> None:
    settings = {**small, "layers.recipe.epochs": 1}
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({"energies": {"recipe": {"epochs": 3}}}))
    run, fake = tmp_path / "run", tmp_path / "fake.h5"
    del settings["energies.recipe.epochs"]
    overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    result = caloforge(
        "train", "l2lflows/tiny", *overrides, "--data", data, "-o", run, "--config", config
    )
    assert result.code == 0, result.err
    assert all(name in result.err for name in ("energies", "layer_00", "layer_03", "100 %"))
    folder = RunFolder(run)
    assert folder.stage("energies").summary()["epochs"] == 3
    assert folder.stage("layer_03").summary()["epochs"] == 1

    few = slab[:120]
    cf.write(test := tmp_path / "test.h5", few)
    result = caloforge("generate", run, "--like", test, "-o", fake, "--seed", 7)
    assert result.code == 0, result.err
    made = cf.read(fake)
    assert np.array_equal(made.energy_inc, few.energy_inc)
    expected = cf.load(run).generate(few.energy_inc, seed=7)
    assert np.array_equal(made.energy, expected.energy)

    with warnings.catch_warnings():
        warnings.simplefilter("always", SmallSampleWarning)
        result = caloforge("evaluate", "--reference", test, f"mine={fake}", "-o", tmp_path / "eval")
    assert result.code == 0, result.err
    assert "SmallSampleWarning" in result.err
    assert {p.name for p in (tmp_path / "eval").iterdir()} == {
        "cache",
        "report.html",
        "scores.csv",
        "scores.json",
        "scores.md",
        "summary.csv",
    }
    assert "mine" in result.out


@pytest.mark.parametrize("command", ["generate", "upsample"])
def test_processes_are_asked_for(
    command: str,
    run: Path,
    supercalo_run: Path,
    bundled: VoxelShowers,
    tmp_path: Path,
    caloforge: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(production, "find_executor", lambda n: asked.append(n) or Serial())
    cf.write(tmp_path / "coarse.h5", bundled[:3])
    given = [run, "-n", 3] if command == "generate" else [supercalo_run, tmp_path / "coarse.h5"]
    result = caloforge(command, *given, "-o", tmp_path / "a.h5", "--processes", 3)
    assert result.code == 0, result.err
    assert asked == [3]


def test_generate_takes_a_number_or_a_spectrum(
    run: Path, slab: VoxelShowers, tmp_path: Path, caloforge: Command
) -> None:
    result = caloforge("generate", run, "-n", 12, "-o", tmp_path / "a.h5")
    assert result.code == 0, result.err
    own = cf.read(tmp_path / "a.h5")
    assert len(own) == 12
    assert slab.energy_inc.min() <= own.energy_inc.min()
    result = caloforge("generate", run, "-n", 5, "-o", tmp_path / "b.h5", "--energy", "fixed:2e4")
    assert result.code == 0, result.err
    assert cf.read(tmp_path / "b.h5").energy_inc.tolist() == [2e4] * 5


def test_a_stage_alone_and_the_rest_later(
    data: Path, small: dict[str, object], tmp_path: Path, caloforge: Command
) -> None:
    overrides = [f"{key}={json.dumps(value)}" for key, value in small.items()]
    showers = cf.read(data)
    cf.write(tmp_path / "a_0.h5", showers[:50])
    cf.write(tmp_path / "a_1.h5", showers[50:150])
    cf.write(tmp_path / "b.h5", showers[150:])
    files = ["--data", tmp_path / "b.h5", "--data", tmp_path / "a_*.h5"]
    job = ["train", "l2lflows/tiny", *overrides, *files, "-o", tmp_path / "run"]
    result = caloforge(*job, "--stage", "layer_02")
    assert result.code == 0, result.err
    assert "4 of 5 stages are still to be trained" in result.err
    again = caloforge(*job, "--stage", "layer_02", "--stage", "energies", "--resume")
    assert again.code == 0, again.err
    trained = {p.parent.name for p in (tmp_path / "run").glob("stages/*/summary.json")}
    assert trained == {"energies", "layer_02"}
    known = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["data"]
    assert known["fingerprint"] == showers.fingerprint()
    assert known["showers"] == ", ".join(f"{tmp_path}/{name}.h5" for name in ("a_0", "a_1", "b"))


# ---------------------------------------------------------------- timing


def test_bench_times_a_run(run: Path, tmp_path: Path, caloforge: Command) -> None:
    file = tmp_path / "timing.json"
    result = caloforge(
        "bench", run, "--batch-sizes", "3", "--runs", 2, "-n", 5, "-o", file, "--json"
    )
    assert result.code == 0, result.err
    assert "100 %" in result.err
    timing = json.loads(file.read_text())
    assert json.loads(result.out) == timing
    (row,) = timing["rows"]
    assert (row["device"], row["threads"], row["batch_size"]) == ("cpu", 1, 3)
    assert (row["n_showers"], row["runs"], row["reason"]) == (6, 2, None)
    assert row["ms_per_shower"] > 0


def test_bench_as_a_table(
    run: Path, tmp_path: Path, caloforge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def known(folder: str, **options: object) -> Timing:
        asked.update(options)
        return Timing(
            run=Path(folder).name,
            system="l2lflows",
            preset="l2lflows/tiny",
            geometry="slab",
            parameters={"energies": 1000, "layer_00": 234},
            sequential_passes=4_180,
            hardware={"cpu": "Abacus", "cores": 2, "memory_GB": 25.3, "gpu": "Sundial"},
            software={"caloforge": "1", "torch": "2.9", "python": "3.11"},
            protocol="as ever",
            rows=(
                TimingRow("cpu", 4, 1, 3, 10, 312.34, 4.56, 376.4, 3.9),
                TimingRow("cpu", 4, 100, 300, 10, 31.2, 0.4, 380.0, 0.456),
                TimingRow("cuda", 4, 100, 9000, 10, 1.2, 0.4, 380.0, 0.456),
                TimingRow("cuda", 4, 10_000, 0, 10, None, None, None, reason="out of memory"),
            ),
        )

    monkeypatch.setattr("caloforge.generation.time_generation", known)
    devices = ["--device", "cpu", "--device", "cuda"]
    result = caloforge("bench", run, "--batch-sizes", "1,10000", *devices, "--threads", 4)
    assert result.code == 0, result.err
    assert asked["batch_sizes"] == [1, 10_000]
    assert asked["devices"] == ["cpu", "cuda"]
    assert asked["threads"] == 4
    for text in ("1,234 parameters, 4,180 passes in a row", "Abacus, 2 cores, 25 GB; Sundial"):
        assert text in result.out
    timed = next(line for line in result.out.splitlines() if "4 threads" in line)
    assert [cell.strip() for cell in timed.split("│")[2:-1]] == [
        "1",
        "312.3 ± 4.6",
        "3.2",
        "376",
        "3",
    ]
    assert "cuda, batches of 10,000: not timed, out of memory" in result.out
    assert "cpu, batches of 100: timed too long, other programs left it 46 % of a core" in (
        result.out
    )
    assert result.out.count("timed too long") == 1
    assert not list(tmp_path.iterdir())


def test_what_lies_outside_the_training_is_said_or_refused(
    run: Path, slab: VoxelShowers, tmp_path: Path, caloforge: Command
) -> None:
    trained = cf.load(run).trained
    assert trained is not None
    result = caloforge("info", run)
    low, high = (f"{energy:.6g}" for energy in trained.energy_inc)
    assert f"trained on 360 showers, incident energies of {low} to {high} MeV" in result.out
    job = ["generate", run, "-n", 3, "--energy", "fixed:1e6", "-o", tmp_path / "far.h5"]
    result = caloforge(*job, "--strict")
    assert result.code == 2
    assert "3 of 3 showers lie outside what l2lflows was trained on" in result.err
    assert list(tmp_path.iterdir()) == []
    with warnings.catch_warnings():
        warnings.simplefilter("always", ExtrapolationWarning)
        result = caloforge(*job)
    assert result.code == 0, result.err
    assert result.err.count("3 of 3 showers lie outside") == 1
    facts = json.loads(caloforge("info", tmp_path / "far.h5", "--json").out)
    assert (facts["showers"], facts["geometry"]) == (3, slab.geometry.name)
    assert facts["attributes"]["n_outside_trained"] == 3
    stages = [json.loads(path.read_text()) for path in run.glob("stages/*/summary.json")]
    minutes = sum(stage["seconds"] for stage in stages) / 60
    assert facts["attributes"]["n_training_showers"] == len(slab)
    assert facts["attributes"]["training_minutes"] == pytest.approx(minutes, abs=1e-3)
    assert "trained_energy_inc_MeV" in caloforge("info", tmp_path / "far.h5").out
