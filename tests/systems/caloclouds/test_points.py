"""The points of showers: what is learned, what is encoded and what is sampled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from caloforge.cascade import Quantities, SamplingOptions, ShowerQuantities
from caloforge.cascade.recipe import Recipe
from caloforge.cascade.seeds import Seeds
from caloforge.diffusion import NoiseLevels
from caloforge.showers import PointShowers
from caloforge.systems.caloclouds.conditions import CloudConditions
from caloforge.systems.caloclouds.config import (
    CaloCloudsConfig,
    EncoderConfig,
    LatentFlowConfig,
    PointsConfig,
    ShowerFlowConfig,
)
from caloforge.systems.caloclouds.frame import clouds
from caloforge.systems.caloclouds.points import PointsStage, some_points

RECIPE = Recipe(epochs=1, batch_size=4, learning_rate=1e-3)
SMALL = PointsConfig(RECIPE, EncoderConfig(latent=3, hidden=8, layers=1), hidden=(8, 16, 8))
EDM = replace(SMALL, process="edm", energy="log", core=5.0, solver="heun-3")


Upstream = dict[str, CloudConditions]


def needed(sample: PointShowers, *, directed: bool = False) -> Upstream:
    """The conditions of a sample, which the stage needs."""
    conditions = CloudConditions(directed=directed)
    conditions.fit(ShowerQuantities(sample, conditions.learns), {}, torch.Generator())
    return {"conditions": conditions}


def stage_of(points: PointsConfig, sample: PointShowers, *, directed: bool = False) -> PointsStage:
    """Fitted on a sample, of fixed weights."""
    config = CaloCloudsConfig(ShowerFlowConfig(RECIPE), LatentFlowConfig(RECIPE), points)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        stage = PointsStage(config, sample.geometry, CloudConditions(directed=directed))
    known = ShowerQuantities(sample, stage.learns)
    stage.fit(known, {}, torch.Generator().manual_seed(1))
    return stage.eval()


def learned(stage: PointsStage, sample: PointShowers) -> Quantities:
    return ShowerQuantities(sample, stage.learns).all()


@pytest.fixture(scope="module")
def sample(bundled_points: PointShowers) -> PointShowers:
    return bundled_points[:6]


@pytest.fixture(scope="module")
def upstream(sample: PointShowers) -> Upstream:
    return needed(sample)


@pytest.fixture
def conditioned(sample: PointShowers) -> Quantities:
    """What the points stage reads."""
    rng = torch.Generator().manual_seed(3)
    names = ("energy_inc", "layer_counts", "visible_energy")
    quantities = ShowerQuantities(sample, names).all()
    return {**quantities, "latent": torch.randn(len(sample), 3, generator=rng)}


# ---------------------------------------------------------------- conditions


def test_conditions_are_scaled_by_the_largest_of_the_training_split(
    sample: PointShowers, upstream: Upstream
) -> None:
    quantities = ShowerQuantities(sample, upstream["conditions"].learns).all()
    energy, number = quantities["energy_inc"], quantities["n_points"]
    expected = torch.stack([2 * energy / energy.max() - 1, 2 * number / number.max() - 1], 1)
    torch.testing.assert_close(upstream["conditions"].both(quantities), expected)


def test_training_and_sampling_are_conditioned_alike(
    sample: PointShowers, upstream: Upstream, conditioned: Quantities
) -> None:
    """In training N is known, in sampling it is the sum of the counts."""
    both = upstream["conditions"].both
    known = ShowerQuantities(sample, upstream["conditions"].learns).all()
    torch.testing.assert_close(both(known), both(conditioned))


def test_a_direction_is_seen_where_it_is_asked_for(
    sample: PointShowers, conditioned: Quantities, generator: torch.Generator
) -> None:
    stage = stage_of(EDM, sample, directed=True)
    assert "direction" in stage.learns
    upstream, n = needed(sample, directed=True), len(sample)
    ahead = {**conditioned, "direction": torch.tensor([0.0, 0.0, 1.0]).expand(n, 3)}
    aslant = {**conditioned, "direction": torch.tensor([0.6, 0.0, 0.8]).expand(n, 3)}
    drawn = [
        stage.sample(given, upstream, Seeds.of(1, range(n)), SamplingOptions())["points"]
        for given in (ahead, aslant)
    ]
    assert not torch.allclose(*drawn)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("process", [SMALL, EDM])
def test_points_side_by_side_cost_what_they_cost_behind_each_other(
    process: PointsConfig, sample: PointShowers, generator: torch.Generator
) -> None:
    stage = stage_of(process, sample)
    x = torch.randn(5, 7, 4, generator=generator)
    context = torch.randn(5, stage.context_size, generator=generator)
    behind = (x.flatten(0, 1), context, clouds(torch.full((5,), 7)))
    errors = [
        stage.error(*given, torch.Generator().manual_seed(2))
        for given in ((x, context, None), behind)
    ]
    torch.testing.assert_close(*errors)


def test_every_shower_counts_the_same_however_many_points_it_has(
    sample: PointShowers, generator: torch.Generator
) -> None:
    """With sigma = 1 a network that gives 0 makes D = x / 2 of points x = noise + data."""
    stage = stage_of(replace(EDM, levels=NoiseLevels(mean=0.0, std=1e-6)), sample)
    stage.network.forward = lambda x, *_: torch.zeros_like(x)  # type: ignore[method-assign, misc]
    near, far = torch.zeros(40_000, 4), torch.full((400, 4), 30.0)
    cloud = clouds(torch.tensor([len(near), len(far)]))
    context = torch.zeros(2, stage.context_size)
    found = stage.error(torch.cat([near, far]), context, cloud, generator)
    # weight 2, mean square of (noise - data) / 2
    expected = 2 * (1 / 4 + (1 + 30**2) / 4) / 2
    assert found.item() == pytest.approx(expected, rel=0.02)


def test_some_points_are_those_of_their_cloud(generator: torch.Generator) -> None:
    n_points = torch.tensor([3, 0, 1, 5])
    points = clouds(n_points)[:, None].expand(-1, 4).float()
    points = points + torch.arange(9)[:, None] / 100
    found = some_points(points, n_points, 2000, generator)
    assert found.shape == (3, 2000, 4)
    assert found[..., 0].floor().unique(dim=1).flatten().tolist() == [0, 2, 3]
    share = (found[2, :, 0, None] == points[4:, 0]).float().mean(0)
    torch.testing.assert_close(share, torch.full((5,), 0.2), rtol=0, atol=0.05)


def test_the_divergence_costs_no_less_than_its_floor(
    sample: PointShowers, upstream: Upstream, generator: torch.Generator
) -> None:
    """w max(D_KL, m) (equation 3.7), which is w m for an encoder that says nothing."""
    encoder = EncoderConfig(3, 8, 1, divergence_weight=0.5, divergence_floor=2.0)
    stage = stage_of(replace(EDM, encoder=encoder), sample)
    stage.requires_grad_(False)
    for weights in stage.network.parameters():
        weights.zero_()  # so that the latent changes no more than the divergence
    for head in (stage.encoder.mean, stage.encoder.log_variance):
        head.parametrizations.weight.original0.zero_()  # its scale
        head.bias.zero_()
    batch = stage.batch(learned(stage, sample), upstream, generator)

    def loss() -> float:
        return float(stage.loss(batch, torch.Generator().manual_seed(4)))

    floor = loss()
    stage.encoder.mean.bias.fill_(1.0)  # D_KL = 3 / 2
    assert loss() == pytest.approx(floor)
    stage.encoder.mean.bias.fill_(2.0)  # D_KL = 6
    assert loss() == pytest.approx(floor + 0.5 * (6 - 2))


def test_encoder_and_network_learn_from_each_other(
    sample: PointShowers, upstream: Upstream, generator: torch.Generator
) -> None:
    for config in (EDM, replace(EDM, max_points=64, draws=4), SMALL):
        stage = stage_of(config, sample)
        batch = stage.batch(learned(stage, sample), upstream, generator)
        stage.loss(batch, generator).backward()
        norms = {name: float(w.grad.norm()) for name, w in stage.named_parameters()}  # type: ignore[union-attr]
        assert min(norms.values()) > 0, norms


@pytest.mark.parametrize("max_points", [None, 32])
def test_a_shower_without_points_has_a_latent_all_the_same(
    max_points: int | None,
    sample: PointShowers,
    upstream: Upstream,
    generator: torch.Generator,
) -> None:
    stage = stage_of(replace(EDM, max_points=max_points), sample)
    quantities = learned(stage, sample)
    first = int(quantities["n_points"][0])
    emptied = {
        **quantities,
        "points": quantities["points"][first:],
        "n_points": torch.cat([torch.zeros(1, dtype=torch.long), quantities["n_points"][1:]]),
    }
    latent = stage.encode(emptied, upstream, generator)
    assert latent.shape == (len(sample), 3)
    assert latent.isfinite().all()


# ---------------------------------------------------------------- sampling


def drawn(
    stage: PointsStage,
    upstream: Upstream,
    conditioned: Quantities,
    options: SamplingOptions | None = None,
) -> Tensor:
    n_points = conditioned["layer_counts"].sum(1).long()
    noise = stage.noise(conditioned, Seeds.of(5, range(len(n_points))))
    context = stage.context(conditioned, upstream)
    return stage.sampled(noise, context, stage.chosen(options or {}))


def test_as_many_points_are_drawn_as_the_counts_say(
    sample: PointShowers, upstream: Upstream, conditioned: Quantities
) -> None:
    stage = stage_of(EDM, sample)
    found = stage.sample(conditioned, upstream, Seeds.of(5, range(len(sample))), SamplingOptions())
    assert found["n_points"].equal(conditioned["layer_counts"].sum(1).long())
    assert found["points"].shape == (int(found["n_points"].sum()), 4)


def test_nothing_is_drawn_for_showers_without_points(
    sample: PointShowers, upstream: Upstream, conditioned: Quantities
) -> None:
    counts = torch.zeros_like(conditioned["layer_counts"])
    none = {**conditioned, "layer_counts": counts}
    stage = stage_of(EDM, sample)
    assert drawn(stage, upstream, none).shape == (0, 4)
    counts[2, 5] = 7
    assert drawn(stage, upstream, none).shape == (7, 4)


def test_pieces_within_the_budget_are_the_whole(
    sample: PointShowers, upstream: Upstream, conditioned: Quantities
) -> None:
    stage = stage_of(EDM, sample)
    whole = drawn(stage, upstream, conditioned)
    assert (conditioned["layer_counts"].sum(1) > 200).any()
    pieces = drawn(stage, upstream, conditioned, SamplingOptions(memory_budget=200 * 16 * 16))
    torch.testing.assert_close(pieces, whole)


def test_the_chain_draws_with_its_own_steps(
    sample: PointShowers, upstream: Upstream, conditioned: Quantities
) -> None:
    few = {**conditioned, "layer_counts": conditioned["layer_counts"].clamp_max(1)}
    stage = stage_of(SMALL, sample)
    assert stage.sequential_passes == 100
    assert drawn(stage, upstream, few).isfinite().all()
    with pytest.raises(ValueError, match=r"'heun-8' of these points.*: there are ddpm-100"):
        drawn(stage, upstream, few, SamplingOptions(solver="heun-8"))


@pytest.mark.parametrize(("name", "evaluations"), [("heun-8", 15), ("dpm-8", 8), ("euler-8", 8)])
def test_solvers_say_what_they_cost(name: str, evaluations: int, sample: PointShowers) -> None:
    stage = stage_of(EDM, sample)
    assert stage.solver(SamplingOptions(solver=name)).n_evaluations == evaluations


@pytest.mark.parametrize("name", ["heun", "heun-0", "ddpm-100", "rk4-5", "consistency-1"])
def test_unknown_solvers_are_refused(name: str, sample: PointShowers) -> None:
    stage = stage_of(EDM, sample)
    with pytest.raises(
        ValueError, match=f"'{name}' of these points.*: there are dpm-N, euler-N, heun-N"
    ):
        stage.solver(SamplingOptions(solver=name))


def test_half_precision_draws_nearly_the_same(
    sample: PointShowers, upstream: Upstream, conditioned: Quantities
) -> None:
    stage = stage_of(EDM, sample)
    exact, low = (
        stage.frame(drawn(stage, upstream, conditioned, SamplingOptions(precision=p)))
        for p in ("32", "bf16")
    )
    assert 0 < float((low - exact).abs().mean()) < 0.02


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_points": 10, "draws": 3}, "multiple of draws, got 10 and 3"),
        ({"draws": 2}, "one level of noise, got 2 draws"),
        ({"core": 0.0}, "radius"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(EDM, **settings)
