"""The random numbers of showers: they follow from a seed and a shower's number alone."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from caloforge.upload import upload

__all__ = ["Branch", "Noise", "Seeds", "batch_rng", "numpy_rng"]

Noise = dict[str, Tensor]
"""The random numbers of a batch of showers by name, the same whatever else is in the batch."""

WORDS = 3  # of 64 bits that a generator begins with
GOLDEN = 0x9E3779B97F4A7C15  # increment of SplitMix64
_GOLDEN, _ONE = np.uint64(GOLDEN), np.uint64(1)
Keys = NDArray[np.uint64]


class Branch(IntEnum):
    """What random numbers are for: with one seed, no two of these share any."""

    GENERATION = 0
    UPSAMPLING = 1
    DENSITY = 2
    SOLVERS = 3  # bespoke ones, and the showers that they are fitted on
    SPECTRUM = 4
    CLOUDS = 5
    HITS = 6
    SCORES = 7


@dataclass(frozen=True, eq=False)
class Seeds:
    """A key for each shower of a batch, of which all its random numbers are made.

    Every shower has a generator of its own (SFC64 of numpy), so that its numbers depend neither on
    the batch that it is in, nor on the process or device.

    Args:
        source: gives the keys, when they are first asked for: most stages never ask.
        device: where the numbers are wanted.
    """

    source: Callable[[], Keys]
    device: torch.device | str = "cpu"

    @cached_property
    def keys(self) -> Keys:
        """The keys of the showers, shape (n,), unsigned integers of 64 bits."""
        return self.source()

    @classmethod
    def of(
        cls,
        seed: int,
        numbers: ArrayLike,
        device: torch.device | str = "cpu",
        branch: Branch = Branch.GENERATION,
    ) -> Seeds:
        """The keys of showers.

        Args:
            seed: of the whole sample, 0 or more.
            numbers: of the showers in the sample, shape (n,).
            device: where the numbers are wanted.
            branch: what the random numbers are for.
        """
        sequence = np.random.SeedSequence(seed, spawn_key=(branch,))
        begin: Keys = sequence.generate_state(1, np.uint64).astype(np.uint64)
        return cls(lambda: _mixed(begin, np.asarray(numbers, dtype=np.uint64)), device)

    @classmethod
    def of_keys(cls, keys: Tensor, device: torch.device | str = "cpu") -> Seeds:
        """The inverse of `as_tensor`, for numbers that are wanted on a device."""
        return cls(lambda: keys.numpy().view(np.uint64), device)

    def as_tensor(self) -> Tensor:
        """The keys as integers with a sign, which stay in main memory, shape (n,)."""
        return torch.from_numpy(self.keys.view(np.int64))

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: Any) -> Seeds:
        """Those of some of the showers."""
        return Seeds(lambda: self.keys[rows], self.device)

    def branch(self, name: str | int) -> Seeds:
        """Other keys of the same showers, independent of these."""
        number = zlib.crc32(name.encode()) if isinstance(name, str) else name
        return Seeds(lambda: _mixed(self.keys, number), self.device)

    def repeat(self, times: int) -> Seeds:
        """So many showers in place of each, one after the other, with keys of their own."""
        if times == 1:
            return self
        copies = np.tile(np.arange(times, dtype=np.uint64), len(self))
        return Seeds(lambda: _mixed(self.branch("copies").keys.repeat(times), copies), self.device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, shape (n, *shape)."""
        return self._filled(np.ones(len(self), np.int64), shape, _normal)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from 0 to below 1, shape (n, *shape)."""
        return self._filled(np.ones(len(self), np.int64), shape, _uniform)

    def normals(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Standard normal numbers by name, shape (n, *shape), made in one run a shower."""
        sizes = [math.prod(shape) for shape in shapes.values()]
        parts = self.branch(" ".join(shapes)).normal(sum(sizes)).split(sizes, 1)
        return {n: z.reshape(-1, *shapes[n]) for n, z in zip(shapes, parts, strict=True)}

    def normal_rows(self, counts: Tensor, features: int) -> Tensor:
        """Standard normal numbers of all entries of showers, shape (sum of counts, features).

        Args:
            counts: entries of each shower, shape (n,).
            features: numbers of each entry.
        """
        return self._filled(counts.cpu().numpy(), (features,), _normal)

    def uniform_rows(self, counts: Tensor, features: int) -> Tensor:
        """Numbers from 0 to below 1, as `normal_rows`."""
        return self._filled(counts.cpu().numpy(), (features,), _uniform)

    def _filled(
        self,
        counts: NDArray[np.int64],
        shape: tuple[int, ...],
        fill: Callable[[np.random.Generator, NDArray[np.float32]], Any],
    ) -> Tensor:
        size = int(np.prod(shape, dtype=np.int64))
        ends = np.cumsum(counts) * size
        values = np.empty(int(ends[-1]) if len(ends) else 0, np.float32)
        bits = np.random.SFC64(0)
        generator, state = np.random.Generator(bits), bits.state
        begins: NDArray[np.uint64] = state["state"]["state"]
        words = _mixed(self.keys[:, None], np.arange(WORDS, dtype=np.uint64))
        state["has_uint32"] = 0
        begin = 0
        for key, end in zip(words, ends.tolist(), strict=True):
            begins[:WORDS], begins[WORDS] = key, 1
            bits.state = state
            fill(generator, values[begin:end])
            begin = end
        return upload(torch.from_numpy(values).reshape(int(counts.sum()), *shape), self.device)


def _normal(generator: np.random.Generator, values: NDArray[np.float32]) -> None:
    generator.standard_normal(dtype=np.float32, out=values)


def _uniform(generator: np.random.Generator, values: NDArray[np.float32]) -> None:
    generator.random(dtype=np.float32, out=values)


def _mixed(key: Keys, number: Keys | int) -> Keys:
    """Keys that differ wherever one of both does: SplitMix64 (Steele et al., OOPSLA 2014)."""
    if isinstance(number, int):  # numpy warns of scalars that wrap around, not of arrays
        step: Keys | np.uint64 = np.uint64((number + 1) * GOLDEN % 2**64)
    else:
        step = (number + _ONE) * _GOLDEN
    return _scrambled(_scrambled(key + _GOLDEN) + step)


def _scrambled(z: Keys) -> Keys:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def batch_rng(
    seed: int,
    number: int,
    device: torch.device | str = "cpu",
    *,
    branch: Branch = Branch.GENERATION,
) -> torch.Generator:
    """The generator of one batch: independent of all others, so that any batch can be redone.

    Args:
        seed: any number from 0.
        number: of the batch.
        device: of the generator.
        branch: what the random numbers are for.
    """
    key = (number,) if branch == Branch.GENERATION else (number, branch)
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) & (2**63 - 1))


def numpy_rng(rng: torch.Generator) -> np.random.Generator:
    """A generator of numpy that one of torch begins."""
    seed = torch.randint(2**63 - 1, (1,), generator=rng, device=rng.device)
    return np.random.default_rng(int(seed))
