"""Every example runs, and does what it says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import caloforge as cf
from caloforge.showers import VoxelShowers

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test_and_says_how_to_call_it() -> None:
    source = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'example("{path.stem}")' in source
        assert f"    python examples/{path.name}" in path.read_text()


def test_suspicious_showers_are_ranked(
    run: Path, slab: VoxelShowers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cf.write(tmp_path / "reference.h5", slab[:200])
    cf.write(tmp_path / "showers.h5", slab[200:])
    script = example("rank_suspicious_showers")
    files = [str(tmp_path / "showers.h5"), "--reference", str(tmp_path / "reference.h5")]
    script.main([*files, "--run", str(run), "--plant", "20", "--top", "7"])
    printed = capsys.readouterr().out
    ranks = re.findall(r"│ (\d+) +│ ([\d.]+) +│ ([\d.]+|inf) +│ (energies|layer_0\d) +│", printed)
    assert len(ranks) == 7
    suspicion = [float(rank[2]) for rank in ranks]
    assert suspicion == sorted(suspicion, reverse=True)
    areas = dict(re.findall(r"│ ([a-z -]+?) +│ 20 +│ ([\d.]+) ", printed))
    assert set(areas) == set(script.DEFECTS)
    assert float(areas["dead layer"]) > 0.9  # what two epochs of training see


def test_defects_are_what_they_are_called(slab: VoxelShowers) -> None:
    script = example("rank_suspicious_showers")
    spoiled, kind = script.plant(slab, 30, seed=1)
    before, after = slab.dense(), spoiled.dense()
    layers = slab.layer_energies(), spoiled.layer_energies()
    assert [(kind == name).sum() for name in ("", *script.DEFECTS)] == [280, 30, 30, 30, 30]
    untouched = (kind == "") | (kind == "wrong energy")
    assert np.array_equal(after[untouched], before[untouched])
    died = (layers[0] > 0) & (layers[1] == 0)
    assert np.array_equal(died.sum(1), kind == "dead layer")
    hotter = (after - before)[kind == "hot voxel"].reshape(30, -1)
    assert np.allclose(hotter.sum(1) / slab.energy_inc[kind == "hot voxel"], 0.05, rtol=1e-4)
    assert np.array_equal((hotter != 0).sum(1), np.ones(30))
    piled = kind == "pile-up"
    assert (after[piled] >= before[piled]).all()
    assert (spoiled.total_energy()[piled] > slab.total_energy()[piled]).all()
    ratio = spoiled.energy_inc / slab.energy_inc
    assert set(ratio[kind == "wrong energy"]) == {0.5, 2.0}
    assert (ratio[kind != "wrong energy"] == 1).all()


def test_stages_that_find_a_shower_suspicious_add_up() -> None:
    """In squares, and those that find it likelier than most say nothing."""
    script = example("rank_suspicious_showers")
    z = {"energies": np.array([3.0, -3, 0]), "layer_00": np.array([4.0, -1, np.inf])}
    assert script.suspicion(z) == pytest.approx([5, 0, np.inf])
