"""Layer energies come from a system's own stages or from those of scores, and the rest stays."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import caloforge as cf
from caloforge.cascade import ShowerQuantities, build
from caloforge.cascade.registry import build_from_config, config_to_dict
from caloforge.cascade.seeds import Seeds
from caloforge.showers import VoxelShowers
from caloforge.stages.layerenergies import SCORES
from caloforge.stages.scores import Copula, CopulaStage, ScoreFlow

EACH = pytest.mark.parametrize("preset", ["l2lflows/tiny", "supercalo/tiny", "calodream/tiny"])


@EACH
@pytest.mark.parametrize("name", SCORES)
def test_a_name_stands_for_settings_and_changes_no_other_stage(
    preset: str, name: str, slab: VoxelShowers
) -> None:
    own, other = (
        build(preset, slab.geometry, overrides=changed) for changed in ({}, {"energies": name})
    )
    assert other.config == replace(own.config, energies=SCORES[name])
    stored = config_to_dict(other.config)
    again = build_from_config(other.name, stored, other.geometry)
    assert again.config == other.config
    assert list(other.stages) == [
        each for stage in own.stages for each in (["scores"] * (stage == "energies") + [stage])
    ]
    kept = own.stages.keys() - {"energies"}
    assert {n: own.n_parameters[n] for n in kept} == {n: other.n_parameters[n] for n in kept}


@EACH
def test_settings_of_a_choice_come_after_it_in_any_order(preset: str, slab: VoxelShowers) -> None:
    settings: dict[str, Any] = {
        "energies.recipe.epochs": 3,
        "energies.copula": {"nodes": 9},
        "energies": "quantile-flow",
        "energies.copula.sweeps": 1,
    }
    config = build(preset, slab.geometry, overrides=settings).config.energies
    assert isinstance(config, ScoreFlow)
    recipe = replace(config.recipe, epochs=3)
    assert config == ScoreFlow(recipe, copula=Copula(nodes=9, sweeps=1))


def test_what_is_no_choice_is_refused_with_those_that_there_are(slab: VoxelShowers) -> None:
    wrong = {
        "energies": (
            "quantil-flow",
            r"quantile-flow or resampled \(did you mean 'quantile-flow'\?\)",
        ),
        "energies.kind": ("mask", "kind must be masked or coupling or copula or flow"),
        "layers": ("masked", "expected settings by name, got 'masked'"),
    }
    for name, (value, message) in wrong.items():
        with pytest.raises(ValueError, match=message):
            build("l2lflows/tiny", slab.geometry, overrides={name: value})
    settings = {"energies": "copula", "energies.recipe.epochs": 3}
    with pytest.raises(ValueError, match=r"no setting 'energies.recipe.epochs': energies has kind"):
        build("l2lflows/tiny", slab.geometry, overrides=settings)


def test_a_stage_serves_in_the_run_of_another_system_of_energies(
    run: Path, l2lflows_scores_run: Path, tmp_path: Path, slab: VoxelShowers
) -> None:
    """Its folder is all that is copied; with equal layer energies it makes the same voxels."""
    folder = shutil.copytree(l2lflows_scores_run, tmp_path / "run")
    for layer in (run / "stages").glob("layer_*"):
        shutil.rmtree(folder / "stages" / layer.name)
        shutil.copytree(layer, folder / "stages" / layer.name)
    given = ShowerQuantities(slab[:8], ("layer_energies",)).all()
    theirs, mixed, own = (
        cf.load(path).draw(slab[:8].particles, seeds=Seeds.of(1, range(8)), given=given)
        for path in (run, folder, l2lflows_scores_run)
    )
    assert np.array_equal(theirs.energy, mixed.energy)
    assert not np.array_equal(own.energy, mixed.energy)


def test_a_layer_below_the_threshold_is_empty_as_it_is_read_out(
    bundled: VoxelShowers, generator: torch.Generator
) -> None:
    k, threshold = 200, 20.0
    stage = CopulaStage(Copula(neighbours=k), replace(bundled.geometry, threshold=threshold))
    stage.fit(ShowerQuantities(bundled, stage.learns), {}, generator)
    lowest = np.argsort(bundled.energy_inc)[:k]
    energies = bundled.layer_energies()[lowest]
    assert ((energies > 0) & (energies < threshold)).any()
    expected = torch.from_numpy((energies < threshold).mean(0))
    torch.testing.assert_close(stage.layers.none[0].double(), expected)


def test_stages_of_scores_have_no_density(slab: VoxelShowers) -> None:
    system = build("l2lflows/tiny", slab.geometry, overrides={"energies": "copula"})
    with pytest.raises(ValueError, match="l2lflows has no density: scores, energies give none"):
        system.log_prob(slab[:2])
