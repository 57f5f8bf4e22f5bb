"""Real showers that several tests of metrics compare."""

from __future__ import annotations

import pytest

import caloforge as cf
from caloforge.evaluation import Sample


@pytest.fixture(
    scope="module", params=["photons-10-100GeV_ild-30", "electrons-1-100GeV_calochallenge-2"]
)
def two_samples(request, shared_data):
    """200 showers, and 150 others with a tenth more energy."""
    first = cf.read(shared_data / f"{request.param}_test.h5")[:200]
    second = cf.read(shared_data / f"{request.param}_train.h5")[:150]
    second = cf.VoxelShowers(
        second.energy_inc, second.offset, second.index, 1.1 * second.energy, second.geometry
    )
    reference = Sample.of(first)
    return first, second, reference, Sample.of(second, edges=reference.spectrum.edges)
