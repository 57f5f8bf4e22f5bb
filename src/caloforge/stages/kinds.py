"""Kinds of particles among the showers of a bank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from caloforge.pdg import kinds_of

__all__ = ["APART", "Kinds"]

APART = 1e3  # in units of the distance between neighbours of one kind


class Kinds:
    """Kinds of the particles of a bank, so far apart that neighbours are of one kind.

    Args:
        pdg: codes of all particles of the bank, shape (n,).
    """

    def __init__(self, pdg: NDArray[np.int32]) -> None:
        self.codes = np.unique(pdg)

    def __len__(self) -> int:
        return len(self.codes)

    def place(self, pdg: NDArray[np.int32]) -> NDArray[np.float64]:
        """Where particles lie along a coordinate of kinds, shape (n,).

        A bank of one kind stands for any.

        Args:
            pdg: their codes, shape (n,).

        Raises:
            ValueError: for a kind that a bank of several does not hold.
        """
        if len(self) == 1:
            return np.zeros(len(pdg))
        others = ~np.isin(pdg, self.codes)
        if others.any():
            raise ValueError(
                f"the training showers are of {kinds_of(self.codes)}, got "
                f"{kinds_of(np.unique(pdg[others]))}: say which of them, as in "
                'Particles(energies, pdg="gamma")'
            )
        return np.asarray(APART * np.searchsorted(self.codes, pdg))

    @staticmethod
    def same(distance: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many of the nearest are of the same kind, at least one, shape (n,).

        Args:
            distance: to each of them, shape (n, neighbours).
        """
        return np.asarray((distance < APART / 2).sum(1).clip(1))
