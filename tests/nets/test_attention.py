"""Attention: its formula, and the same result token by token or of one token alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from caloforge.nets import Attention

DIM, HEADS, TOKENS = 12, 3, 5


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    return Attention(DIM, HEADS).double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(
        4, TOKENS, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )


@pytest.mark.parametrize("causal", [False, True])
def test_it_is_the_formula(attention: Attention, x: Tensor, causal: bool) -> None:
    """Head by head, softmax(Q K^T / sqrt(dim / heads)) V."""
    query, key, value = attention.query_key_value(x).chunk(3, -1)
    size, heads = DIM // HEADS, []
    for head in range(HEADS):
        q, k, v = (part[..., head * size : (head + 1) * size] for part in (query, key, value))
        scores = q @ k.transpose(1, 2) / math.sqrt(size)
        if causal:
            future = torch.triu(torch.ones(TOKENS, TOKENS, dtype=torch.bool), 1)
            scores = scores.masked_fill(future, -math.inf)
        heads.append(scores.softmax(-1) @ v)
    torch.testing.assert_close(attention(x, causal=causal), attention.out(torch.cat(heads, -1)))


def test_a_causal_token_sees_itself_and_those_before(attention: Attention, x: Tensor) -> None:
    jacobian = torch.autograd.functional.jacobian(
        lambda x: attention(x, causal=True).sum((0, 2)), x
    )
    seen = jacobian.abs().sum((1, 3)) > 0  # (output, input)
    assert torch.equal(seen, torch.ones(TOKENS, TOKENS).tril().bool())


def test_token_by_token_it_is_causal_attention(attention: Attention, x: Tensor) -> None:
    past = attention.past(x, TOKENS)
    found = [attention.next(x[:, i : i + 1], past) for i in range(TOKENS)]
    torch.testing.assert_close(torch.cat(found, 1), attention(x, causal=True))
    assert past.length == TOKENS


def test_there_is_nothing_to_choose_among_one_token(attention: Attention, x: Tensor) -> None:
    one = x[:, :1]
    torch.testing.assert_close(attention.of_one(one[:, 0]), attention(one)[:, 0])
    # whatever asks
    query, _, _ = attention.project(x)
    _, key, value = attention.project(one)
    found = attention.attend(query, key, value)
    torch.testing.assert_close(found, attention.of_one(one[:, 0])[:, None].expand_as(found))


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide 12 features"):
        Attention(12, 5)
