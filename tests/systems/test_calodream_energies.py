"""The energy network of CaloDREAM: exact preprocessing, layer energies of real showers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from caloforge.cascade import Quantities, SamplingOptions, ShowerQuantities
from caloforge.cascade.recipe import Recipe
from caloforge.cascade.seeds import Seeds
from caloforge.geometry import geometry_preset
from caloforge.showers import VoxelShowers
from caloforge.stages.conditions import RatioConditions
from caloforge.stages.config import EnergyNetwork
from caloforge.stages.ratios import EnergyRatioStage

EPS = torch.finfo(torch.float32).eps
RECIPE = Recipe(epochs=1, batch_size=64, learning_rate=1e-3)
TINY = EnergyNetwork(
    RECIPE,
    dim=48,
    heads=4,
    layers=1,
    feed_forward=64,
    hidden=48,
    hidden_layers=3,
    solver="midpoint-4",
)
STEPS = 400


Upstream = dict[str, RatioConditions]


def make(showers: VoxelShowers, config: EnergyNetwork = TINY) -> EnergyRatioStage:
    torch.manual_seed(0)
    return EnergyRatioStage(config, showers.geometry).eval()


def needed(showers: VoxelShowers) -> Upstream:
    """The conditions of showers, which the stage needs."""
    conditions = RatioConditions(showers.geometry.n_layers, 2.85, TINY.alpha)
    conditions.fit(quantities(showers), {}, torch.Generator())
    return {"conditions": conditions}


def quantities(showers: VoxelShowers) -> ShowerQuantities:
    return ShowerQuantities(showers, ("energy_inc", "layer_energies"))


def draw(
    stage: EnergyRatioStage, upstream: Upstream, energy_inc: Tensor, solver: str | None = None
) -> Tensor:
    seeds, options = Seeds.of(1, range(len(energy_inc))), SamplingOptions(energy_solver=solver)
    with torch.inference_mode():
        return stage.sample({"energy_inc": energy_inc}, upstream, seeds, options)["layer_energies"]


@pytest.fixture(scope="module")
def real(bundled: VoxelShowers) -> Quantities:
    return quantities(bundled).all()


@pytest.fixture(scope="module")
def upstream(bundled: VoxelShowers) -> Upstream:
    return needed(bundled)


@pytest.fixture(scope="module")
def stage(bundled: VoxelShowers) -> EnergyRatioStage:
    return make(bundled)


# ---------------------------------------------------------------- preprocessing


def test_what_the_network_learns_is_the_layer_energies(
    stage: EnergyRatioStage, upstream: Upstream, real: Quantities
) -> None:
    """In single precision, where showers end early too; nothing lies after their end."""
    energies, incident = real["layer_energies"], real["energy_inc"]
    assert ((energies == 0) & (energies.flip(1).cumsum(1).flip(1) == 0)).any(1).sum() > 100
    z = stage.batch(real, upstream, torch.Generator())["x"]
    assert z.dtype == torch.float32
    assert torch.isfinite(z).all()
    back = upstream["conditions"].layer_energies(z, incident)
    total = energies.sum(1, keepdim=True)
    # the logit has steps of 14 eps where a ratio is 0 or 1
    assert float(((back - energies).abs() / total).max()) < 40 * EPS
    torch.testing.assert_close(back.sum(1, keepdim=True), total, rtol=100 * EPS, atol=0)


def test_energy_is_conserved_whatever_the_ratios(upstream: Upstream, real: Quantities) -> None:
    """The deposit is that of u_0 alone: 2.85 E_inc u_0."""
    z = 3 * torch.randn(len(real["energy_inc"]), 45, generator=torch.Generator().manual_seed(0))
    conditions = upstream["conditions"]
    energies = conditions.layer_energies(z, real["energy_inc"])
    assert (energies >= 0).all()
    first = conditions.ratios.inverse(z)[:, 0].clamp_min(0)
    expected = 2.85 * first * real["energy_inc"]
    torch.testing.assert_close(energies.sum(1), expected, rtol=1e-5, atol=0)


def test_the_network_sees_standardised_ratios_and_energies_from_0_to_1(
    stage: EnergyRatioStage, upstream: Upstream, real: Quantities
) -> None:
    batch = stage.batch(real, upstream, torch.Generator())
    torch.testing.assert_close(batch["x"].mean(0), torch.zeros(45), atol=1e-4, rtol=0)
    varies = batch["x"].std(0) > 0
    assert varies.sum() > 40
    torch.testing.assert_close(batch["x"].std(0)[varies], torch.ones(int(varies.sum())))
    context = batch["context"]
    assert context.shape == (len(real["energy_inc"]), 1)
    assert (float(context.min()), float(context.max())) == pytest.approx((0, 1), abs=1e-6)
    assert torch.equal(stage.context({"energy_inc": real["energy_inc"]}, upstream), context)


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize("n", [0, 1, 7])
def test_it_draws_for_any_number_of_energies(
    stage: EnergyRatioStage, upstream: Upstream, real: Quantities, n: int
) -> None:
    energy_inc = real["energy_inc"][:n]
    energies = draw(stage, upstream, energy_inc)
    assert energies.shape == (n, 45)
    assert energies.dtype == torch.float32
    assert (energies >= 0).all()
    assert not energies.requires_grad


def test_a_prepared_stage_draws_the_same(
    bundled: VoxelShowers, upstream: Upstream, real: Quantities
) -> None:
    stage, energy_inc = make(bundled), real["energy_inc"][:20]
    plain = draw(stage, upstream, energy_inc)
    stage.prepare()
    assert stage.network.velocity.is_prepared
    torch.testing.assert_close(draw(stage, upstream, energy_inc), plain, rtol=1e-3, atol=1e-2)
    stage.train()
    assert not stage.network.velocity.is_prepared


def test_the_solver_is_the_users_choice(
    stage: EnergyRatioStage, upstream: Upstream, real: Quantities
) -> None:
    energy_inc = real["energy_inc"][:5]
    usual = draw(stage, upstream, energy_inc)
    assert torch.equal(draw(stage, upstream, energy_inc, "midpoint-4"), usual)
    assert not torch.equal(draw(stage, upstream, energy_inc, "euler-2"), usual)
    with pytest.raises(ValueError, match="there is no solver 'magic'"):
        draw(stage, upstream, energy_inc, "magic")


def test_the_passes_are_those_of_45_solvers(stage: EnergyRatioStage) -> None:
    """And of the transformer before each; the paper's N x L (appendix A.2) leaves these out."""
    assert stage.sequential_passes == 45 * (1 + 4 * 2)
    assert stage.passes(SamplingOptions(energy_solver="rk4-50")) == 45 * (1 + 200)
    assert stage.passes(stage.chosen({"solver": "euler-2"})) == stage.sequential_passes


