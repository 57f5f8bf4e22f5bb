"""The transfusion network: an autoregressive transformer before a velocity of one number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from caloforge.matching import Solver, Velocity, matching_loss
from caloforge.nets.attention import Attention, Past
from caloforge.nets.preparable import Preparable
from caloforge.nets.waves import Waves

__all__ = ["Transfusion"]

TIMES = 1024  # of solvers, whose part of the first layer is kept


class EncoderLayer(nn.Module):
    """A layer of the encoder, x' = norm(x + attention(x)), norm(x' + dense(x')), for one token."""

    def __init__(self, dim: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.dense = _dense(dim, feed_forward)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, dim) for x of shape (n, dim)."""
        attended, fed = self.norms
        x = attended(x + self.attention.of_one(x))
        out: Tensor = fed(x + self.dense(x))
        return out


class DecoderLayer(nn.Module):
    """A layer of the decoder: attention to tokens before, to the encoder's one, a dense network."""

    def __init__(self, dim: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.cross_attention = Attention(dim, heads)
        self.dense = _dense(dim, feed_forward)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x: Tensor, found: Tensor, past: Past | None = None) -> Tensor:
        """Shape (n, tokens, dim).

        Args:
            x: all tokens, or with a past the next one alone, shape (n, tokens, dim).
            found: of `cross_attention` in the encoder's token, shape (n, dim).
            past: keys and values of the tokens before, which gets those of x.
        """
        attended, crossed, fed = self.norms
        seen = self.attention(x, causal=True) if past is None else self.attention.next(x, past)
        x = crossed(attended(x + seen) + found[:, None])
        out: Tensor = fed(x + self.dense(x))
        return out


class ScalarVelocity(Preparable):
    """A velocity v(x, t, condition) of one number x, as a dense network with SiLU.

    Args:
        condition: features of the condition, and of the embedded time.
        hidden: width.
        layers: linear layers.
        layer_norm: whether layer norms follow those from hidden to hidden.

    Raises:
        ValueError: for less than two layers.
    """

    def __init__(self, condition: int, hidden: int, layers: int, *, layer_norm: bool) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"a velocity network has 2 linear layers or more, got {layers}")
        self.time = nn.Sequential(Waves(condition), nn.Linear(condition, condition))
        self.first = nn.Linear(1 + 2 * condition, hidden)
        self.middle = nn.ModuleList(
            nn.Sequential(
                nn.Linear(hidden, hidden), *([nn.LayerNorm(hidden)] if layer_norm else [])
            )
            for _ in range(layers - 2)
        )
        self.last = nn.Linear(hidden, 1)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        """The velocity, shape (n, 1).

        Args:
            x: shape (n, 1).
            t: shape (n,).
            condition: shape (n, condition).
        """
        assert condition is not None
        h = functional.silu(self.first(torch.cat([x, self.time(t), condition], 1)))
        for layer in self.middle:
            h = functional.silu(layer(h))
        velocity: Tensor = self.last(h)
        return velocity

    def given(self, condition: Tensor) -> Velocity:
        """The velocity of x (n, 1) where the condition (n, condition) is the same all along.

        Prepared, it is faster, for times that are the same for a whole batch.
        """
        if self._prepared is None:
            return lambda x, t, _: self(x, t, condition)
        prepared: Velocity = self._prepared(condition)
        return prepared

    @torch.no_grad()
    def prepare(self) -> None:
        """Split the first layer by what it sees, and lay out the weights for products of rows."""
        size = self.time[1].out_features
        of_x, of_time, of_condition = (
            part.contiguous() for part in self.first.weight.detach().t().split([1, size, size])
        )
        bias, last_bias, last = self.first.bias.detach(), *_columns(self.last)
        steps = []
        for layer in self.middle:
            linear, *norms = layer.children()
            assert isinstance(linear, nn.Linear)
            steps.append((*_columns(linear), norms))

        @lru_cache(TIMES)
        @torch.no_grad()
        def time_part(t: float) -> Tensor:
            embedded: Tensor = self.time(of_time.new_full((), t))
            part: Tensor = embedded @ of_time
            return part

        def given(condition: Tensor) -> Velocity:
            start = torch.addmm(bias, condition, of_condition)

            def at(x: Tensor, t: float) -> Tensor:
                h = torch.addmm(start, x, of_x).add_(time_part(t))
                for shift, weight, norms in steps:
                    h = torch.addmm(shift, functional.silu(h, inplace=True), weight)
                    for norm in norms:
                        h = norm(h)
                return torch.addmm(last_bias, functional.silu(h, inplace=True), last)

            return _AtOneTime(at)

        self._prepared = given


