"""The Shower Flow samples whole points in every layer, and their energy (CaloClouds, 3.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from caloforge.cascade import Quantities, SamplingOptions, ShowerQuantities
from caloforge.cascade.seeds import Seeds
from caloforge.showers import PointShowers
from caloforge.systems.caloclouds.conditions import CloudConditions
from caloforge.systems.caloclouds.presets import preset
from caloforge.systems.caloclouds.shower import ShowerStage
from caloforge.systems.caloclouds.totals import (
    LayerTotals,
    PlainTotals,
    RelativeTotals,
    Totals,
)

EACH = pytest.mark.parametrize("name", ["plain", "relative", "layers"])
WITHOUT = SamplingOptions(postprocess=False)


Upstream = dict[str, CloudConditions]


def stage_of(name: str, clouds: PointShowers) -> tuple[ShowerStage, Upstream]:
    """An untrained stage, fitted, and what it needs."""
    config = replace(preset("tiny", clouds.geometry).shower, totals=name)
    torch.manual_seed(1)
    upstream = {"conditions": CloudConditions(directed=False)}
    stage = ShowerStage(config, clouds.geometry, upstream["conditions"]).eval()
    for fitted in (upstream["conditions"], stage):
        sample = ShowerQuantities(clouds, fitted.learns)
        fitted.fit(sample, upstream, torch.Generator().manual_seed(1))
    return stage, upstream


def draw(
    stage: ShowerStage, upstream: Upstream, energies: Tensor, options: SamplingOptions
) -> tuple[Tensor, Tensor]:
    seeds = Seeds.of(5, range(len(energies)))
    sampled = stage.sample({"energy_inc": energies}, upstream, seeds, options)
    return sampled["layer_counts"], sampled["visible_energy"]


def scaled(generator: torch.Generator) -> Quantities:
    """Forty showers of thirty layers, some of them nearly empty."""
    counts, energies = torch.rand(2, 40, 30, generator=generator, dtype=torch.float64)
    counts[:, :5] *= 1e-5
    return {
        "energy_inc": torch.rand(40, generator=generator, dtype=torch.float64) + 0.1,
        "n_points": counts.sum(1),
        "layer_counts": counts,
        "visible_energy": energies.sum(1),
        "layer_energies": energies,
    }


@pytest.mark.parametrize("totals", [PlainTotals(30), RelativeTotals(30), LayerTotals(30)])
def test_quantities_come_back_from_their_totals(totals: Totals, generator: torch.Generator) -> None:
    quantities = scaled(generator)
    numbers = totals.forward(quantities, generator)
    assert numbers.shape == (40, totals.size)
    found = totals.inverse(numbers, quantities["energy_inc"])
    assert tuple(found) == totals.writes
    for name, values in found.items():
        torch.testing.assert_close(values, quantities[name], rtol=1e-9, atol=1e-15)


def test_empty_layers_have_the_mean_energy_of_all_points_with_noise(
    generator: torch.Generator,
) -> None:
    quantities = scaled(generator)
    quantities["layer_energies"][:, 10:] = 0
    means = LayerTotals(30).forward(quantities, generator)[:, 30:]
    energies, counts = quantities["layer_energies"], quantities["layer_counts"]
    torch.testing.assert_close(means[:, :10], (energies / counts)[:, :10].log())
    away = means[:, 10:] - (energies.sum(1) / counts.sum(1)).log()[:, None]
    assert float(away.mean()) == pytest.approx(0, abs=0.1)
    assert float(away.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("totals", [RelativeTotals(30), LayerTotals(30)])
def test_a_shower_without_energy_is_seen_as_the_others_are(
    totals: Totals, generator: torch.Generator
) -> None:
    quantities = scaled(generator)
    energies = quantities["layer_energies"]
    energies[3], quantities["visible_energy"] = 0, energies.sum(1)
    quantities["visible_energy"][3] = 0
    numbers = totals.forward(quantities, generator)
    assert numbers.isfinite().all()
    numbers = numbers[:, -25:]  # layers with many points
    others = numbers[torch.arange(40) != 3]
    assert ((numbers[3] - others.mean(0)).abs() < 8 * others.std(0)).all()


def test_the_published_flow_draws_number_energy_and_counts() -> None:
    counts = torch.arange(60.0).reshape(2, 30)
    n, visible = counts.sum(1), torch.tensor([3.0, 4.0])
    quantities = {"layer_counts": counts, "n_points": n, "visible_energy": visible}
    numbers = PlainTotals(30).forward(quantities, torch.Generator())
    assert torch.equal(numbers, torch.cat([torch.stack([n, visible], 1), counts], 1))


@EACH
def test_noise_is_less_than_a_point(name: str, bundled_points: PointShowers) -> None:
    """What the flow learns, real counts with noise, is rounded to the counts again."""
    stage, upstream = stage_of(name, bundled_points)
    q = ShowerQuantities(bundled_points, stage.learns).all()
    x = stage.batch(q, upstream, torch.Generator().manual_seed(2))["x"]
    stage.flow.decode = lambda z, context: x  # type: ignore[method-assign]
    counts, energy = draw(stage, upstream, q["energy_inc"], WITHOUT)
    # a sum of 30 single-precision numbers moves what was next to a whole number across it
    assert float((counts == q["layer_counts"]).float().mean()) > 0.99
    assert float((counts - q["layer_counts"]).abs().max()) <= 1
    empty = q["layer_counts"] == 0
    assert empty.any()
    assert not counts[empty].any()
    torch.testing.assert_close(energy, q["visible_energy"], rtol=1e-2, atol=0)


@EACH
def test_counts_are_whole_and_never_far_beyond_the_training_sample(
    name: str, bundled_points: PointShowers
) -> None:
    stage, upstream = stage_of(name, bundled_points)
    for weights in stage.flow.parameters():  # a flow that is far from trained
        weights.data.add_(torch.randn(weights.shape) * 0.5)
    counts, energy = draw(stage, upstream, torch.from_numpy(bundled_points.energy_inc), WITHOUT)
    assert counts.shape == (60, 30)
    assert torch.equal(counts, counts.round())
    assert counts.min() >= 0
    assert energy.min() >= 0
    assert counts.max() <= 2 * bundled_points.layer_counts().max()
    assert energy.max() <= 2.001 * bundled_points.total_energy().max()
    assert len(counts.unique()) > 20


def test_energies_of_layers_are_drawn_where_there_are_points(bundled_points: PointShowers) -> None:
    stage, upstream = stage_of("layers", bundled_points)
    assert stage.writes == ("layer_counts", "visible_energy", "layer_energies")
    q = ShowerQuantities(bundled_points, stage.learns).all()
    x = stage.batch(q, upstream, torch.Generator().manual_seed(2))["x"]
    stage.flow.decode = lambda z, context: x  # type: ignore[method-assign]
    sampled = stage.sample(q, upstream, Seeds.of(5, range(len(x))), WITHOUT)
    counts, energies = sampled["layer_counts"], sampled["layer_energies"]
    assert not energies[counts == 0].any()
    torch.testing.assert_close(energies.sum(1), sampled["visible_energy"])
    some = q["layer_counts"] > 1  # a single point may be lost to rounding
    torch.testing.assert_close(energies[some], q["layer_energies"][some], rtol=1e-2, atol=1e-3)
