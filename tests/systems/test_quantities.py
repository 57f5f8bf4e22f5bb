"""Named quantities are those of the showers, however they are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caloforge.cascade import ShowerQuantities, layer_name, quantities
from caloforge.geometry import Geometry, PolarLayer
from caloforge.showers import PointShowers, VoxelShowers

NAMES = ("energy_inc", "layer_energies", "showers", "layer_00", "layer_07", "layer_44")
OF_POINTS = ("direction", "energy_inc", "points", "n_points", "visible_energy", "layer_counts")
BOTH = pytest.mark.parametrize("budget", [0, 4 << 30], ids=["batched", "kept"])


@pytest.fixture(scope="module")
def showers(bundled: VoxelShowers) -> VoxelShowers:
    return bundled[:60]


@BOTH
def test_quantities_are_those_of_the_showers(showers: VoxelShowers, budget: int) -> None:
    sample = ShowerQuantities(showers, NAMES, budget=budget)
    q = sample.take(torch.arange(len(showers)))
    dense = torch.from_numpy(showers.dense())
    assert tuple(q) == NAMES
    assert all(value.dtype == torch.float32 for value in q.values())
    assert torch.equal(q["energy_inc"], torch.tensor(showers.energy_inc))
    assert torch.equal(q["showers"], dense)
    for layer in (0, 7, 44):
        assert torch.equal(q[layer_name(layer)], dense[:, layer])
    torch.testing.assert_close(q["layer_energies"], dense.sum((2, 3)), rtol=1e-6, atol=1e-6)


def test_dense_and_batched_agree(showers: VoxelShowers) -> None:
    order = torch.tensor([5, 3, 59, 3, 0])
    dense = ShowerQuantities(showers, NAMES)
    batched = ShowerQuantities(showers, NAMES, budget=0)
    assert dense._kept is not None
    assert batched._kept is None
    for one, other in ((dense, batched), (dense.split(order), batched.split(order))):
        assert len(one) == len(other)
        chosen = order[order < len(one)]
        for name in NAMES:
            assert torch.equal(one.take(chosen)[name], other.take(chosen)[name])
    part = dense.split(order)
    assert torch.equal(part.take(torch.tensor([2]))["showers"], dense.take(order[2:3])["showers"])


def test_large_quantities_are_kept_sparse(
    showers: VoxelShowers, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, rows = (*NAMES, "coarse_5x2x1"), torch.tensor([5, 3, 59, 3, 0])
    little = ShowerQuantities(showers, names)
    monkeypatch.setattr(quantities, "LITTLE", 0)
    large = ShowerQuantities(showers, names)
    assert little._kept is not None
    assert large._kept is not None
    for name, values in large.take(rows).items():
        assert torch.equal(values, little.take(rows)[name])
    for name in ("layer_07", "coarse_5x2x1"):
        assert large._kept[name].nbytes < 0.5 * little._kept[name].nbytes


@BOTH
def test_batches_are_the_whole_in_order(showers: VoxelShowers, budget: int) -> None:
    sample = ShowerQuantities(showers, NAMES, budget=budget)
    batches = list(sample.batches(25))
    assert [len(b["energy_inc"]) for b in batches] == [25, 25, 10]
    whole = sample.take(torch.arange(len(sample)))
    for name in NAMES:
        assert torch.equal(torch.cat([b[name] for b in batches]), whole[name])


@pytest.mark.parametrize("name", ["layer_45", "layer_x", "layers", ""])
def test_an_unknown_quantity_is_refused(showers: VoxelShowers, name: str) -> None:
    with pytest.raises(ValueError, match=r"no quantity of showers .* layer_00 to layer_44"):
        ShowerQuantities(showers, ("energy_inc", name))


def test_the_showers_themselves_are_shared(showers: VoxelShowers) -> None:
    """Their entries are kept once, beside the sample, and never dense."""
    sample = ShowerQuantities(showers, ("energy_inc", "showers"))
    assert sample._kept is not None
    index, energy = (column.numpy() for column in sample._kept["showers"].columns)
    assert np.shares_memory(index, showers.index)
    assert np.shares_memory(energy, showers.energy)


@pytest.mark.parametrize("bins", [40_000, 70_000], ids=["2 bytes", "4 bytes"])
def test_voxels_of_any_number_find_their_places(bins: int) -> None:
    """Numbers of voxels that are kept unsigned reach beyond the signed ones of as many bytes."""
    geometry = Geometry("many", (PolarLayer((0.0, 1.0), bins),), (0.0,), 0.0)
    dense = np.zeros((2, bins), np.float32)
    dense[1, [0, 2**15 - 1, 2**15, bins - 1]] = [1, 2, 3, 4]
    sample = ShowerQuantities(VoxelShowers.from_dense([10, 20], dense, geometry), ("showers",))
    taken = sample.take(torch.tensor([1, 0, 1]))["showers"]
    assert np.array_equal(taken.reshape(3, -1).numpy(), dense[[1, 0, 1]])


def test_layers_have_two_digits() -> None:
    assert layer_name(7) == "layer_07"
    assert layer_name(44) == "layer_44"


# ---------------------------------------------------------------- point clouds


@BOTH
def test_quantities_are_sums_over_the_points(bundled_points: PointShowers, budget: int) -> None:
    chosen = [5, 59, 5, 0]
    sample = ShowerQuantities(bundled_points, OF_POINTS, budget=budget)
    q = sample.take(torch.tensor(chosen))
    assert tuple(q) == OF_POINTS
    rows = []
    for i, number in enumerate(chosen):
        points = slice(*bundled_points.offset[number : number + 2])
        columns = (getattr(bundled_points, name)[points] for name in PointShowers.columns)
        x, y, layer, energy = (column.astype(np.float64) for column in columns)
        assert q["energy_inc"][i].item() == bundled_points.energy_inc[number]
        assert q["n_points"][i].item() == len(x)
        assert q["visible_energy"][i].item() == pytest.approx(energy.sum(), rel=1e-6)
        assert q["layer_counts"][i].tolist() == np.histogram(layer, np.arange(31))[0].tolist()
        rows.append(np.stack([x, y, layer, energy], axis=1))
    assert np.array_equal(q["points"].numpy(), np.concatenate(rows))
    assert q["direction"].tolist() == [[0, 0, 1]] * 4
    assert q["n_points"].dtype == torch.int64
    assert all(q[name].dtype == torch.float32 for name in OF_POINTS if name != "n_points")


@BOTH
def test_a_part_of_a_sample_has_its_points(bundled_points: PointShowers, budget: int) -> None:
    sample = ShowerQuantities(bundled_points, OF_POINTS, budget=budget)
    part = sample.split(torch.tensor([40, 7, 12]))
    taken, expected = part.take(torch.tensor([1, 0])), sample.take(torch.tensor([7, 40]))
    assert all(torch.equal(taken[name], expected[name]) for name in OF_POINTS)
    batches = list(sample.batches(25))
    assert [len(batch["n_points"]) for batch in batches] == [25, 25, 10]
    for name, values in sample.all().items():
        assert torch.equal(torch.cat([batch[name] for batch in batches]), values)


def test_quantities_of_voxels_are_none_of_points(bundled_points: PointShowers) -> None:
    with pytest.raises(ValueError, match=r"'layer_07' is no quantity of point clouds: .* n_points"):
        ShowerQuantities(bundled_points, ("energy_inc", "layer_07"))
