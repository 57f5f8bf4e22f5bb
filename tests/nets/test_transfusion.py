"""The transfusion network: sizes as published, causality, and samples however they are made."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from caloforge.matching import make_solver
from caloforge.nets import Transfusion
from caloforge.nets.transfusion import DecoderLayer, EncoderLayer

LAYERS = 7
PUBLISHED = {
    "dim": 64,
    "heads": 4,
    "layers": 4,
    "feed_forward": 1024,
    "hidden": 256,
    "hidden_layers": 8,
}
SMALL = {"dim": 16, "heads": 2, "layers": 2, "feed_forward": 24, "hidden": 20, "hidden_layers": 4}
EXACT = {"rtol": 1e-11, "atol": 1e-11}


def network(**sizes: int) -> Transfusion:
    torch.manual_seed(0)
    return Transfusion(LAYERS, **{**SMALL, **sizes}).double().eval()


@pytest.fixture(params=[False, True], ids=["plain", "layer norms"])
def net(request: pytest.FixtureRequest) -> Transfusion:
    """Away from its initial weights, norms included."""
    net = network(layer_norm=request.param)
    rng = torch.Generator().manual_seed(2)
    for weights in net.parameters():
        weights.data += 0.2 * torch.randn(weights.shape, generator=rng, dtype=weights.dtype)
    return net


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(6, LAYERS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.fixture
def context() -> Tensor:
    return torch.rand(6, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, 1_692_225),  # table 1
        ({"feed_forward": 512, "hidden": 512, "layer_norm": True}, 2_384_705),  # as published
    ],
)
@pytest.mark.parametrize("features", [30, 45])
def test_it_has_the_published_parameters(
    sizes: dict[str, int], expected: int, features: int
) -> None:
    """However many features there are: embeddings have no parameters."""
    net = Transfusion(features, **{**PUBLISHED, **sizes})
    assert sum(weights.numel() for weights in net.parameters()) == expected


def test_a_token_needs_room_for_a_number_and_a_position() -> None:
    network(dim=1 + LAYERS)
    with pytest.raises(ValueError, match=f"a dim of {1 + LAYERS} or more, got {LAYERS - 1}"):
        network(dim=LAYERS - 1)


def test_a_velocity_has_a_first_and_a_last_layer() -> None:
    assert network(hidden_layers=2)(
        torch.zeros(1, LAYERS).double(), torch.zeros(1, 1).double()
    ).any()
    with pytest.raises(ValueError, match="2 linear layers or more, got 1"):
        network(hidden_layers=1)


# ---------------------------------------------------------------- the transformer


def weights_from(ours: nn.Module, theirs: nn.Module) -> None:
    """Give PyTorch's layer the weights of ours."""
    names = {
        "cross_attention": "multihead_attn",
        "attention": "self_attn",
        "query_key_value.": "in_proj_",
        "out.": "out_proj.",
        "dense.0": "linear1",
        "dense.2": "linear2",
        "norms.0": "norm1",
        "norms.1": "norm2",
        "norms.2": "norm3",
    }
    state = {}
    for name, values in ours.state_dict().items():
        for mine, other in names.items():
            name = name.replace(mine, other)
        state[name] = values
    theirs.load_state_dict(state)


def test_a_layer_of_the_encoder_is_that_of_the_standard_transformer(context: Tensor) -> None:
    torch.manual_seed(0)
    ours = EncoderLayer(16, 2, 24).double()
    theirs = nn.TransformerEncoderLayer(16, 2, 24, dropout=0, batch_first=True).double()
    weights_from(ours, theirs)
    x = torch.randn(6, 16, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x[:, None])[:, 0])


def test_a_layer_of_the_decoder_is_that_of_the_standard_transformer() -> None:
    torch.manual_seed(0)
    ours = DecoderLayer(16, 2, 24).double()
    theirs = nn.TransformerDecoderLayer(16, 2, 24, dropout=0, batch_first=True).double()
    weights_from(ours, theirs)
    x, memory = torch.randn(6, 5, 16).double(), torch.randn(6, 16).double()
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    expected = theirs(x, memory[:, None], tgt_mask=mask, tgt_is_causal=True)
    torch.testing.assert_close(ours(x, ours.cross_attention.of_one(memory)), expected)


def test_a_condition_sees_the_features_before_its_own(
    net: Transfusion, noise: Tensor, context: Tensor
) -> None:
    """Equation 9: all of u_0 … u_i-1, nothing else of u, and the context."""
    by_u, by_context = torch.autograd.functional.jacobian(
        lambda u, c: net(u, c).square().sum((0, 2)), (noise, context)
    )
    seen = by_u.abs().sum(1) > 0  # (condition, feature)
    assert torch.equal(seen, torch.ones(LAYERS, LAYERS).tril(-1).bool())
    assert (by_context != 0).all()


def test_a_condition_knows_its_position(net: Transfusion, context: Tensor) -> None:
    """Also where no feature tells."""
    conditions = net(torch.zeros(6, LAYERS, dtype=torch.float64), context)
    distance = torch.cdist(conditions, conditions) + torch.eye(LAYERS)
    assert (distance > 1e-2).all()


