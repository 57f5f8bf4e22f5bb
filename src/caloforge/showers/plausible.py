"""Impossible showers, named by their number; and values that seem to have another unit than MeV."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.geometry import Geometry, official_sample
from caloforge.units import GeV, TeV, eV, keV

__all__ = [
    "ImpossibleShowerError",
    "UnitsWarning",
    "check_entries",
    "check_incident",
    "check_units",
]

_FAR = 10  # factor beyond what is usual; that of a wrong unit is 1000
_STRAYS = 0.05  # fraction of a sample that may lie there at either end
_UNITS = {"GeV": GeV, "keV": keV, "TeV": TeV, "eV": eV}  # [MeV], the likelier first


class ImpossibleShowerError(ValueError):
    """A value that no shower can have.

    Args:
        shower: number of the first shower that has one.
        fault: what is wrong there; with the place in the shower ahead, if it has one.
    """

    def __init__(self, shower: int, fault: str) -> None:
        super().__init__(shower, fault)
        self.shower, self.fault = shower, fault

    def __str__(self) -> str:
        return f"shower {self.shower}{self.fault}"

    def counted_from(self, first: int) -> ImpossibleShowerError:
        """The same where the showers are counted from another one than the first."""
        return ImpossibleShowerError(self.shower + first, self.fault)


class UnitsWarning(UserWarning):
    """Energies look as if they were given in another unit than MeV."""


def check_incident(energy_inc: NDArray[np.floating[Any]]) -> None:
    """Refuse incident energies [MeV] that are not finite or not above 0.

    Raises:
        ImpossibleShowerError: naming the first.
    """
    # NaN fails every comparison, so two passes without a copy settle the good case.
    if not energy_inc.size or (energy_inc.min() > 0 and energy_inc.max() < np.inf):
        return
    first = int(np.flatnonzero(~(np.isfinite(energy_inc) & (energy_inc > 0)))[0])
    n, advice = len(energy_inc), "remove the broken showers before use"
    if n - first > 1 and not energy_inc[first:].any():
        advice = (
            f"it is 0 up to shower {n - 1}, as in a file that was reserved and never filled by a "
            "writer that died; make it again, or keep the showers before"
        )
    raise ImpossibleShowerError(
        first, f": energy_inc must be finite and above 0 [MeV], got {energy_inc[first]}: {advice}"
    )


def check_entries(
    name: str,
    values: NDArray[np.floating[Any]],
    offset: NDArray[np.int64],
    place: Callable[[int, int], str],
    *,
    unit: str = "MeV",
    positive: bool = True,
) -> None:
    """Refuse entries of showers that are not finite or, where they are energies, negative.

    Args:
        name: of the values.
        values: of all entries, shape (n_entries,).
        offset: first entry of each shower and, last, the number of entries, shape (n + 1,).
        place: says where an entry lies in its shower, from its number and that of its first one.
        unit: of the values.
        positive: refuse negative values.

    Raises:
        ImpossibleShowerError: naming shower and place of the first.
    """
    if not values.size:
        return
    low, high = values.min(), values.max()
    if low > -np.inf and high < np.inf and not (positive and low < 0):
        return
    wrong = ~np.isfinite(values)
    rule, advice = "be finite", "remove the broken showers before use"
    if not wrong.any():
        wrong = values < 0
        rule, advice = "not be negative", "set negative energies to 0 or remove the shower"
    entry = int(np.flatnonzero(wrong)[0])
    shower = int(np.searchsorted(offset, entry, side="right")) - 1
    where = place(entry, int(offset[shower]))
    raise ImpossibleShowerError(
        shower, f", {where}: {name} must {rule} [{unit}], got {values[entry]}: {advice}"
    )


def check_units(
    name: str,
    geometry: Geometry,
    energy_inc: NDArray[np.floating[Any]],
    deposited: ArrayLike | None = None,
    *,
    stacklevel: int = 3,
) -> None:
    """Warn where energies look as if they were given in another unit than MeV.

    That is where more than 5 % of the incident energies lie ten times below or above the range of
    the detector's official sample, if there is one, or all showers together deposit ten times
    their incident energies.

    Args:
        name: of the sample.
        geometry: of the showers.
        energy_inc: incident energies [MeV], above 0, shape (n,).
        deposited: energy in all voxels or points of each shower [MeV], shape (n,).
        stacklevel: of the warning, which is that of the caller's caller by default.

    Warns:
        UnitsWarning: naming the unit in which they would fit.
    """
    if not energy_inc.size:
        return
    energies = np.asarray(energy_inc, np.float64)
    low, high = np.quantile(energies, [_STRAYS, 1 - _STRAYS])
    said = []
    if official := official_sample(geometry):
        lowest, highest = official.energy_range
        if low < lowest / _FAR or high > highest * _FAR:
            said.append(
                f"incident energies are read in MeV, those of {energies.min():.4g} to "
                f"{energies.max():.4g} MeV lie far outside the {lowest:.4g} to {highest:.4g} MeV "
                f"of {geometry.name}: {_question(low, high, official.energy_range)}"
            )
    ratio = 0.0 if deposited is None else np.sum(deposited, dtype=np.float64) / energies.sum()
    if ratio > _FAR:
        said.append(
            f"showers deposit {ratio:.3g} times their incident energy, both read in MeV: is one of "
            "them in another unit?"
        )
    if said:
        warnings.warn(f"{name}: {' And '.join(said)}", UnitsWarning, stacklevel=stacklevel)


def _question(low: float, high: float, usual: tuple[float, float]) -> str:
    """The unit in which energies from low to high would fit, if any, as a question."""
    lowest, highest = usual
    for unit, size in _UNITS.items():
        if lowest <= low * size and high * size <= highest:
            return f"are they in {unit}?"
    return "check the unit and the geometry"
