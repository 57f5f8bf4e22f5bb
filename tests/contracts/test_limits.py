"""What clamps, boxes and largest values take from a training sample is counted, and little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import caloforge as cf
from caloforge.cascade import Learned, ShowerQuantities
from caloforge.cascade.limits import changed_shares
from caloforge.preprocessing import Chain, LogEnergy, Logit, ScaleByMax, Snap, Transform
from caloforge.showers import PointShowers, VoxelShowers
from caloforge.training import RunFolder

RUNS = ["run", "calodream_run", "supercalo_run", "caloclouds_run"]


class Below(Transform):
    """What a new transform may be: it says nothing of what it does to large values."""

    def __init__(self, highest: float) -> None:
        super().__init__()
        self.highest = highest

    def forward(self, x: Tensor) -> Tensor:
        return x / self.highest

    def inverse(self, z: Tensor) -> Tensor:
        return (z * self.highest).clamp_max(self.highest)

    def log_slope(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_what_a_transform_moves_does_not_come_back() -> None:
    x = torch.tensor([0.0, 1e-7, 0.25, 1.0, 1.001, 3.0])
    beyond = [False, False, False, False, True, True]
    assert Logit(1e-6).loses(x).tolist() == beyond
    assert Below(1.0).loses(x).tolist() == beyond
    snap = Snap(1e-6)
    snap.fit(lambda: [x[:4]])  # what is next to 0 becomes 0: sqrt(1e-6 * 1e-7) is larger
    assert snap.loses(x[:4]).tolist() == [False, True, False, False]
    scaled = Chain(ScaleByMax(), LogEnergy(1.0, floor=1e-6))
    scaled.fit(lambda: [x])
    assert not scaled.loses(x).any()


@pytest.mark.parametrize("fixture", RUNS)
def test_every_stage_keeps_nearly_all_of_real_showers(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(fixture)
    learned = [n for n, stage in cf.load(folder).stages.items() if isinstance(stage, Learned)]
    for name in learned:
        changed = RunFolder(folder).stage(name).summary()["changed"]
        assert all(0 < share < 0.01 for share in changed.values())


def test_a_new_transform_is_watched_without_a_word_of_its_stage(
    slab: VoxelShowers, small: dict[str, object], generator: torch.Generator
) -> None:
    system = cf.build("l2lflows/tiny", slab.geometry, overrides=small)
    stage = system.stages["energies"]
    sample = ShowerQuantities(slab, (*stage.reads, *stage.writes))
    stage.fit(sample, {}, generator)
    energies = np.sort(slab.layer_energies().max(1))
    stage.layer_energies = Chain(Below(float(energies[-3])), stage.layer_energies)
    changed = changed_shares("energies", stage, sample, {}, generator)
    # one more lies below by less than the noise
    assert changed["layer_energies.0 (Below)"] == pytest.approx(2.5 / len(slab), abs=1 / len(slab))
    stage.layer_energies = Chain(Below(float(energies[-20])), *stage.layer_energies.transforms[1:])
    with pytest.raises(ValueError, match=r"energies: layer_energies.0 \(Below\) moves [45].\d%"):
        changed_shares("energies", stage, sample, {}, generator)


@pytest.mark.parametrize(("n", "refused"), [(1, False), (20, True)])
def test_layer_energies_beyond_the_factor_are_counted(
    n: int,
    refused: bool,
    bundled: VoxelShowers,
    small_calodream: dict[str, object],
    generator: torch.Generator,
) -> None:
    showers = bundled[:400]
    energy = showers.energy.copy()
    energy[: showers.offset[n]] *= 10  # far more than 2.85 times the incident energy
    sample = VoxelShowers(
        showers.energy_inc, showers.offset, showers.index, energy, showers.geometry
    )
    system = cf.build("calodream/tiny", sample.geometry, overrides=small_calodream)
    stage = system.stages["conditions"]
    quantities = ShowerQuantities(sample, stage.learns)
    stage.fit(quantities, {}, generator)

    def changed() -> dict[str, Any]:
        return changed_shares("conditions", stage, quantities, {}, generator)

    if refused:
        with pytest.raises(ValueError, match=r"conditions: factor moves 5.0% .* setting factor"):
            changed()
    else:
        shares = changed()
        assert shares["factor"] == shares["ratios.1 (Logit)"] == n / 400


def test_points_outside_the_box_are_counted(
    bundled_points: PointShowers, small_caloclouds: dict[str, object], tmp_path: Path
) -> None:
    points = bundled_points[:60]
    narrow = {**small_caloclouds, "half_width": 20.0}
    system = cf.build("caloclouds/tiny", points.geometry, overrides=narrow)
    far = np.maximum(abs(points.x), abs(points.y)) > 20
    assert far.mean() > 0.01
    with pytest.raises(ValueError, match=r"points: half_width moves [\d.]+% .* setting half_width"):
        cf.train(system, points, run=tmp_path / "run", stages=["conditions", "points"])
