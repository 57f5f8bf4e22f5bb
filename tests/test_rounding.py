"""What of a spread is only rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caloforge.rounding import is_rounding


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_equal_numbers_summed_in_any_order_have_no_spread_and_others_do(rng, scale):
    parts = scale * rng.exponential(size=500)
    sums = np.array([rng.permutation(parts).cumsum()[-1] for _ in range(200)])
    assert np.ptp(sums) > 0
    assert is_rounding(np.ptp(sums), sums.max())
    assert not is_rounding(1e-9 * scale, scale)


def test_the_rule_is_the_same_for_tensors_and_unknown_spreads_are_none():
    spread, magnitude = [0.0, 1e-13, 1.0, np.nan], [0.0, 1.0, 1.0, 1.0]
    expected = [True, True, False, False]
    assert is_rounding(np.array(spread), np.array(magnitude)).tolist() == expected
    assert is_rounding(torch.tensor(spread), torch.tensor(magnitude)).tolist() == expected
