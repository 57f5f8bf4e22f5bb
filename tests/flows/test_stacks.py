"""Stacks of spline blocks, the permutations between them, and the points that they draw."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from caloforge.flows import (
    Chain,
    Flow,
    Permutation,
    Spline,
    SplineCoupling,
    SplineMADE,
    coupling,
    vector_stack,
)

EACH = pytest.mark.parametrize("kind", ["masked", "coupling"])


def stack(kind: str, features: int = 7, context: int = 2, **settings: object) -> Chain:
    chosen = {"blocks": 4, "hidden": 16, "hidden_layers": 1, "spline": Spline(6, 5.0)}
    chosen |= {"orders": ("reverse", "random"), **settings}
    torch.manual_seed(0)
    made = vector_stack(kind, features, context, **chosen)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.double().eval()


@EACH
@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_permutations_lie_between_blocks_alone(kind: str, blocks: int) -> None:
    chain = list(stack(kind, blocks=blocks).bijections)
    block = SplineMADE if kind == "masked" else SplineCoupling
    assert len(chain) == 2 * blocks - 1
    assert all(isinstance(module, block) for module in chain[::2])
    assert all(isinstance(module, Permutation) for module in chain[1::2])
    back_to_front = [module.order.tolist() == [6, 5, 4, 3, 2, 1, 0] for module in chain[1::2]]
    assert back_to_front == [i % 2 == 0 for i in range(blocks - 1)]


@pytest.mark.parametrize("features", [2, 7, 10])
def test_two_couplings_change_every_feature(features: int) -> None:
    x = torch.randn(5, features, dtype=torch.float64)
    z, _ = stack("coupling", features, 0, blocks=2)(x)
    z = z[:, torch.arange(features).flip(0)]  # behind the one permutation
    assert ((z - x).abs().max(0).values > 1e-3).all()


@EACH
@pytest.mark.parametrize("prepare", [False, True])
def test_a_sample_is_what_its_latent_points_are_decoded_to(kind: str, prepare: bool) -> None:
    flow = Flow(stack(kind), (7,)).eval()
    context = torch.randn(9, 2, dtype=torch.float64)
    if prepare:
        flow.prepare()

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(1)

    with torch.no_grad():
        drawn = flow.sample(9, context, rng=seeded())
        z = flow.draw_latent(9, rng=seeded())
        assert torch.equal(flow.decode(z, context), drawn)
        back, _ = flow.bijection(drawn, context)
        # piece by piece it is the same
        pieces = [flow.decode(*piece) for piece in zip(z.split(4), context.split(4), strict=True)]
    torch.testing.assert_close(torch.cat(pieces), drawn, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(back, z, rtol=1e-8, atol=1e-8)
    assert torch.equal(z, torch.randn(9, 7, generator=seeded(), dtype=torch.float64))


@EACH
@pytest.mark.parametrize("n", [0, 1])
def test_no_point_and_one_point_are_drawn_like_many(kind: str, n: int) -> None:
    flow = Flow(stack(kind), (7,)).eval()
    context = torch.randn(9, 2, dtype=torch.float64)
    z = flow.draw_latent(9)
    with torch.no_grad():
        expected = flow.decode(z, context)[:n]
        for prepare in (lambda: None, flow.prepare):
            prepare()
            found = flow.decode(z[:n], context[:n])
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("at_once", [1, 8, 10_000])
def test_a_coupling_of_vectors_maps_in_pieces_what_it_maps_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch, generator: torch.Generator
) -> None:
    monkeypatch.setattr(coupling, "PIXELS", at_once)
    chain = stack("coupling")
    z = torch.randn(11, 7, generator=generator, dtype=torch.float64)
    context = torch.randn(11, 2, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        expected, _ = chain.inverse(z, context)
        found = chain.prepared()(z, context)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@EACH
def test_a_fresh_stack_is_the_identity_in_another_order(kind: str) -> None:
    spline = Spline(8, 14.0, 1e-6)
    made = vector_stack(kind, 6, 1, blocks=3, hidden=8, hidden_layers=1, spline=spline).double()
    x, context = torch.randn(4, 6).double(), torch.randn(4, 1).double()
    z, log_det = made(x, context)
    torch.testing.assert_close(z.sort(1).values, x.sort(1).values, rtol=0, atol=1e-6)
    torch.testing.assert_close(log_det, torch.zeros(4).double(), rtol=0, atol=1e-5)
