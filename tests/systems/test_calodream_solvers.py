"""Solvers of CaloDREAM: chosen by name, and bespoke ones that are fitted to its velocity."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from caloforge.cascade import Recipe, SamplingOptions, ShowerQuantities
from caloforge.cascade.draw import Draw
from caloforge.cascade.seeds import Seeds
from caloforge.matching import BespokeTraining, make_solver
from caloforge.showers import VoxelShowers
from caloforge.stages.bespoke import BespokeSolvers, followed
from caloforge.stages.config import BespokeFit, EnergyNetwork, ShapeNetwork
from caloforge.stages.shape import ShapeStage
from caloforge.systems.calodream import CaloDREAM
from caloforge.systems.calodream.config import CaloDREAMConfig

QUICK = BespokeTraining(learning_rate=5e-3, iterations=60)
FITS = tuple(
    BespokeFit(4, truncation, 40, batch_size=20, reference_steps=20, training=QUICK)
    for truncation in ("local", "global")
)
NAMES = ["bns-4", "bns-global-4"]


def fit(system: CaloDREAM, draw: Draw) -> None:
    """Fit the bespoke solvers."""
    solvers, upstream = system.stages["solvers"], system.upstream("solvers")
    sample = ShowerQuantities(draw.showers, solvers.learns)
    system.prepare(draw.device)
    solvers.fit(sample, upstream, torch.Generator(), draw)
    solvers.is_fitted = True


def made(showers: VoxelShowers) -> CaloDREAM:
    """A system with fitted transforms, and a velocity that bends as no training has made it."""
    recipe = Recipe(epochs=1, batch_size=50, learning_rate=1e-3)
    config = CaloDREAMConfig(
        EnergyNetwork(
            recipe, dim=8, heads=2, layers=1, feed_forward=16, hidden=16, hidden_layers=2,
            solver="euler-2",
        ),
        ShapeNetwork(
            recipe, patch=(2, 8, 3), dim=12, heads=2, hidden=24, blocks=1, solver="rk4-2"
        ),
        solvers=FITS,
    )  # fmt: skip
    torch.manual_seed(3)
    system = CaloDREAM(config, showers.geometry)
    for name in ("conditions", "energies", "shape"):
        stage = system.stages[name]
        quantities = ShowerQuantities(showers, stage.learns or (*stage.reads, *stage.writes))
        stage.fit(quantities, system.upstream(name), torch.Generator().manual_seed(0))
    for weights in ShapeStage.of(system.stages, "shape").parameters():
        torch.nn.init.normal_(weights, std=0.3)
    return system


@pytest.fixture(scope="module")
def progress() -> list[tuple[int, int]]:
    """What the fit of `system` told."""
    return []


@pytest.fixture(scope="module")
def system(slab: VoxelShowers, progress: list[tuple[int, int]]) -> CaloDREAM:
    """With two bespoke solvers."""
    system = made(slab)
    draw = Draw(system, slab, 5, progress=lambda *told: progress.append(told))
    fit(system, draw)
    return system


@pytest.fixture(scope="module")
def untouched() -> tuple[Tensor, Tensor]:
    """Noise that no solver was trained with, and incident energies [MeV]."""
    rng = torch.Generator().manual_seed(11)
    noise = torch.randn(30, 1, 4, 16, 9, generator=rng)
    return noise, 1e4 * (1 + torch.rand(30, generator=rng))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_bespoke_solver_leads_closer_to_the_end_than_euler(
    name: str, system: CaloDREAM, untouched: tuple[Tensor, Tensor]
) -> None:
    shape, (noise, energy_inc) = ShapeStage.of(system.stages, "shape"), untouched
    seeds = Seeds.of(12, range(len(energy_inc)))
    sampled = system.quantities(energy_inc, seeds=seeds, before="shape")
    context = shape.context(sampled, system.upstream("shape"))
    end = make_solver("rk4-40")(shape.velocity, noise, context)
    errors = [
        (make_solver(solver, shape.trained_solvers)(shape.velocity, noise, context) - end)
        .square()
        .mean()
        .item()
        for solver in (name, "euler-4")
    ]
    assert errors[0] < 0.7 * errors[1]


def test_references_are_followed_once_for_solvers_that_share_them(
    system: CaloDREAM, progress: list[tuple[int, int]]
) -> None:
    assert list(ShapeStage.of(system.stages, "shape").trained_solvers) == NAMES
    # two batches, then at most 60 iterations of a batch each for the global error alone
    assert progress[:3] == [(done, 1240) for done in (20, 40, 60)]
    assert progress[-1] == (1240, 1240)


def test_references_begin_as_showers_are_sampled(system: CaloDREAM, slab: VoxelShowers) -> None:
    shape, few = ShapeStage.of(system.stages, "shape"), slab.particles[:3]
    upstream = system.upstream("solvers")
    references = followed(upstream, Draw(system, slab, 1), few, FITS[0])
    assert [len(reference.noise) for reference in references] == [20, 20]
    context = references[0].context
    assert context is not None
    # three energies again and again, each with other layer energies
    incident = context[:, 0]
    assert torch.equal(incident[3:], incident[:-3])
    assert len(context[:, 1].unique()) == 20
    again = followed(upstream, Draw(system, slab, 1), few, FITS[0])
    assert torch.equal(again[1].data, references[1].data)
    with torch.no_grad():
        end = make_solver("midpoint-20")(shape.velocity, references[0].noise, context)
    assert torch.equal(end, references[0].data)


def test_solvers_are_the_same_behind_json(system: CaloDREAM, slab: VoxelShowers) -> None:
    state = json.loads(json.dumps(system.stages["solvers"].state()))
    loaded = made(slab)
    loaded.stages["solvers"].load_state(state)
    energies = slab.energy_inc[:10]
    for name in NAMES:
        options = SamplingOptions(solver=name)
        before = system.generate(energies, seed=2, options=options)
        after = loaded.generate(energies, seed=2, options=options)
        assert np.array_equal(before.dense(), after.dense())


def test_the_training_curve_begins_at_euler_and_falls(system: CaloDREAM) -> None:
    state = system.stages["solvers"].state()
    for name in NAMES:
        curve = state[name]["curve"]
        assert curve[0][0] == 0
        assert len(curve) <= 50
        assert min(point[2] for point in curve) < 0.9 * curve[0][2]


def test_the_chosen_solver_draws_the_shape(
    system: CaloDREAM, slab: VoxelShowers, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, calls = ShapeStage.of(system.stages, "shape"), 0
    velocity = shape.velocity

    def counted(*arguments: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return velocity(*arguments)

    monkeypatch.setattr(shape, "velocity", counted)
    for name, evaluations in {None: 8, "bns-4": 4, "midpoint-3": 6}.items():
        calls = 0
        options = SamplingOptions(solver=name)
        system.generate(slab.energy_inc[:3], seed=1, options=options)
        assert calls == evaluations == system.passes(options)["shape"]


def test_solvers_of_voxels_and_layer_energies_are_chosen_independently(
    system: CaloDREAM, slab: VoxelShowers
) -> None:
    def layer_energies(options: SamplingOptions) -> Tensor:
        seeds = Seeds.of(1, range(5))
        with torch.no_grad():
            sampled = system.quantities(slab.energy_inc[:5], seeds=seeds, options=options)
        return sampled["layer_energies"]

    usual = layer_energies(SamplingOptions())
    assert torch.equal(layer_energies(SamplingOptions(solver="euler-1")), usual)
    assert torch.equal(layer_energies(SamplingOptions(energy_solver="euler-2")), usual)
    assert not torch.allclose(layer_energies(SamplingOptions(energy_solver="rk4-4")), usual)


@pytest.mark.parametrize(
    ("options", "there_is"),
    [
        (SamplingOptions(solver="bns-5"), "bns-4, bns-global-4"),
        (SamplingOptions(energy_solver="bns-4"), "there is none"),
        (SamplingOptions(solver="heun-2"), "euler-N, midpoint-N, rk4-N"),
    ],
)
def test_an_unknown_solver_is_refused_before_anything_is_sampled(
    options: SamplingOptions,
    there_is: str,
    system: CaloDREAM,
    slab: VoxelShowers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(system.stages["energies"], "sample", lambda *_: pytest.fail("sampled"))
    with pytest.raises(ValueError, match=f"there is no solver .*{there_is}"):
        system.generate(slab.energy_inc[:3], seed=1, options=options)


def test_a_state_of_other_solvers_is_refused(system: CaloDREAM) -> None:
    state = system.stages["solvers"].state()
    with pytest.raises(ValueError, match="expected the solvers bns-4, got bns-4, bns-global-4"):
        BespokeSolvers(FITS[:1]).load_state(state)
    with pytest.raises(ValueError, match="bns-8 has 4 steps"):
        BespokeSolvers([BespokeFit(8)]).load_state({"bns-8": state["bns-4"]})


@pytest.mark.parametrize(
    ("fits", "message"),
    [
        ([BespokeFit(4), BespokeFit(4)], "its own steps or truncation, got bns-4, bns-4"),
        ([BespokeFit(4, showers=50)], "got 50 showers in batches of 100"),
    ],
)
def test_solvers_that_cannot_be_told_apart_or_validated_are_refused(
    fits: list[BespokeFit], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BespokeSolvers(fits)
