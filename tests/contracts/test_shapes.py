"""Bijections of any shape keep the contract of `test_bijections`."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from caloforge.flows import ActNorm, Chain, Coupling, Spline, SplineMADE, Squeeze
from caloforge.nets import UNet

EXACT = {"rtol": 1e-9, "atol": 1e-9}


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(1, 3),
    tiles=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    factors=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    n=st.integers(1, 3),
)
def test_squeeze_moves_every_element_once(
    channels: int, tiles: tuple[int, int], factors: tuple[int, int], n: int
) -> None:
    shape = (n, channels, tiles[0] * factors[0], tiles[1] * factors[1])
    x = torch.arange(math.prod(shape)).reshape(shape).float()
    z, log_det = Squeeze(factors)(x)
    assert z.shape == (n, channels * math.prod(factors), *tiles)
    assert torch.equal(z.flatten(1).sort(1).values, x.flatten(1))
    assert torch.equal(log_det, torch.zeros(n))
    # the first tile fills the channels of the first pixel
    assert torch.equal(
        z[0, : math.prod(factors), 0, 0], x[0, 0, : factors[0], : factors[1]].flatten()
    )
    assert torch.equal(Squeeze(factors).inverse(z)[0], x)


@settings(max_examples=15, deadline=None)
@given(
    channels=st.integers(2, 7),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bins=st.integers(2, 9),
    n_context=st.integers(0, 3),
    n=st.integers(1, 3),
    cyclic=st.booleans(),
)
def test_couplings_of_any_shape_are_invertible(
    channels: int, size: tuple[int, int], bins: int, n_context: int, n: int, cyclic: bool
) -> None:
    spline = Spline(bins, 5.0)
    kept, changed = channels // 2, channels - channels // 2
    height, width = 2 * size[0], size[1]
    with torch.random.fork_rng():
        torch.manual_seed(channels)
        network = UNet(
            kept + n_context, changed * spline.n_parameters, (4, 5), ((2, 1),), cyclic=cyclic
        )
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
        x = 2 * torch.randn(n, channels, height, width)
        context = torch.randn(n, n_context, height, width) if n_context else None
    coupling = Chain([ActNorm(channels), Coupling(channels, network, spline)]).double().eval()
    x, context = x.double(), None if context is None else context.double()
    z, forward = coupling(x, context)
    back, backward = coupling.inverse(z, context)
    assert_close(back, x, **EXACT)
    assert_close(forward, -backward, **EXACT)
    assert torch.equal(z[:, :kept], x[:, :kept])


@settings(max_examples=15, deadline=None)
@given(
    features=st.integers(1, 9),
    context=st.integers(0, 3),
    hidden=st.integers(1, 20),
    hidden_layers=st.integers(0, 2),
    n=st.integers(1, 4),
)
def test_autoregressive_blocks_of_any_shape_are_invertible(
    features: int, context: int, hidden: int, hidden_layers: int, n: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(features)
        block = SplineMADE(features, context, hidden, hidden_layers, Spline(bins=6, bound=6.0))
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.5)
        x = 2 * torch.randn(n, features).double()
        given_context = torch.randn(n, context).double() if context else None
    block = block.double()
    z, forward = block(x, given_context)
    back, backward = block.inverse(z, given_context)
    assert_close(back, x, **EXACT)
    assert_close(forward, -backward, **EXACT)
