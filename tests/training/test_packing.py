"""A packed run is a model: it samples the same showers, and holds nothing that they do not need."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import caloforge as cf
from caloforge.training import RunFolder, pack

ENERGIES = np.geomspace(2e3, 9e4, 20).astype(np.float32)


@pytest.fixture(scope="module")
def packed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(run, tmp_path_factory.mktemp("models") / "whole")


def test_a_model_draws_the_same_showers(packed: Path, run: Path) -> None:
    sampled = [cf.load(folder).generate(ENERGIES, seed=1).dense() for folder in (packed, run)]
    np.testing.assert_array_equal(*sampled)
    assert RunFolder(packed).effort() == RunFolder(run).effort()
    assert RunFolder(packed).trained_range() == RunFolder(run).trained_range()


def test_a_model_holds_what_generation_needs(packed: Path, run: Path) -> None:
    files = {str(path.relative_to(packed)) for path in packed.rglob("*") if path.is_file()}
    each = ("weights.safetensors", "transforms.json", "summary.json")
    stages = cf.load(run).stages
    assert files == {
        "config.yaml",
        *(f"stages/{stage}/{name}" for stage in stages for name in each),
    }


def test_a_model_says_of_its_training_files_the_names_alone(
    quilt_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(quilt_run, tmp_path / "run")
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "showers: in memory" in config
    (tmp_path / "run" / "config.yaml").write_text(
        config.replace("showers: in memory", "showers: /home/me/a.h5, ../b.h5")
    )
    model = RunFolder(pack(tmp_path / "run", tmp_path / "model"))
    assert model.config()["data"]["showers"] == "a.h5, b.h5"


def test_half_precision_halves_what_was_learned_and_nothing_else(
    packed: Path, run: Path, tmp_path: Path
) -> None:
    half = pack(run, tmp_path / "half", half=True)
    learned = {
        f"{stage}/{name}"
        for stage, module in cf.load(run).stages.items()
        for name, _ in module.named_parameters()
    }
    for place in sorted((packed / "stages").glob("*/weights.safetensors")):
        whole, rounded = load_file(place), load_file(half / place.relative_to(packed))
        for name, values in whole.items():
            is_learned = f"{place.parent.name}/{name}" in learned
            assert rounded[name].dtype == (values.half().dtype if is_learned else values.dtype)
            error = (rounded[name].to(values.dtype) - values).abs()
            assert (error <= 2.0**-11 * values.abs() + 2.0**-25).all()  # 11 bits, down to 2^-24
    sampled, rounded_off = (cf.load(m).generate(ENERGIES, seed=1).dense() for m in (packed, half))
    assert not np.array_equal(sampled, rounded_off)
    np.testing.assert_allclose(sampled.sum(), rounded_off.sum(), rtol=0.02)


def test_nothing_is_overwritten_and_nothing_half_written_stays(
    packed: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="exists already and is not empty"):
        pack(run, packed)

    def fail(self: object, summary: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caloforge.training.stagefolder.StageFolder.finish", fail)
    with pytest.raises(KeyboardInterrupt):
        pack(run, tmp_path / "models" / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_not_trained_to_its_end_is_no_model(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "stages" / "energies" / "summary.json").unlink()
    with pytest.raises(ValueError, match="resume the training"):
        pack(tmp_path / "run", tmp_path / "model")
