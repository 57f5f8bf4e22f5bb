"""Stacks of blocks, the permutations between them, and the points that they sample."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from caloforge.flows import (
    Affine,
    Chain,
    Coupling,
    Elementwise,
    Flow,
    LinearSpline,
    Permutation,
    Spline,
    SplineMADE,
    affine_stack,
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
    block = SplineMADE if kind == "masked" else Coupling
    assert len(chain) == 2 * blocks - 1
    assert all(isinstance(module, block) for module in chain[::2])
    assert all(isinstance(module, Permutation) for module in chain[1::2])
    back_to_front = [module.order.tolist() == [6, 5, 4, 3, 2, 1, 0] for module in chain[1::2]]
    assert back_to_front == [i % 2 == 0 for i in range(blocks - 1)]


@pytest.mark.parametrize("features", [2, 7, 10])
def test_two_couplings_change_every_feature(features: int) -> None:
    x = torch.randn(5, features, dtype=torch.float64)
    z, _ = stack("coupling", features, 0, blocks=2)(x)
    z = z[:, torch.arange(features).flip(0)]  # after the one permutation
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
        sampled = flow.sample(9, context, rng=seeded())
        z = flow.sample_latent(9, rng=seeded())
        assert torch.equal(flow.decode(z, context), sampled)
        back, _ = flow.bijection(sampled, context)
        # piece by piece it is the same
        pieces = [flow.decode(*piece) for piece in zip(z.split(4), context.split(4), strict=True)]
    torch.testing.assert_close(torch.cat(pieces), sampled, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(back, z, rtol=1e-8, atol=1e-8)
    assert torch.equal(z, torch.randn(9, 7, generator=seeded(), dtype=torch.float64))


@EACH
@pytest.mark.parametrize("n", [0, 1])
def test_no_point_and_one_point_are_drawn_like_many(kind: str, n: int) -> None:
    flow = Flow(stack(kind), (7,)).eval()
    context = torch.randn(9, 2, dtype=torch.float64)
    z = flow.sample_latent(9)
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


# ---------------------------------------------------------------- the stacks of CaloClouds


def n_parameters(module: nn.Module) -> int:
    return sum(weights.numel() for weights in module.parameters())


def affine(features: int = 6, context: int = 2, **settings: int) -> Chain:
    chosen = {"blocks": 2, "couplings": 4, "hidden": 16, "spline_hidden": 8, "hidden_layers": 1}
    torch.manual_seed(0)
    return affine_stack(features, context, **(chosen | settings), spline=LinearSpline(6, 5.0))


def test_the_latent_flow_has_the_published_parameters() -> None:
    published = vector_stack(
        "coupling",
        256,
        2,
        blocks=10,
        hidden=128,
        hidden_layers=1,
        spline=Spline(10, 10.0),
        orders=("reverse", "random"),
        slope=0.01,
    )
    assert n_parameters(published) == 5_121_280
    activations = [module for module in published.modules() if isinstance(module, nn.LeakyReLU)]
    assert len(activations) == 10 * 2
    assert {activation.negative_slope for activation in activations} == {0.01}


def test_the_shower_flow_has_the_published_parameters() -> None:
    published = affine_stack(
        32,
        1,
        blocks=10,
        couplings=6,
        hidden=320,
        spline_hidden=128,
        hidden_layers=1,
        spline=LinearSpline(8, 5.0),
    )
    assert n_parameters(published) == 8_572_480


def test_every_block_of_an_affine_stack_has_a_spline_in_its_middle() -> None:
    letter = {Coupling: "c", Permutation: "p", Elementwise: "s"}
    order = "".join(letter[type(module)] for module in affine().bijections)
    assert order == "cpcpscpcp" + "cpcpscpc"
    assert all(
        isinstance(module.univariate, Affine)
        for module in affine().bijections
        if isinstance(module, Coupling)
    )


def test_a_fresh_affine_stack_is_a_permutation() -> None:
    x, context = torch.randn(5, 6), torch.randn(5, 2)
    z, log_det = affine()(x, context)
    torch.testing.assert_close(z.sort(1).values, x.sort(1).values, rtol=0, atol=1e-5)
    torch.testing.assert_close(log_det, torch.zeros(5), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["coupling", "affine"])
def test_what_training_in_single_precision_reaches_is_the_entropy(kind: str) -> None:
    """Of x = (1 + c^2) A n + c b with normal n: features correlate, and scale with the context."""
    settings = {"hidden": 24, "hidden_layers": 1}
    torch.manual_seed(1)
    if kind == "affine":
        spline = LinearSpline(4, 6.0)
        chain = affine_stack(
            2, 1, blocks=1, couplings=4, spline_hidden=8, spline=spline, **settings
        )
    else:
        chain = vector_stack(
            "coupling", 2, 1, blocks=2, spline=Spline(4, 6.0), orders=("reverse",), **settings
        )
    flow = Flow(chain, (2,))
    mix, drift = torch.tensor([[1.0, 0.8], [0.0, 1.0]]), torch.ones(2)

    def draw(n: int) -> tuple[torch.Tensor, torch.Tensor, float]:
        context = torch.rand(n, 1) * 2 - 1
        scale = 0.4 * (1 + context.square())
        x = scale * (torch.randn(n, 2) @ mix) + context * drift
        entropy = 1 + math.log(2 * math.pi) + float(mix.logdet())
        return x, context, entropy + 2 * float(scale.log().mean())

    def unlikeliness(n: int) -> tuple[torch.Tensor, float]:
        x, context, entropy = draw(n)
        return -flow.log_prob(x, context).mean(), entropy

    with torch.no_grad():
        before, entropy = unlikeliness(20_000)
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        unlikeliness(256)[0].backward()
        optimizer.step()
    with torch.no_grad():
        reached, entropy = unlikeliness(20_000)
    # the mean over the sample scatters by sqrt(2 / 2 / 20,000) = 0.007
    assert float(before) > entropy + 0.3
    assert entropy - 0.03 < float(reached) < entropy + 0.05
