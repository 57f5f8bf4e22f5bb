"""Waves: frequencies in equal ratios, sine and cosine of each."""

from __future__ import annotations

import pytest
import torch

from caloforge.nets import Waves


def test_frequencies_rise_from_1_to_100_in_equal_ratios() -> None:
    frequencies = Waves(10).double().frequencies
    expected = torch.tensor([1, 10**0.5, 10, 10**1.5, 100], dtype=torch.float64)
    torch.testing.assert_close(frequencies, expected, rtol=1e-6, atol=0)


def test_cosines_come_before_sines() -> None:
    waves = Waves(2).double()
    t = torch.tensor([[0.0, 0.3, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(waves(t), torch.stack([t.cos(), t.sin()], -1))
    assert torch.equal(Waves(6)(torch.zeros(1)), torch.tensor([[1.0, 1, 1, 0, 0, 0]]))


@pytest.mark.parametrize("shape", [(), (4,), (3, 2)])
def test_each_number_becomes_its_features(shape: tuple[int, ...]) -> None:
    waves, t = Waves(8), torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert waves(t).shape == (*shape, 8)
    torch.testing.assert_close(waves(t).square().sum(-1), torch.full(shape, 4.0))


def test_there_is_nothing_to_train_or_to_save() -> None:
    waves = Waves(4)
    assert not list(waves.parameters())
    assert not waves.state_dict()


@pytest.mark.parametrize("features", [0, 7])
def test_waves_come_in_pairs(features: int) -> None:
    with pytest.raises(ValueError, match=f"expected an even number, got {features}"):
        Waves(features)
