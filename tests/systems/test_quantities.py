"""Named quantities are those of the showers, however they are kept."""

from __future__ import annotations

import pytest
import torch

from caloforge.showers import VoxelShowers
from caloforge.systems import ShowerQuantities, layer_name

NAMES = ("energy_inc", "layer_energies", "showers", "layer_00", "layer_07", "layer_44")


@pytest.fixture(scope="module")
def showers(bundled: VoxelShowers) -> VoxelShowers:
    return bundled[:60]


@pytest.mark.parametrize("budget", [0, 4 << 30], ids=["batched", "dense"])
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
    assert dense._dense is not None
    assert batched._dense is None
    for one, other in ((dense, batched), (dense.split(order), batched.split(order))):
        assert len(one) == len(other)
        chosen = order[order < len(one)]
        for name in NAMES:
            assert torch.equal(one.take(chosen)[name], other.take(chosen)[name])
    part = dense.split(order)
    assert torch.equal(part.take(torch.tensor([2]))["showers"], dense.take(order[2:3])["showers"])


@pytest.mark.parametrize("budget", [0, 4 << 30], ids=["batched", "dense"])
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


def test_layers_have_two_digits() -> None:
    assert layer_name(7) == "layer_07"
    assert layer_name(44) == "layer_44"