def test_the_loss_reaches_all_that_can_matter(
    net: Transfusion, noise: Tensor, context: Tensor
) -> None:
    """All weights but queries and keys of attention to one token."""
    net.loss(noise, context, rng=torch.Generator().manual_seed(5)).backward()
    for name, weights in net.named_parameters():
        assert weights.grad is not None, name
        of_one = "encoder" in name or "cross" in name
        used = weights.grad[-16:] if of_one and "query_key_value" in name else weights.grad
        assert used.any(), name


def test_the_velocity_has_a_time_and_noise_for_each_feature(
    net: Transfusion, noise: Tensor, context: Tensor
) -> None:
    """The loss is the mean of (v(x(t), t, c_i) - (u_i - noise))^2 over n L independent samples."""
    loss = net.loss(noise, context, rng=torch.Generator().manual_seed(5))
    rng = torch.Generator().manual_seed(5)
    t = torch.rand(noise.numel(), generator=rng, dtype=torch.float64)
    start = torch.randn(noise.numel(), 1, generator=rng, dtype=torch.float64)
    end = noise.reshape(-1, 1)
    x = (1 - t)[:, None] * start + t[:, None] * end
    v = net.velocity(x, t, net(noise, context).reshape(len(t), -1))
    torch.testing.assert_close(loss, (v - (end - start)).square().mean())


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize("solver", ["euler-3", "midpoint-2", "rk4-2"])
def test_draws_are_those_without_cache(
    net: Transfusion, noise: Tensor, context: Tensor, solver: str
) -> None:
    """Each feature solves its own equation, given the features that are sampled already."""
    solve, u = make_solver(solver), torch.zeros_like(noise)
    with torch.no_grad():
        for i in range(LAYERS):
            here = slice(i, i + 1)
            u[:, here] = solve(net.velocity, noise[:, here], net(u, context)[:, i])
    torch.testing.assert_close(net.sample(solve, noise, context), u, **EXACT)
    net.velocity.prepare()
    torch.testing.assert_close(net.sample(solve, noise, context), u, **EXACT)


def test_a_prepared_velocity_is_the_plain_one(net: Transfusion) -> None:
    x, condition = torch.randn(9, 1).double(), torch.randn(9, 16).double()
    before = [weights.clone() for weights in net.parameters()]
    net.velocity.prepare()
    given = net.velocity.given(condition)
    for time in (0.0, 0.37, 1.0, 0.37):
        t, kept = torch.full((9,), time, dtype=torch.float64), x.clone()
        with torch.no_grad():
            torch.testing.assert_close(given(x, t, None), net.velocity(x, t, condition), **EXACT)
        assert torch.equal(x, kept)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_what_was_prepared_is_dropped_with_the_weights(
    net: Transfusion, noise: Tensor, context: Tensor
) -> None:
    solve = make_solver("euler-2")
    net.velocity.prepare()
    first = net.sample(solve, noise, context)
    other = network(layer_norm=len(net.velocity.middle[0]) > 1)
    net.load_state_dict(other.state_dict())
    assert not net.velocity.is_prepared
    torch.testing.assert_close(
        net.sample(solve, noise, context), other.sample(solve, noise, context), **EXACT
    )
    assert not torch.allclose(first, net.sample(solve, noise, context))
    net.velocity.prepare()
    assert not copy.deepcopy(net).velocity.is_prepared
    assert not net.train().velocity.is_prepared


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("n", [0, 1])
def test_a_draw_does_not_depend_on_its_batch(
    net: Transfusion, noise: Tensor, context: Tensor, n: int, prepared: bool
) -> None:
    solve = make_solver("midpoint-2")
    if prepared:
        net.velocity.prepare()
    alone = net.sample(solve, noise[:n], context[:n])
    assert alone.shape == (n, LAYERS)
    assert not alone.requires_grad
    torch.testing.assert_close(alone, net.sample(solve, noise, context)[:n], **EXACT)


def test_a_constant_velocity_moves_all_noise_alike(noise: Tensor, context: Tensor) -> None:
    net = network()
    nn.init.zeros_(net.velocity.last.weight)
    nn.init.constant_(net.velocity.last.bias, 0.75)
    net.velocity.prepare()
    torch.testing.assert_close(net.sample(make_solver("euler-3"), noise, context), noise + 0.75)


def test_it_learns_what_one_feature_says_of_the_next(context: Tensor) -> None:
    """u_0 = 2 c - 1 + noise / 2, u_1 = -u_0: mean and correlation come out of the samples."""
    torch.manual_seed(0)
    net = Transfusion(2, **{**SMALL, "layers": 1, "hidden": 32})
    rng = torch.Generator().manual_seed(6)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(250):
        c = torch.rand(256, 1, generator=rng)
        first = 2 * c - 1 + torch.randn(256, 1, generator=rng) / 2
        loss = net.loss(torch.cat([first, -first], 1), c, rng=rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    net.velocity.prepare()
    c = torch.rand(4000, 1, generator=rng)
    u = net.sample(make_solver("midpoint-8"), torch.randn(4000, 2, generator=rng), c)
    rest = u[:, :1] - (2 * c - 1)
    assert abs(float(rest.mean())) < 0.1
    assert float(rest.std()) == pytest.approx(0.5, abs=0.08)
    assert float(torch.corrcoef(u.t())[0, 1]) < -0.95
