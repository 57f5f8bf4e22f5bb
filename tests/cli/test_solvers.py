"""Solvers on the command line: chosen for a generation, written down, refused if unknown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caloforge as cf
from caloforge.cascade import SamplingOptions
from caloforge.data import open_showers
from caloforge.showers import VoxelShowers

Command = Callable[..., Any]  # arguments to exit code and what was printed

SETTINGS = {
    "energies.dim": 8,
    "energies.heads": 2,
    "energies.layers": 1,
    "energies.feed_forward": 16,
    "energies.hidden": 16,
    "energies.hidden_layers": 2,
    "energies.solver": "euler-2",
    "energies.recipe.epochs": 1,
    "shape.patch": (2, 8, 3),
    "shape.dim": 12,
    "shape.heads": 2,
    "shape.hidden": 24,
    "shape.blocks": 1,
    "shape.solver": "rk4-2",
    "shape.recipe.epochs": 1,
    "distillation": None,
    "solvers": [
        {"steps": 4, "showers": 8, "batch_size": 4, "reference_steps": 5}
        | {"training": {"iterations": 3}}
    ],
}


@pytest.fixture(scope="module")
def solved(slab: VoxelShowers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a CaloDREAM with the solver bns-4."""
    folder = tmp_path_factory.mktemp("runs") / "solved"
    system = cf.build("calodream/tiny", slab.geometry, overrides=SETTINGS)
    cf.train(system, slab, run=folder, device="cpu")
    return folder


def test_a_chosen_solver_draws_and_is_written_down(
    solved: Path, tmp_path: Path, caloforge: Command
) -> None:
    job = ("generate", solved, "-n", 6, "--seed", 3)
    chosen = ("--solver", "bns-4", "--energy-solver", "midpoint-2")
    assert caloforge(*job, *chosen, "-o", tmp_path / "chosen.h5").code == 0
    assert caloforge(*job, "-o", tmp_path / "usual.h5").code == 0
    with open_showers(tmp_path / "chosen.h5") as file:
        assert file.attributes["solver"] == "bns-4"
        assert file.attributes["energy_solver"] == "midpoint-2"
        sampled = file[:]
    options = SamplingOptions(solver="bns-4", energy_solver="midpoint-2")
    expected = cf.load(solved).generate(sampled.energy_inc, seed=3, options=options)
    assert np.array_equal(sampled.dense(), expected.dense())
    with open_showers(tmp_path / "usual.h5") as file:
        assert {"solver", "energy_solver"}.isdisjoint(file.attributes)


@pytest.mark.parametrize(
    "command", [("generate", "-n", "3", "-o", "a.h5"), ("bench", "-o", "t.json")]
)
def test_an_unknown_solver_is_refused_with_those_that_there_are(
    command: tuple[str, ...],
    solved: Path,
    tmp_path: Path,
    caloforge: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *options = command
    result = caloforge(name, solved, *options, "--solver", "bns-5")
    assert result.code == 2
    assert "name euler-N, midpoint-N, rk4-N" in result.err
    assert "a solver trained for this network (bns-4)" in result.err
    assert not list(tmp_path.iterdir())


def test_info_lists_the_solvers_of_the_run(solved: Path, caloforge: Command) -> None:
    choices = json.loads(caloforge("info", solved, "--json").out)["choices"]
    assert choices["solver"]["default"] == "rk4-2"
    assert choices["solver"]["offered"] == ["euler-N", "midpoint-N", "rk4-N", "adaptive", "bns-4"]
    assert "bns-4" not in choices["energy_solver"]["offered"]
    words = set(caloforge("info", solved).out.split())  # whose lines are folded
    assert all(words.issuperset(choice["what"].split()) for choice in choices.values())


def test_a_generation_is_resumed_with_its_solver_alone(
    solved: Path, tmp_path: Path, caloforge: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caloforge.generation.production.PART_SIZE", 2)
    system, output = cf.load(solved), tmp_path / "a.h5"
    energies = np.full(4, 1e4)

    def stop(progress: object) -> None:
        if progress.done == 4:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    job = {"seed": 1, "output": output, "batch_size": 2}
    with pytest.raises(KeyboardInterrupt):
        cf.generate(system, energies, **job, options=SamplingOptions(solver="bns-4"), progress=stop)
    with pytest.raises(ValueError, match="answers another request"):
        cf.generate(system, energies, **job, resume=True)


def test_a_timing_says_its_solver(solved: Path, tmp_path: Path, caloforge: Command) -> None:
    timing = ("bench", solved, "--batch-sizes", 1, "--runs", 1, "-n", 1, "--json")
    result = caloforge(*timing, "--solver", "euler-3", "--energy-solver", "euler-1")
    assert result.code == 0
    assert json.loads(result.out)["choices"] == {"solver": "euler-3", "energy_solver": "euler-1"}
    # four layers with a pass of the transformer and one of the velocity each, then three
    assert '"sequential_passes": 11' in result.out
