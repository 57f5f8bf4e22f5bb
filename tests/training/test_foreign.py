"""An untrusted run folder reads and writes nothing outside, and costs nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import caloforge as cf
from caloforge.showers import VoxelShowers
from caloforge.training import RunFolder, load
from caloforge.training.plainyaml import plain_yaml

Damage = Callable[[Path], object]

STAGE = Path("stages") / "layer_02"
FILES = (
    Path("config.yaml"),
    STAGE / "weights.safetensors",
    STAGE / "transforms.json",
    STAGE / "summary.json",
)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A trained run folder that a test may damage."""
    shutil.copytree(run, tmp_path / "copy")
    return tmp_path / "copy"


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _large(path: Path) -> None:
    """Larger than any file of a model, and without content on the disk."""
    with path.open("r+b") as file:
        file.truncate(1 << 35)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("damage", [_link, _fifo, _folder])
def test_what_is_no_plain_file_is_refused(file: Path, damage: Damage, copy: Path) -> None:
    damage(copy / file)
    with pytest.raises(
        ValueError, match=rf"{file.name} is (a link|no plain file): expected a file"
    ):
        load(copy)


@pytest.mark.parametrize("file", FILES[:3], ids=lambda path: path.name)
def test_a_file_of_any_size_is_refused_before_it_is_read(file: Path, copy: Path) -> None:
    _large(copy / file)
    with pytest.raises(ValueError, match=rf"{file.name} has 34,359,738,368 bytes"):
        load(copy)


@pytest.mark.parametrize("folder", [Path("stages"), STAGE])
def test_a_folder_behind_a_link_is_refused(folder: Path, copy: Path, tmp_path: Path) -> None:
    (copy / folder).rename(tmp_path / "elsewhere")
    (copy / folder).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=rf"{folder.name} is a link: expected a folder"):
        load(copy)


def test_a_run_folder_may_itself_be_reached_by_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(run)
    assert list(load(tmp_path / "latest").stages) == list(load(run).stages)


WRITTEN = (
    Path("config.yaml"),
    *(STAGE / name for name in ("log.csv", "weights.safetensors", "transforms.json")),
    *(STAGE / name for name in ("summary.json", "state.safetensors")),
    STAGE,
)


@pytest.mark.parametrize("place", WRITTEN, ids=lambda path: path.name)
def test_training_writes_nothing_outside(
    place: Path, copy: Path, slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    """Whether what a link names is there or not."""
    shutil.rmtree(copy / STAGE)
    outside = tmp_path / "outside"
    outside.mkdir()
    (copy / place).unlink(missing_ok=True)
    (copy / place).parent.mkdir(exist_ok=True)
    (copy / place).symlink_to(outside if place == STAGE else outside / "anything")
    system = cf.build("l2lflows/tiny", slab.geometry, seed=4, overrides=small)
    with pytest.raises(ValueError, match=f"{place.name} is a link"):
        cf.train(system, slab, run=copy, seed=4, resume=True, stages=["layer_02"])
    assert not list(outside.iterdir())


@pytest.mark.parametrize("name", ["../layer_02", "/tmp", "a/../../../b"])
def test_no_stage_lies_outside(name: str, copy: Path) -> None:
    with pytest.raises(ValueError, match="does not lie in"):
        _ = RunFolder(copy / "stages").stage("../" + name).is_trained


# ---------------------------------------------------------------- the configuration


def _yaml(**changes: Any) -> Damage:
    """Settings by dotted name, changed in config.yaml."""

    def damage(run: Path) -> None:
        config = yaml.safe_load((run / "config.yaml").read_text())
        for name, value in changes.items():
            *path, last = name.split("__")
            part = config
            for key in path:
                part = part[int(key) if key.isdigit() else key]
            part[last] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))

    return damage


