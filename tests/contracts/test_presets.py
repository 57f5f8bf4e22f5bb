"""A shower is independent of its batch in every preset: networks of full size, before training."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest
import torch
from test_independence import agree

import caloforge as cf
from caloforge.cascade import Correction, System
from caloforge.cascade.quantities import ShowerQuantities
from caloforge.cascade.registry import default_geometry, presets
from caloforge.cascade.seeds import Seeds
from caloforge.showers import Showers, held
from caloforge.stages.bespoke import BespokeSolvers

FILES = {
    "calochallenge-2": "electrons-1-100GeV_calochallenge-2_test.h5",
    "calochallenge-3": "electrons-1-100GeV_calochallenge-3_test.h5",
    "ild-30": "photons-10-100GeV_ild-30_test.h5",
    "ild-ecal": "photons-10-100GeV_ild-ecal_points_test.h5",
}


def fitted(system: System, showers: Showers) -> System:
    """The system with its transforms and banks fitted, and its initial weights."""
    rng, seen = torch.Generator().manual_seed(0), held(system.training_sample(showers))
    needs = {name: stage.needs for name, stage in system.stages.items()}
    for name in TopologicalSorter(needs).static_order():
        stage = system.stages[name]
        if not isinstance(stage, Correction | BespokeSolvers):  # they would sample many showers
            learns = stage.learns or (*stage.reads, *stage.writes)
            stage.fit(ShowerQuantities(seen, learns), system.upstream(name), rng)
            stage.is_fitted = True
    return system


def sampled(system: System, like: Showers, batch_size: int) -> Showers:
    """Showers of such particles, in batches of a size and in the fewest steps available."""
    offered = {name: choice.offered for name, choice in system.choices.items()}
    options = {name: "euler-1" for name, names in offered.items() if "euler-N" in names}
    given = {}
    if system.name == "l2lflows":  # its energies are sampled until they are possible ones
        given = ShowerQuantities(like, ("layer_energies",)).all()
    batches = []
    for start in range(0, len(like), batch_size):
        part = slice(start, start + batch_size)
        seeds = Seeds.of(7, np.arange(len(like))[part], "cpu")
        known = {name: values[part] for name, values in given.items()}
        batches.append(system.draw(like.particles[part], seeds=seeds, options=options, given=known))
    joined: Showers = system.kind.concatenate(batches)
    return joined


@pytest.mark.parametrize("preset", presets())
def test_a_shower_of_any_preset_is_independent_of_its_batch(preset: str, shared_data: Path) -> None:
    geometry = "ild-ecal" if "points" in preset else default_geometry(preset)
    showers = cf.read(shared_data / FILES[geometry])[:60]
    system = fitted(cf.build(preset, showers.geometry, seed=1), showers)
    system.prepare("cpu")
    low = np.argsort(showers.particles.energy)[:3]  # networks of points take their time by these
    like = showers.take(low)
    agree(sampled(system, like, 1), sampled(system, like, 3))
