"""Multi-head attention, through PyTorch's fused kernels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from caloforge.nets.linear import Linear

__all__ = ["Attention", "Past"]


class Attention(nn.Module):
    """Multi-head attention, softmax(Q K^T / sqrt(dim / heads)) V, with biases.

    Args:
        dim: features of a token.
        heads: number of heads, which divides dim.

    Raises:
        ValueError: if it does not.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} features: choose others")
        self.heads = heads
        self.query_key_value = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)

    def forward(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """Tokens that have seen each other, shape (n, tokens, dim).

        Args:
            x: shape (n, tokens, dim).
            causal: whether a token sees itself and those before it alone.
        """
        return self.attend(*self.project(x), causal=causal)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, shape (n, heads, tokens, dim / heads) each."""
        split = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False) -> Tensor:
        """What the queries find among keys and values, shape (n, tokens, dim)."""
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        mixed: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return mixed

    def past(self, x: Tensor, tokens: int) -> Past:
        """Space for so many tokens of the batch, device and precision of x (n, ...)."""
        dim = self.out.in_features
        shape = (len(x), self.heads, tokens, dim // self.heads)
        return Past(x.new_empty(shape), x.new_empty(shape))

    def next(self, x: Tensor, past: Past) -> Tensor:
        """What causal attention gives for the next token, shape (n, 1, dim).

        Args:
            x: the token, shape (n, 1, dim).
            past: of those before it, to which it is added.
        """
        query, key, value = self.project(x)
        return self.attend(query, *past.extend(key, value))

    def of_one(self, x: Tensor) -> Tensor:
        """What any query finds where there is one token alone, shape (n, dim).

        The softmax over one entry is 1, whatever the query and the key.

        Args:
            x: the token, shape (n, dim).
        """
        _, _, weight = self.query_key_value.weight.chunk(3)
        _, _, bias = self.query_key_value.bias.chunk(3)
        mixed: Tensor = self.out(functional.linear(x, weight, bias))
        return mixed


@dataclass(eq=False)
class Past:
    """Keys and values of the tokens so far, which attention needs again for the next one.

    Args:
        keys: space for all, shape (n, heads, tokens, dim / heads).
        values: likewise.
        length: how many tokens there are so far.
    """

    keys: Tensor
    values: Tensor
    length: int = 0

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add a token, shape (n, heads, 1, dim / heads), and get all so far."""
        here = slice(self.length, self.length + 1)
        self.keys[:, :, here], self.values[:, :, here] = key, value
        self.length += 1
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]
