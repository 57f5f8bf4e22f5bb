"""Images of hits in one step: how likely they are, and samples of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from caloforge.matching import DrawnHits, hit_spread

SHAPE = (4, 5, 6)  # voxels


def sampled(probability: float, mean: float, std: float) -> DrawnHits:
    """A solver of voxels that are all alike."""
    ends = torch.tensor([2 * probability - 1, probability * mean])[:, None, None, None]
    return DrawnHits(lambda x, times, context: ends - x, lambda: torch.tensor(std))


def still(x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
    raise AssertionError("nothing follows the velocity")


def fresh(*shape: int) -> Tensor:
    return torch.randn(500, *shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("probability", [0.002, 0.1, 0.5, 0.97])
def test_hits_are_drawn_as_often_as_they_are_likely(
    probability: float, generator: torch.Generator
) -> None:
    noise = torch.randn(500, 2, *SHAPE, generator=generator)
    bit, energy = sampled(probability, 0.3, 0.5)(still, noise, None, fresh).unbind(1)
    hit = bit > 0
    n = hit.numel()
    spread = math.sqrt(n * probability * (1 - probability))
    assert hit.sum().item() == pytest.approx(n * probability, abs=4 * spread)
    assert energy[~hit].eq(0).all()
    of_hits = energy[hit].double()
    error = 0.5 / math.sqrt(len(of_hits))
    assert of_hits.mean().item() == pytest.approx(0.3, abs=4 * error)
    assert of_hits.std().item() == pytest.approx(0.5, abs=4 * error)


def test_draws_do_not_follow_the_size_of_the_noise(generator: torch.Generator) -> None:
    """A network that knows the noise cannot know what is sampled."""
    noise = torch.randn(500, 2, *SHAPE, generator=generator)
    image = sampled(0.5, 0.0, 1.0)(still, noise, None, fresh)
    hit = image[:, 0] > 0
    seen = [noise[:, 0].flatten(), noise[:, 0].abs().flatten(), noise[:, 1].flatten()]
    bits = torch.stack([hit.float().flatten(), *seen])
    assert torch.corrcoef(bits)[0, 1:].abs().max() < 4 / math.sqrt(hit.numel())
    energies = torch.stack([image[:, 1][hit], noise[:, 0][hit], noise[:, 1][hit]])
    assert torch.corrcoef(energies)[0, 1:].abs().max() < 4 / math.sqrt(int(hit.sum()))


def test_the_same_noise_gives_the_same_image(generator: torch.Generator) -> None:
    noise = torch.randn(500, 2, *SHAPE, generator=generator)
    solver = sampled(0.3, 0.0, 1.0)
    assert solver(still, noise, None, fresh).equal(solver(still, noise, None, fresh))
    assert solver.n_evaluations == 1
    with pytest.raises(ValueError, match="at random"):
        solver(still, noise)


def test_the_largest_bit_of_an_empty_image_is_unique(generator: torch.Generator) -> None:
    noise = torch.randn(500, 2, *SHAPE, generator=generator)
    bit = sampled(0.0, 0.0, 1.0)(still, noise, None, fresh)[:, 0].flatten(1)
    assert (bit < 0).all()
    assert ((bit == bit.amax(1, keepdim=True)).sum(1) < 3).all()


def test_the_spread_of_what_was_drawn_is_found_again(generator: torch.Generator) -> None:
    noise = torch.randn(500, 2, *SHAPE, generator=generator)
    image = sampled(0.2, 0.4, 0.7)(still, noise, None, fresh)
    mean = torch.tensor([2 * 0.2 - 1, 0.2 * 0.4])[:, None, None, None].expand_as(image)
    error = 0.7 / math.sqrt(2 * int((image[:, 0] > 0).sum()))
    assert hit_spread(mean, image).item() == pytest.approx(0.7, abs=4 * error)
