"""A check passes where a model is sound, and fails where its showers are not what they were."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

import caloforge as cf
from caloforge import checking
from caloforge.cascade import System
from caloforge.checking import Reference, check, make_reference
from caloforge.showers import PointShowers, VoxelShowers
from caloforge.training import pack


@pytest.fixture(scope="module")
def geant4(bundled: VoxelShowers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled showers that nothing is trained on here."""
    path = tmp_path_factory.mktemp("data") / "geant4.h5"
    cf.write(path, bundled[2000:], attributes={"particle": "e-"})
    return path


@pytest.fixture(scope="module")
def model(quilt_run: Path, geant4: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the reference of its check; copy it to change it."""
    folder = pack(quilt_run, tmp_path_factory.mktemp("models") / "electrons")
    make_reference(folder, geant4)
    return folder


def test_a_sound_model_passes(model: Path) -> None:
    found = check(model)
    assert found.failed == {}
    assert found.n_showers == 200
    assert "mean response" in found.figures
    assert "spread of share of layer 44" in found.figures


def test_the_reference_is_read_as_it_was_written(model: Path) -> None:
    values = json.loads((model / "check.json").read_text())
    reference = Reference.from_dict(values)
    assert reference.to_dict() == values
    assert len(reference.particles) == 200


def test_the_error_is_the_scatter_of_so_many_geant4_showers(bundled: VoxelShowers) -> None:
    """Of fifteen samples with one shower of each group, the others say what is expected."""
    groups = np.array_split(np.argsort(bundled.energy_inc, kind="stable"), 200)
    expected = checking._expected(checking._observables(bundled), groups)
    picks = [bundled.take(np.array([group[i] for group in groups])) for i in range(15)]
    found = [checking._figures(sample) for sample in picks]
    pulls = {
        name: np.array([(each[name] - value) / error for each in found])
        for name, (value, error) in expected.items()
        if "layer" not in name
    }
    for name, pull in pulls.items():
        # of 15 standard normal numbers: four standard deviations of their mean and of their width
        assert abs(pull.mean()) < 4 / 15**0.5, name
        assert abs(pull.std() - 1) < 4 / 30**0.5, name


Damage = Callable[[NDArray[Any]], NDArray[Any]]
DAMAGE: dict[str, tuple[str, str, Damage]] = {
    "energies in another unit": ("scores", "response.knots", lambda knots: knots + np.log(1e3)),
    "response 5 % high": ("scores", "response.knots", lambda knots: knots + np.log(1.05)),
    "voxels counted from the other end": ("patterns", "voxel", lambda voxel: 143 - voxel),
    "layers in another order": ("scores", "layers.knots", lambda knots: knots[:, ::-1]),
    "layers of other showers": ("patterns", "voxel", lambda voxel: voxel[::-1]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_spoiled_model_fails(name: str, model: Path, tmp_path: Path) -> None:
    stage, tensor, damage = DAMAGE[name]
    _spoil(model, tmp_path / "model", stage, tensor, damage)
    assert check(tmp_path / "model").failed


@pytest.mark.parametrize(
    ("stage", "tensor"),
    [("scores", "layers.knots"), ("patterns", "layer_energies"), ("patterns", "energy_inc")],
)
def test_another_byte_order_is_refused(
    stage: str, tensor: str, model: Path, tmp_path: Path
) -> None:
    _spoil(model, tmp_path / "model", stage, tensor, lambda values: values.byteswap())
    with pytest.raises(ValueError, match=f"{stage} does not fit the stage"):
        check(tmp_path / "model")


def _spoil(model: Path, copy: Path, stage: str, tensor: str, damage: Damage) -> None:
    shutil.copytree(model, copy)
    weights = copy / "stages" / stage / "weights.safetensors"
    tensors = load_file(weights)
    damaged = np.ascontiguousarray(damage(tensors[tensor].numpy()))
    save_file({**tensors, tensor: torch.from_numpy(damaged)}, weights)


def test_a_model_that_draws_nothing_fails(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(system: System, particles: cf.Particles, **_: object) -> VoxelShowers:
        dense = np.zeros((len(particles), *system.geometry.shape), np.float32)
        return VoxelShowers.from_dense(particles.energy, dense, system.geometry)

    monkeypatch.setattr(checking, "generate", nothing)
    assert "mean response" in check(model).failed


def test_clouds_are_looked_at_in_the_cells_of_their_geometry(
    bundled_points: PointShowers, shared_data: Path, tmp_path: Path
) -> None:
    system = cf.build("library/points", bundled_points.geometry, seed=4)
    cf.train(system, bundled_points, run=tmp_path / "run", seed=4)
    make_reference(tmp_path / "run", shared_data / "photons-10-100GeV_ild-ecal_points_test.h5")
    assert check(tmp_path / "run").failed == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("figures"), "make it again"),
        (lambda values: values.update(format_version=2), "expected format 1"),
        (lambda values: values["figures"].popitem(), "of another detector"),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], object], message: str, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "model")
    values = json.loads((model / "check.json").read_text())
    change(values)
    (tmp_path / "model" / "check.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=message):
        check(tmp_path / "model")


def test_a_run_without_a_reference_is_told_how_to_make_one(quilt_run: Path) -> None:
    with pytest.raises(ValueError, match=r"caloforge check --make GEANT4\.h5"):
        check(quilt_run)


@pytest.mark.parametrize(
    ("showers", "message"),
    [
        (lambda whole: whole[:399], "needs 400 Geant4 showers or more"),
        (
            lambda whole: whole.coarsen(cf.geometry.Coarsening(whole.geometry, (5, 2, 1))),
            "showers in",
        ),
        (
            lambda whole: dataclasses.replace(whole, pdg=np.full(len(whole), 22, np.int32)),
            "asked of photons",
        ),
    ],
)
def test_showers_that_do_not_suit_the_model_are_refused(
    showers: Callable[[VoxelShowers], VoxelShowers],
    message: str,
    model: Path,
    bundled: VoxelShowers,
    tmp_path: Path,
) -> None:
    cf.write(tmp_path / "other.h5", showers(bundled))
    with pytest.raises(ValueError, match=message):
        make_reference(model, tmp_path / "other.h5")
