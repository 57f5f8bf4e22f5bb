"""What every system promises: a new one is tested by being registered."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

import caloforge as cf
from caloforge.cascade import (
    Conditions,
    Learned,
    ShowerQuantities,
    System,
    build,
    presets,
    system_names,
)
from caloforge.cascade.draw import Draw
from caloforge.cascade.registry import build_from_config, config_to_dict
from caloforge.cascade.seeds import Branch, Seeds, batch_rng
from caloforge.geometry import geometry_preset
from caloforge.preprocessing import Transform
from caloforge.showers import PointShowers, Showers, VoxelShowers

TINY = [name for name in presets() if name.endswith("/tiny")]
QUICK = {"library", "parametric", "quilt"}  # train in seconds as they are
EACH = pytest.mark.parametrize("preset", TINY)
EVERY_GEOMETRY = pytest.mark.parametrize(
    "geometry", ["calochallenge-2", "calochallenge-3", "ild-30"]
)


def weights(system: System) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value
        for name, stage in system.stages.items()
        for key, value in stage.state_dict().items()
    }


def empty(system: System) -> Showers:
    """No showers, of the kind that a system learns from."""
    if system.kind is PointShowers:
        return PointShowers([], [0], [], [], [], [], system.geometry)
    return VoxelShowers.from_dense([], np.zeros((0, system.geometry.n_voxels)), system.geometry)


def test_every_system_that_trains_for_long_has_a_tiny_preset() -> None:
    assert {name.partition("/")[0] for name in TINY} == set(system_names()) - QUICK


@EACH
@EVERY_GEOMETRY
def test_the_cascade_is_closed(preset: str, geometry: str) -> None:
    """A stage reads the incident energy and what earlier stages wrote, and writes nothing twice.

    But what it reads: that it may correct.
    """
    system = build(preset, geometry)
    known = {"energy_inc"}
    for name, stage in system.stages.items():
        assert set(stage.reads) <= known, name
        assert not set(stage.writes) & (known - set(stage.reads)), name
        # a distilled copy samples nothing itself, nor do conditions
        assert stage.writes or stage.needs or isinstance(stage, Conditions)
        known |= set(stage.writes)
    # what it learns can be asked of a sample of showers, which is what training does
    for stage in system.stages.values():
        learns = stage.learns or (*stage.reads, *stage.writes)
        assert set(stage.learns or known) <= known
        ShowerQuantities(empty(system), learns)


@EACH
@EVERY_GEOMETRY
def test_the_stages_can_be_trained_one_behind_the_other(preset: str, geometry: str) -> None:
    """No stage needs itself, another that is not there, or one that waits for it."""
    system = build(preset, geometry)
    waiting = dict(system.stages)
    while waiting:
        ready = [name for name, stage in waiting.items() if not set(stage.needs) & set(waiting)]
        assert ready, f"{', '.join(waiting)} need each other in a circle"
        for name in ready:
            assert set(waiting.pop(name).needs) <= set(system.stages)


@EACH
def test_upstream_holds_the_stages_that_are_needed(preset: str) -> None:
    system = build(preset, "ild-30")
    for name, stage in system.stages.items():
        upstream = system.upstream(name)
        assert tuple(upstream) == tuple(stage.needs)
        assert all(needed is system.stages[other] for other, needed in upstream.items())


@EACH
def test_parameters_are_counted(preset: str) -> None:
    system = build(preset, "calochallenge-2")
    assert list(system.n_parameters) == list(system.stages)
    for name, stage in system.stages.items():
        assert system.n_parameters[name] == sum(p.numel() for p in stage.parameters())
        assert (system.n_parameters[name] > 0) == isinstance(stage, Learned)


@pytest.mark.parametrize("preset", [name for name in TINY if name != "caloclouds/tiny"])
@pytest.mark.parametrize("geometry", ["calochallenge-1-photons", "calochallenge-1-pions"])
def test_an_irregular_geometry_is_refused(preset: str, geometry: str) -> None:
    with pytest.raises(ValueError, match=f"regular geometry, {geometry} has layers of different"):
        build(preset, geometry)


@EACH
def test_a_seed_gives_the_same_weights_and_leaves_the_global_state(preset: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = weights(build(preset, "ild-30", seed=7))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again = weights(build(preset, "ild-30", seed=7))
    other = weights(build(preset, "ild-30", seed=8))
    assert first.keys() == again.keys() == other.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@EACH
def test_a_stored_configuration_builds_the_same_system(preset: str) -> None:
    system = build(preset, "calochallenge-2", seed=2)
    name = preset.partition("/")[0]
    again = build_from_config(name, config_to_dict(system.config), system.geometry, seed=2)
    assert again.config == system.config
    assert again.seed == system.seed == 2
    mine, theirs = weights(system), weights(again)
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


@EACH
def test_a_stage_keeps_its_transforms_through_json(
    preset: str, bundled: VoxelShowers, bundled_points: PointShowers
) -> None:
    voxels = build(preset, bundled.geometry).kind is VoxelShowers
    showers: Showers = bundled[:40] if voxels else bundled_points[:40]
    system, other = build(preset, showers.geometry), build(preset, showers.geometry)
    kinds = Conditions | Learned
    first = [name for name, stage in system.stages.items() if isinstance(stage, kinds)][:4]
    for name in sorted(first, key=lambda name: len(system.stages[name].needs)):
        stage = system.stages[name]
        if any(isinstance(module, Transform) for module in stage.children()):
            with pytest.raises(RuntimeError, match="not fitted"):
                stage.state()
        learns = stage.learns or (*stage.reads, *stage.writes)
        sample = ShowerQuantities(system.training_sample(showers), learns)
        stage.fit(sample, system.upstream(name), torch.Generator().manual_seed(0))
        other.stages[name].load_state(stage.state())
        assert other.stages[name].state() == stage.state()
    with pytest.raises(ValueError, match=r"expected the transforms .*, got nonsense"):
        stage.load_state({"nonsense": {}})


# ---------------------------------------------------------------- wrong input


def test_an_unknown_system_or_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'l3lflows' .did you mean 'l2lflows'.*; there are calo"):
        build("l3lflows/tiny", "ild-30")
    with pytest.raises(ValueError, match="no preset 'l2lflows/huge'; there are"):
        build("l2lflows/huge", "ild-30")


def test_a_system_without_a_size_is_its_first_preset() -> None:
    first = build("l2lflows/small", "ild-30")
    assert build("l2lflows", "ild-30").config == first.config


def test_overrides_reach_the_configuration() -> None:
    overrides = {
        "layers.recipe.epochs": 3,
        "layers.recipe.learning_rate": "1e-4",
        "rescale": "none",
    }
    config = build("l2lflows/tiny", "ild-30", overrides=overrides).config
    assert config.layers.recipe.epochs == 3
    assert config.layers.recipe.learning_rate == 1e-4  # YAML reads 1e-4 as text
    assert config.rescale == "none"
    default = build("l2lflows/tiny", "ild-30").config
    assert config.energies == default.energies


def test_all_wrong_overrides_are_named_at_once() -> None:
    overrides = {
        "layers.recipe.epoch": 3,
        "layer.blocks": 2,
        "rescale.on": True,
        "energies.blocks": "many",
        "layers.recipe.schedule": "zigzag",
        "energies.recipe.ema": 1.5,
    }
    with pytest.raises(ValueError, match="does not fit") as raised:
        build("l2lflows/tiny", "ild-30", overrides=overrides)
    text = str(raised.value)
    for expected in (
        r"'layers.recipe.epoch': expected one of epochs, batch_size",
        r"'layer.blocks': the configuration has energies, layers, rescale, spectrum",
        r"'rescale.on'",
        r"energies.blocks: .* integer.*'many'",
        r"layers.recipe.schedule: .*one-cycle.*'zigzag'",
        r"energies.recipe.*between 0 and 1, or None, got 1.5",
    ):
        assert re.search(expected, text), (expected, text)
    assert len(text.splitlines()) == 1 + len(overrides)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("validation", 0),
        ("validation", 1),
        ("schedule", "exponential"),  # needs a final learning rate
        ("ema", 1),
        ("patience", 0),
        ("gradient_clip", 0),
        ("precision", "64"),
    ],
)
def test_impossible_recipes_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"layers\.recipe"):
        build("l2lflows/tiny", "ild-30", overrides={f"layers.recipe.{setting}": value})


def test_a_foreign_configuration_names_its_keys() -> None:
    values = config_to_dict(build("l2lflows/tiny", "ild-30").config)
    del values["energies"]
    values["turbo"] = True
    with pytest.raises(ValueError, match=r"energies: .*required[\s\S]*turbo: "):
        build_from_config("l2lflows", values, geometry_preset("ild-30"))


@pytest.mark.parametrize(
    "energies", [[[1e4]], [0.0], [1e4, -1.0], [float("nan")], [float("inf")], 1e4]
)
def test_impossible_incident_energies_are_refused(energies: object) -> None:
    system = build("l2lflows/tiny", "ild-30")
    with pytest.raises(ValueError, match="energy_inc must be"):
        system.generate(energies, seed=0)


def test_batch_generators_are_independent() -> None:
    sampled = {
        (seed, number): torch.rand(1, generator=batch_rng(seed, number)).item()
        for seed in range(4)
        for number in range(25)
    }
    assert len(set(sampled.values())) == 100
    assert sampled[3, 7] == torch.rand(1, generator=batch_rng(3, 7)).item()


def test_the_package_builds_by_name() -> None:
    assert cf.build("l2lflows/tiny", "ild-30").name == "l2lflows"


# ---------------------------------------------------------------- streams of random numbers


def test_no_two_purposes_share_a_stream() -> None:
    seeds = [
        batch_rng(seed, number, branch=branch).initial_seed()
        for seed in range(3)
        for number in range(20)
        for branch in Branch
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.filterwarnings("ignore::caloforge.cascade.ExtrapolationWarning")
@pytest.mark.parametrize(
    ("name", "showers"), [("calodream_run", "bundled"), ("caloclouds_run", "bundled_points")]
)
def test_what_is_fitted_on_drawn_showers_sees_none_that_are_generated(
    name: str, showers: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same seed; appendix C of Convolutional L2LFlows wants other samples."""
    system, sample = cf.load(request.getfixturevalue(name)), request.getfixturevalue(showers)
    used: set[int] = set()
    draw = System.quantities

    def watched(self: System, *args: Any, seeds: Seeds, **options: Any) -> Any:
        used.update(seeds.keys.tolist())
        return draw(self, *args, seeds=seeds, **options)

    monkeypatch.setattr(System, "quantities", watched)
    streams: dict[str, set[int]] = {}
    showers = sample[:40]
    seen = system.training_sample(showers)
    for fitted in ("solvers", "spectrum", "clouds"):
        if (stage := system.stages.get(fitted)) is not None:
            used.clear()
            learned = ShowerQuantities(seen, stage.learns)
            stage.fit(learned, system.upstream(fitted), torch.Generator(), Draw(system, showers, 0))
            streams[fitted] = set(used)
            assert used
    used.clear()
    system.generate(sample.energy_inc[:40], seed=0)
    streams["generated"] = set(used)
    assert len(set().union(*streams.values())) == sum(map(len, streams.values()))