def test_a_geometry_with_more_layers_than_a_token_has_room_for_is_refused() -> None:
    geometry = geometry_preset("calochallenge-2")
    config = EnergyNetwork(RECIPE, dim=32)
    with pytest.raises(ValueError, match="expected a dim of 46 or more, got 32"):
        EnergyRatioStage(config, geometry)


# ---------------------------------------------------------------- learning


@pytest.fixture(scope="module")
def trained(slab: VoxelShowers) -> tuple[EnergyRatioStage, list[float]]:
    """Trained for seconds on the energies of four layers."""
    stage = make(slab, dataclasses.replace(TINY, dim=16, feed_forward=32, hidden=32))
    sample, upstream = quantities(slab), needed(slab)
    stage.train()
    rng = torch.Generator().manual_seed(2)
    optimizer = torch.optim.Adam(stage.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    losses = []
    for _ in range(STEPS):
        showers = torch.randint(len(slab), (200,), generator=rng)
        loss = stage.loss(stage.batch(sample.take(showers), upstream, rng), rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    stage.prepare()
    return stage, losses


def test_the_loss_falls(trained: tuple[EnergyRatioStage, list[float]]) -> None:
    """From 2, the mean of (u - noise)^2, which is what the velocity 0 has."""
    _, losses = trained
    assert losses[0] == pytest.approx(2, abs=0.4)
    assert sum(losses[-20:]) / 20 < 1.2


def test_it_draws_the_layer_energies_of_showers(
    trained: tuple[EnergyRatioStage, list[float]], slab: VoxelShowers
) -> None:
    """Mean and spread of each layer's fraction of the incident energy, and their correlations."""
    stage, _ = trained
    known = quantities(slab).all()
    incident = known["energy_inc"][:, None]
    expected = known["layer_energies"] / incident
    sampled = draw(stage, needed(slab), known["energy_inc"]) / incident
    torch.testing.assert_close(sampled.mean(0), expected.mean(0), rtol=0.1, atol=0)
    torch.testing.assert_close(sampled.std(0), expected.std(0), rtol=0.35, atol=0)
    neighbours = [torch.corrcoef(shares.t()).diagonal(1) for shares in (sampled, expected)]
    torch.testing.assert_close(*neighbours, atol=0.2, rtol=0)
