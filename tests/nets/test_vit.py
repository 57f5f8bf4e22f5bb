"""The vision transformer: published sizes, patches of neighbours, and who sees whom."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from caloforge.nets import Preparable, ViT

CONTEXT = 46  # incident energy and 45 energy ratios
PUBLISHED = {  # CaloDREAM, tables 2 and 4: parameters and tokens
    "ViT, dataset 2": ((1, 45, 16, 9), (3, 16, 1), (480, 1920, 6), 26_042_688, 135),
    "ViT, dataset 3": ((1, 45, 50, 18), (3, 5, 2), (240, 720, 6), 5_868_870, 1_350),
    "laViT, dataset 2": ((2, 15, 9, 9), (3, 1, 1), (240, 960, 10), 10_711_566, 405),
    "laViT, dataset 3": ((2, 9, 26, 16), (3, 2, 2), (240, 960, 10), 10_720_224, 312),
}
SHAPE, PATCH = (2, 4, 3, 2), (2, 1, 2)  # 2 x 3 x 1 patches of 8 entries


def small(times: int = 1) -> ViT:
    torch.manual_seed(0)
    net = ViT(SHAPE, PATCH, 5, dim=12, heads=2, hidden=16, blocks=2, times=times)
    return net.double()


def opened(times: int = 1) -> ViT:
    """With gates, shifts and a last layer that are not zero."""
    net = small(times)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


def inputs(n: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    shapes = ((n, *SHAPE), (n,), (n, 5))
    x, t, context = (torch.rand(shape, generator=rng, dtype=torch.float64) for shape in shapes)
    return x, t, context


def patch_numbers(channels: int = SHAPE[0]) -> Tensor:
    """Number of the patch that each entry of a shower lies in, by its coordinates alone."""
    shape = (channels, *SHAPE[1:])
    numbers = torch.empty(shape, dtype=torch.long)
    for place in product(*map(range, shape)):
        z, a, b = (coordinate // size for coordinate, size in zip(place[1:], PATCH, strict=True))
        numbers[place] = (z * 3 + a) * 1 + b
    return numbers


def seen(net: ViT) -> Tensor:
    """Which entries of a shower each entry of its velocity depends on, (entries, entries)."""
    x, t, context = inputs(1)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x, t, context), x)
    return jacobian.reshape(x.numel(), x.numel()) != 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_has_the_published_size(name: str) -> None:
    shape, patch, (dim, hidden, blocks), parameters, tokens = PUBLISHED[name]
    with torch.device("meta"):
        net = ViT(shape, patch, CONTEXT, dim=dim, heads=6, hidden=hidden, blocks=blocks)
        x, t, context = torch.empty(2, *shape), torch.empty(2), torch.empty(2, CONTEXT)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert math.prod(net.grid) == len(net.positions.places) == tokens
    assert net(x, t, context).shape == x.shape


def test_the_velocity_is_0_at_first_and_learns() -> None:
    net, (x, t, context) = small(), inputs()
    v = net(x, t, context)
    assert not v.any()
    (v - x).square().mean().backward()
    assert net.last.weight.grad is not None
    assert net.last.weight.grad.any()


def test_closed_blocks_are_the_identity() -> None:
    net, (_, _, context) = small(), inputs()
    tokens = torch.randn(3, 6, 12, dtype=torch.float64)
    for block in net.blocks:
        assert torch.equal(block(tokens, net.context(context)), tokens)


def test_with_closed_blocks_a_patch_sees_itself_alone() -> None:
    """What depends on an entry is what shares its patch: a patch holds neighbours."""
    net = small()
    nn.init.normal_(net.last.weight)
    numbers = patch_numbers().flatten()
    assert torch.equal(seen(net), numbers[:, None] == numbers)


def test_with_open_blocks_every_entry_sees_every_other() -> None:
    assert seen(opened()).all()


def test_an_entry_comes_back_to_where_it_was() -> None:
    x, *_ = inputs()
    net = small()
    patches = net._patches(x)
    assert patches.shape == (3, 6, 8)
    assert torch.equal(net._grid(patches), x)
    by_number = [x[:, patch_numbers() == number] for number in range(6)]
    assert torch.equal(patches, torch.stack(by_number, 1))


@given(
    channels=st.integers(1, 3),
    grid=st.tuples(*[st.integers(1, 4)] * 3),
    patch=st.tuples(*[st.integers(1, 3)] * 3),
    n=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_any_patch_that_divides_any_grid_will_do(
    channels: int, grid: tuple[int, int, int], patch: tuple[int, int, int], n: int
) -> None:
    z, a, b = (g * p for g, p in zip(grid, patch, strict=True))
    net = ViT((channels, z, a, b), patch, 2, dim=6, heads=1, hidden=4, blocks=1)
    x = torch.arange(n * channels * z * a * b, dtype=torch.float32).view(n, channels, z, a, b)
    patches = net._patches(x)
    assert patches.shape == (n, math.prod(grid), channels * math.prod(patch))
    assert torch.equal(net._grid(patches), x)
    assert net(x, torch.zeros(n), torch.zeros(n, 2)).shape == x.shape


def exchanged(x: Tensor) -> Tensor:
    """The first and the last patch exchanged along z and along alpha."""
    return x.reshape(-1, 2, 2, 2, 3, 2).flip(2, 4).reshape(x.shape)


def test_positions_alone_distinguish_patches() -> None:
    net, (x, t, context) = opened(), inputs()
    assert not torch.allclose(net(exchanged(x), t, context), exchanged(net(x, t, context)))
    nn.init.zeros_(net.positions.frequencies)
    torch.testing.assert_close(net(exchanged(x), t, context), exchanged(net(x, t, context)))


def test_positions_are_sines_and_cosines_of_learnable_waves() -> None:
    net = small()
    frequencies = net.positions.frequencies
    assert frequencies.shape == (3, 2)  # a third of half the features along each axis
    assert frequencies.requires_grad
    found = net.positions()
    for number, place in enumerate(product((0, 1 / 2), (0, 1 / 3, 2 / 3), (0,))):
        expected = torch.cat(
            [
                torch.stack([phase.sin(), phase.cos()]).flatten()
                for phase in (2 * math.pi * x * w for x, w in zip(place, frequencies, strict=True))
            ]
        )
        torch.testing.assert_close(found[number], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", ["time", "context"])
def test_time_and_context_reach_every_patch_of_their_own_shower(which: str) -> None:
    net, (x, t, context) = opened(), inputs()
    before = net(x, t, context)
    changed = {"time": t, "context": context}[which]
    changed[1] += 0.1
    moved = net(x, t, context) != before
    assert moved[1].all()
    assert not moved[[0, 2]].any()


def test_two_times_are_distinguished() -> None:
    net, (x, t, context) = opened(times=2), inputs()
    two = torch.stack([t, t + 0.1], -1)
    assert not torch.allclose(net(x, two, context), net(x, two.flip(-1), context))


def test_as_many_times_are_given_as_it_depends_on() -> None:
    x, t, context = inputs()
    with pytest.raises(ValueError, match="longer than argument"):
        opened()(x, torch.stack([t, t], -1), context)


def test_showers_do_not_see_each_other() -> None:
    net, (x, t, context) = opened(), inputs()
    alone = [net(x[i : i + 1], t[i : i + 1], context[i : i + 1]) for i in range(len(x))]
    torch.testing.assert_close(torch.cat(alone), net(x, t, context))


@pytest.mark.parametrize("low", [False, True])
@torch.no_grad()
def test_prepared_it_is_as_precise(low: bool) -> None:
    """In 32 bits up to rounding; in 16 no further off than without."""
    net, (x, t, context) = opened().eval(), inputs()
    exact = net(x, t, context)

    def error() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            found = net(x.float(), t.float(), context.float())
        return float((found - exact).norm() / exact.norm())

    net.float()
    before = error()
    for module in net.modules():
        if isinstance(module, Preparable):
            module.prepare()
    assert (error() > 1e-3) == low
    assert error() < (1.2 * before if low else 1e-5)


@pytest.mark.parametrize(
    ("patch", "dim", "heads", "match"),
    [
        ((3, 1, 2), 12, 2, "patches of 3 x 1 x 2 do not divide a grid of 4 x 3 x 2"),
        ((2, 1, 4), 12, 2, "do not divide a grid"),
        (PATCH, 16, 2, "6 must divide 16 features"),
        (PATCH, 12, 5, "5 heads do not divide 12 features"),
    ],
)
def test_what_does_not_divide_is_refused(
    patch: tuple[int, int, int], dim: int, heads: int, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        ViT(SHAPE, patch, 5, dim=dim, heads=heads, hidden=16, blocks=1)