def _text(text: str) -> Damage:
    return lambda run: (run / "config.yaml").write_text(text)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{n}: &{n} [*{m}, *{m}]\n" for m, n in zip("abc", "bcd", strict=True)
)
CONFIGURATIONS: dict[str, tuple[Damage, str]] = {
    "aliases": (_text(BOMB), "refers to parts of itself"),
    "depth": (_text("a: " + "[" * 10_000), "nest"),
    "code": (_text("a: !!python/object/apply:os.getcwd []\n"), "config.yaml is damaged"),
    "no text": (lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\x00"), "damaged"),
    "many blocks": (_yaml(config__layers__blocks=10**7), "more weights than the folder"),
    "wide": (_yaml(config__energies__hidden=10**7), "more weights|larger than those of any system"),
    "wider": (
        _yaml(config__layers__channels=[10**6, 10**6]),
        "more weights|larger than those of any system",
    ),
    "beyond all numbers": (_yaml(config__layers__blocks=10**9), "blocks is 1e.09, expected no"),
    "other weights": (_yaml(config__energies__hidden=13), "energies does not fit the stage"),
    "text for a seed": (_yaml(initial_seed="four"), "expected int for initial_seed"),
    "no seed": (_yaml(initial_seed=10**30), "expected int for initial_seed"),
    "data that are none": (_yaml(data=[1]), "expected dict for data"),
    "a name that is none": (_yaml(system=["l2lflows"]), "expected str for system"),
    "many layers": (_yaml(geometry__layers__0__repeat=10**9), "may have 1 to 10000 layers"),
    "many bins": (_yaml(geometry__layers__0__n_alpha=10**9), "voxels at most"),
    "more voxels than any": (_yaml(geometry__layers__0__n_alpha=10**7), "the geometry has"),
    "settings that are none": (_yaml(config__layers=3), "configuration of l2lflows does not fit"),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_is_refused_before_it_costs_memory(name: str, copy: Path) -> None:
    damage, message = CONFIGURATIONS[name]
    damage(copy)
    with pytest.raises(ValueError, match=message):
        load(copy)


def test_what_an_outline_says_of_shapes_is_true_and_costs_no_memory(run: Path) -> None:
    outline, system = RunFolder(run).outline(), load(run)
    assert outline.n_parameters == system.n_parameters
    assert outline.sequential_passes == system.sequential_passes
    for name, stage in system.stages.items():
        mine, theirs = outline.stages[name].state_dict(), stage.state_dict()
        assert {k: v.shape for k, v in mine.items()} == {k: v.shape for k, v in theirs.items()}
        assert all(value.is_meta for value in mine.values())


def test_a_configuration_that_repeats_itself_is_written_without_references(
    slab: VoxelShowers, small: dict[str, object], tmp_path: Path
) -> None:
    system = cf.build("l2lflows/tiny", slab.geometry, overrides=small)
    same = [1.0, 2.0]
    RunFolder(tmp_path / "run").create(system, data={"a": same, "b": same})
    text = (tmp_path / "run" / "config.yaml").read_bytes()
    assert plain_yaml(text) == yaml.safe_load(text)


# ---------------------------------------------------------------- weights, transforms, summaries


def _weights(change: Callable[[dict[str, torch.Tensor], str], object]) -> Damage:
    """One of the weights changed, given all of them and its name."""

    def damage(run: Path) -> None:
        path = run / STAGE / "weights.safetensors"
        tensors = load_file(path)
        change(tensors, max(tensors, key=lambda name: tensors[name].numel()))
        save_file(tensors, path)

    return damage


def _json(file: Path, change: Callable[[Any], Any]) -> Damage:
    """Values of a file replaced."""

    def damage(run: Path) -> None:
        path = run / file
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


def _transforms(change: Callable[[Any], Any]) -> Damage:
    return _json(STAGE / "transforms.json", change)


CONTENTS: dict[str, tuple[Damage, str]] = {
    "shape": (_weights(lambda all, one: all.update({one: all[one].flatten()})), "has shape"),
    "type": (_weights(lambda all, one: all.update({one: all[one].double()})), "type F64"),
    "nan": (_weights(lambda all, one: all[one].view(-1)[3:4].fill_(torch.nan)), "not finite"),
    "infinity": (_weights(lambda all, one: all[one].view(-1)[:1].fill_(torch.inf)), "not finite"),
    "one too few": (_weights(lambda all, one: all.pop(one)), "lacks flow"),
    "one too many": (_weights(lambda all, _: all.update(x=torch.ones(1))), "no place"),
    "transform that is infinite": (
        _transforms(lambda t: {**t, "voxels": {**t["voxels"], "0": {"maximum": 1e300}}}),
        "layer_02 does not fit the stage",
    ),
    "transform that is none": (
        _transforms(lambda t: {**t, "voxels": {**t["voxels"], "0": {"maximum": "1"}}}),
        "layer_02 does not fit the stage",
    ),
    "transform with more": (
        _transforms(lambda t: {**t, "voxels": {**t["voxels"], "9": {}}}),
        "layer_02 does not fit the stage",
    ),
    "transform without end": (
        lambda run: (run / STAGE / "transforms.json").write_text("[" * 100_000),
        "nested without end",
    ),
    "transform that is no number": (
        lambda run: (run / STAGE / "transforms.json").write_text('{"voxels": NaN}'),
        "expected finite numbers, got NaN",
    ),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_loaded_has_the_shape_of_the_configuration_and_is_finite(
    name: str, copy: Path
) -> None:
    damage, message = CONTENTS[name]
    damage(copy)
    with pytest.raises(ValueError, match=message):
        load(copy)


@pytest.mark.parametrize("text", ["[]", "{}", '{"epochs": "many"}', "1e999"])
def test_a_summary_holds_numbers(text: str, copy: Path) -> None:
    (copy / STAGE / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=r"summary.json is damaged"):
        RunFolder(copy).stage("layer_02").summary()


# ---------------------------------------------------------------- fitted stages

FITTED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "spectrum without means": ("calodream", "spectrum", {"means": []}),
    "spectrum of more bins": ("calodream", "spectrum", {"means": [[k, k] for k in range(9)]}),
    "spectrum of triples": ("calodream", "spectrum", {"means": [[1, 2, 3]]}),
    "spectrum that falls": ("calodream", "spectrum", {"means": [[3, 1], [2, 2]]}),
    "spectrum that is none": ("calodream", "spectrum", {"means": None}),
    "solvers without tables": ("calodream", "solvers", {"bns-2": {}}),
    "solvers of other steps": (
        "calodream",
        "solvers",
        {"bns-2": {"times": [0.0], "a": [1.0], "b": [[1.0]], "curve": []}},
    ),
    "solvers of ragged tables": (
        "calodream",
        "solvers",
        {"bns-2": {"times": [0.0, 0.5], "a": [1.0, [1.0]], "b": [[1.0], [1.0, 1.0]], "curve": []}},
    ),
    "shift in space": ("caloclouds", "clouds", {"shift": [0.0, 0.0, 0.0]}),
    "shift by one number": ("caloclouds", "clouds", {"shift": 1.0}),
    "shift without end": ("caloclouds", "clouds", {"shift": [1e300, 0.0]}),
    "other polynomials": (
        "caloclouds",
        "clouds",
        {"p_gen": {"coefficients": [1.0], "domain": [0.0, 1.0]}},
    ),
    "polynomials on a point": (
        "caloclouds",
        "clouds",
        {"p_gen": {"coefficients": [1.0] * 4, "domain": [1.0, 1.0]}},
    ),
    "polynomials in two dimensions": (
        "caloclouds",
        "clouds",
        {"p_data": {"coefficients": [[1.0]] * 4, "domain": [0.0, 1.0]}},
    ),
}

NETWORKS = ("energies", "shape", "shower", "points", "latent")  # that are conditioned


@pytest.mark.parametrize("older", [False, True], ids=["stage", "calibration"])
@pytest.mark.parametrize("name", FITTED)
def test_what_was_fitted_has_the_shape_of_the_configuration(
    name: str, older: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """In the file of the stage, as in that of earlier versions."""
    system_name, fitted, values = FITTED[name]
    run = tmp_path / "run"
    shutil.copytree(request.getfixturevalue(f"{system_name}_run"), run)
    path = run / "stages" / fitted / "transforms.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    if older:
        path = as_calibration(run, fitted)
    with pytest.raises(ValueError, match=rf"{path.stem if older else fitted}.* does not fit"):
        load(run)


def as_calibration(run: Path, name: str) -> Path:
    """Keep a fitted stage where earlier versions did."""
    path = run / "calibration" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    (run / "stages" / name / "transforms.json").rename(path)
    shutil.rmtree(run / "stages" / name)
    return path


def as_guest(run: Path, name: str, host: str) -> None:
    """Keep the tensors of a stage among those of another, as earlier versions did."""
    guest, path = run / "stages" / name, run / "stages" / host / "weights.safetensors"
    tensors = load_file(guest / "weights.safetensors")
    named = {f"{name}.{key}": values for key, values in tensors.items()}
    save_file(load_file(path) | named, path)
    shutil.rmtree(guest)


def as_shared(run: Path) -> None:
    """Keep the conditions beside the transforms of every network, as earlier versions did."""
    folder = run / "stages" / "conditions"
    shared = json.loads((folder / "transforms.json").read_text())
    shutil.rmtree(folder)
    for name in NETWORKS:
        path = run / "stages" / name / "transforms.json"
        if path.exists():
            path.write_text(json.dumps({**shared, **json.loads(path.read_text())}))


@pytest.mark.parametrize("name", ["calodream", "caloclouds"])
def test_a_run_of_an_earlier_version_is_the_same_system(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(f"{name}_run")
    shutil.copytree(run, tmp_path / "run")
    for fitted in {stage for system, stage, _ in FITTED.values() if system == name}:
        as_calibration(tmp_path / "run", fitted)
    if name == "caloclouds":
        as_guest(tmp_path / "run", "members", "points")
    as_shared(tmp_path / "run")
    energies = np.array([2e4, 5e4], np.float32)
    now, then = (load(folder).generate(energies, seed=1) for folder in (run, tmp_path / "run"))
    assert np.array_equal(now.energy, then.energy)


def test_an_earlier_run_without_conditions_lacks_them(calodream_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(calodream_run, run)
    as_shared(run)
    for name in NETWORKS:
        path = run / "stages" / name / "transforms.json"
        if path.exists():
            path.write_text("{}")
    with pytest.raises(ValueError, match=r"not trained to its end, 1 of \d stages .*conditions"):
        load(run)