@dataclass(frozen=True)
class _AtOneTime:
    """A `TimedVelocity` whose condition is known."""

    velocity: Callable[[Tensor, float], Tensor]

    def __call__(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        return self.velocity(x, float(t[0]))

    def at(self, x: Tensor, t: float, context: Tensor | None = None) -> Tensor:
        return self.velocity(x, t)


class Transfusion(nn.Module):
    """Features u_0 … u_L-1 in order, each sampled by a velocity conditioned on those before it.

    A transformer, whose encoder sees the context and whose decoder sees the features, gives

        c_i = c_i(u_0 … u_i-1, context),   du_i / dt = v(u_i(t), t, c_i)

    with one velocity network for all features (CaloDREAM, section 3.1, equations 9 and 10, and
    figure 1; arXiv:2305.10475). The tokens are a number, a position as a one-hot vector, and zeros.
    Token i of the decoder holds u_i-1, and the first one none. Norms follow the residual sums, as
    in arXiv:1706.03762.

    The encoder has one token, the context, so that its attention and that to it are linear maps.

    Args:
        features: number L of features.
        dim: features of a token.
        heads: attention heads.
        layers: layers of encoder and decoder each.
        feed_forward: hidden width of a layer.
        hidden: width of the velocity network.
        hidden_layers: its linear layers.
        layer_norm: whether it has layer norms.

    Raises:
        ValueError: if a token is too short for a number and a position.
    """

    places: Tensor

    def __init__(
        self,
        features: int,
        *,
        dim: int,
        heads: int,
        layers: int,
        feed_forward: int,
        hidden: int,
        hidden_layers: int,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        if dim < 1 + features:
            raise ValueError(
                f"a token holds a number and which of {features} features it is: expected a dim "
                f"of {1 + features} or more, got {dim}"
            )
        self.features = features
        places = functional.pad(torch.eye(features), (1, dim - 1 - features))
        self.register_buffer("places", places, persistent=False)
        self.encoder = nn.ModuleList(EncoderLayer(dim, heads, feed_forward) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(dim, heads, feed_forward) for _ in range(layers))
        self.encoded, self.decoded = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.velocity = ScalarVelocity(dim, hidden, hidden_layers, layer_norm=layer_norm)

    def forward(self, u: Tensor, context: Tensor) -> Tensor:
        """All conditions c_i at once, shape (n, L, dim).

        Args:
            u: shape (n, L); the last feature conditions nothing.
            context: shape (n, 1).
        """
        x = _tokens(functional.pad(u[:, :-1], (1, 0)), self.places)
        for layer, found in zip(self._layers(), self._found(context), strict=True):
            x = layer(x, found)
        conditions: Tensor = self.decoded(x)
        return conditions

    def loss(self, u: Tensor, context: Tensor, *, rng: torch.Generator) -> Tensor:
        """Flow-matching loss, a scalar, with a time for each feature of each row.

        Args:
            u: shape (n, L).
            context: shape (n, 1).
            rng: source of times and noise.
        """
        conditions = self(u, context).flatten(0, 1)
        return matching_loss(self.velocity, u.reshape(-1, 1), conditions, rng=rng)

    @torch.no_grad()
    def sample(self, solver: Solver, noise: Tensor, context: Tensor) -> Tensor:
        """u(1) from u(0), feature by feature, shape (n, L).

        Args:
            solver: of each feature's velocity.
            noise: standard normal, shape (n, L).
            context: shape (n, 1).
        """
        u = torch.empty_like(noise)
        if not len(u):
            return u
        before = torch.zeros_like(noise[:, :1])
        layers = [
            (layer, found, layer.attention.past(noise, self.features))
            for layer, found in zip(self._layers(), self._found(context), strict=True)
        ]
        for i in range(self.features):
            here = slice(i, i + 1)
            x = _tokens(before, self.places[here])
            for layer, found, past in layers:
                x = layer(x, found, past)
            velocity = self.velocity.given(self.decoded(x)[:, 0])
            u[:, here] = before = solver(velocity, noise[:, here])
        return u

    def _layers(self) -> list[DecoderLayer]:
        return list(self.decoder)  # type: ignore[arg-type]

    def _found(self, context: Tensor) -> list[Tensor]:
        """What each layer of the decoder finds in the encoder's token, shape (n, dim) each."""
        x = _tokens(context, self.places[:1])[:, 0]
        for layer in self.encoder:
            x = layer(x)
        x = self.encoded(x)
        return [layer.cross_attention.of_one(x) for layer in self._layers()]


def _tokens(numbers: Tensor, places: Tensor) -> Tensor:
    """Shape (n, tokens, dim) from numbers (n, tokens) and places (tokens, dim)."""
    return functional.pad(numbers[..., None], (0, places.shape[1] - 1)) + places


def _dense(dim: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))


def _columns(linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Bias, and weights (in, out) in the order that products with few rows read fastest."""
    return linear.bias.detach(), linear.weight.detach().t().contiguous()
