"""What a system samples as it stands, for stages that are fitted on that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from caloforge.cascade.asked import asked_particles
from caloforge.cascade.quantities import Quantities
from caloforge.cascade.seeds import Branch, Seeds
from caloforge.showers import Particles, ShowerSource

if TYPE_CHECKING:
    from caloforge.cascade.system import System

__all__ = ["Draw"]


@dataclass(eq=False)
class Draw:
    """What a system samples as it stands; it is fitted to and discarded.

    Corrections that are not fitted yet, such as the one that asks, are left out.

    Args:
        system: the system, of which the stages that are sampled are trained and on the device.
        showers: the training sample, as Geant4 made it.
        seed: of what is sampled and chosen.
        device: where to compute.
        progress: called with showers done and showers wanted.

    Attributes:
        rng: chooses among what there is, showers or voxels.
    """

    system: System
    showers: ShowerSource[Any]
    seed: int
    device: str = "cpu"
    progress: Callable[[int, int], None] | None = None
    rng: np.random.Generator = field(init=False)
    _done: int = field(default=0, init=False)
    _wanted: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def some(self, most: int) -> NDArray[np.int64]:
        """Numbers of showers of the training sample, chosen at random, in order, shape (n,)."""
        return np.sort(self.rng.permutation(len(self.showers))[:most])

    def batches(
        self, particles: Particles, branch: Branch, *, size: int = 100, before: str | None = None
    ) -> Iterator[tuple[Seeds, Quantities]]:
        """Sample the quantities of particles, see `System.quantities`, with the seeds of each.

        Args:
            particles: the incident particles.
            branch: what the random numbers are for.
            size: particles of a batch.
            before: the stage to stop at; None for all.
        """
        asked = asked_particles(self.system, particles)
        seeds = Seeds.of(self.seed, np.arange(len(asked)), self.device, branch)
        for start in range(0, len(asked), size):
            part = slice(start, start + size)
            with torch.no_grad():
                found = self.system.quantities(asked[part], seeds=seeds[part], before=before)
            yield seeds[part], found

    def expect(self, showers: int) -> None:
        """So many showers are wanted, none of them is done."""
        self._done, self._wanted = 0, showers

    def count(self, showers: int) -> None:
        """So many more are done."""
        self._done += showers
        if showers and self.progress is not None:
            self.progress(self._done, self._wanted)

    @property
    def left(self) -> int:
        """Showers that are wanted and not done."""
        return self._wanted - self._done
