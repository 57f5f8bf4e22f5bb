"""The samples of one evaluation: all in voxels of one geometry, and fit to be compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from caloforge.evaluation.comparison import (
    EvaluationWarning,
    SharedShowersWarning,
    SmallSampleWarning,
)
from caloforge.evaluation.conditions import Cell
from caloforge.evaluation.copies import Chosen, Shared, find_shared, same_showers
from caloforge.evaluation.observables import Floats, ShowerSource
from caloforge.evaluation.projection import PointSource, Projected, in_voxels
from caloforge.geometry import Geometry
from caloforge.pdg import kinds_of
from caloforge.showers import Particles, check_units

__all__ = ["FEWEST_SHOWERS", "OTHER", "REFERENCE", "Compared"]

REFERENCE, OTHER = "Geant4", "other Geant4"
FEW_SHOWERS = 1000
LOOKED_AT = 1000  # showers whose energies are compared with their incident ones
FEWEST_SHOWERS = 20
_UNLIKELY = 1e-4  # chance of a difference between samples of one kind that is not reported
_DIGITS = 4  # of directions that are compared

Source = ShowerSource | PointSource


@dataclass(frozen=True, eq=False)
class Compared:
    """Showers in the voxels of one geometry.

    Args:
        reference: Geant4 showers, each once.
        candidates: generated showers by name.
        other: a second sample of Geant4 showers, none of which is in the first.
        training: showers that the candidates were trained on.
        shared: showers that the samples had in common when they were given.
    """

    reference: ShowerSource
    candidates: Mapping[str, ShowerSource]
    other: ShowerSource | None
    training: ShowerSource | None = None
    shared: tuple[Shared, ...] = ()

    @classmethod
    def of(
        cls,
        reference: Source,
        candidates: Mapping[str, Source],
        other: Source | None,
        geometry: Geometry | None,
        fingerprints: Callable[[ShowerSource], Floats],
        training: Source | None = None,
    ) -> Compared:
        """Point clouds are projected into the geometry, or the reference's; then all are checked.

        Raises:
            ValueError: see `evaluate`.

        Warns:
            EvaluationWarning: see `evaluate`.
        """
        if not candidates:
            raise ValueError("evaluate needs at least one candidate: candidates={'name': showers}")
        if taken := {REFERENCE, OTHER} & set(candidates):
            raise ValueError(
                f"{min(taken)!r} names the reference: give the candidate another name"
                if REFERENCE in taken
                else f"{OTHER!r} names the showers of the floor: give the candidate another name"
            )
        goal = reference.geometry if geometry is None else geometry
        given = {REFERENCE: reference, **({} if other is None else {OTHER: other}), **candidates}
        voxels = {name: in_voxels(showers, goal) for name, showers in given.items()}
        for name, showers in voxels.items():
            _check(name, showers, goal)
        trained_on = None if training is None else in_voxels(training, goal)
        if trained_on is not None:
            _check("the training sample", trained_on, goal)
        shared, chosen = _without_copies(voxels, fingerprints)
        for name, rows in chosen.items():
            voxels[name] = in_voxels(Chosen(given[name], rows), goal)
        made = cls(
            voxels[REFERENCE],
            {name: voxels[name] for name in candidates},
            voxels.get(OTHER),
            trained_on,
            shared,
        )
        made._warn_of_what_it_means()
        return made

    def within(self, cell: Cell) -> Compared:
        """The showers of a cell; candidates without enough of them are left out.

        Warns:
            EvaluationWarning: of a candidate that is left out.
        """
        parts = {name: _of_cell(showers, cell) for name, showers in self.candidates.items()}
        for name, part in parts.items():
            if len(part) < FEWEST_SHOWERS:
                _warn(
                    f"{name} has {len(part)} showers of {cell.label}, a comparison needs "
                    f"{FEWEST_SHOWERS} or more: its scores there are missing"
                )
        return Compared(
            _of_cell(self.reference, cell),
            {name: part for name, part in parts.items() if len(part) >= FEWEST_SHOWERS},
            None if self.other is None else _of_cell(self.other, cell),
            self.training,
        )

    @property
    def are_points(self) -> bool:
        """Whether all samples are projected point clouds."""
        others = () if self.other is None else (self.other,)
        every = (self.reference, *others, *self.candidates.values())
        return all(isinstance(showers, Projected) for showers in every)

    def _warn_of_what_it_means(self) -> None:
        """Warn of all that makes scores mean less than they seem to."""
        for copies in self.shared:
            _warn(copies.text, SharedShowersWarning)
        incident, reference = np.asarray(self.reference.energy_inc), self.reference.particles
        others = {} if self.other is None else {OTHER: self.other}
        for name, showers in {**others, **self.candidates}.items():
            found = np.asarray(showers.energy_inc)
            for difference in _differences(showers.particles, reference):
                _warn(
                    f"the incident particles of {name} are not those of the reference, {difference}"
                    ": compare showers of the same particles, or read the scores as those of both "
                    "differences together"
                )
            if name in self.candidates and others and np.array_equal(incident, found):
                _warn(
                    f"{name} has the incident energies of the reference, shower by shower: its "
                    "values lack a fluctuation that the floor has, and may lie below it; generate "
                    "with other energies of the same spectrum, or leave the other Geant4 showers "
                    "out"
                )
            if ks_2samp(incident, found).pvalue < _UNLIKELY:
                _warn(
                    f"the incident energies of {name} are not distributed as the reference's "
                    f"(means {found.mean():.4g} and {incident.mean():.4g} MeV): generate for the "
                    "reference's energies, or read the scores as those of both differences together"
                )
        n = len(self.reference)
        most = n // 2 if self.other is None else min(n, len(self.other))
        size = min(most, *map(len, self.candidates.values()))
        if size < FEW_SHOWERS:
            _warn(
                f"samples of {size} showers are compared with {size}: what is smaller than the "
                "floor cannot be seen; a reference of 2,000 showers or more and as many generated "
                "ones see more",
                SmallSampleWarning,
            )


def _of_cell(showers: ShowerSource, cell: Cell) -> ShowerSource:
    rows = cell.rows(showers.particles)
    if isinstance(showers, Projected):
        return Projected(Chosen(showers.points, rows), showers.geometry)
    return Chosen(showers, rows)


def _differences(particles: Particles, reference: Particles) -> Iterator[str]:
    """Differences in kind or direction, in words; unknown kinds count as the same."""
    if particles.kinds and reference.kinds and particles.kinds != reference.kinds:
        yield f"{kinds_of(particles.kinds)} in place of {kinds_of(reference.kinds)}"
    both = (particles.direction, reference.direction)
    axes = [direction.T.astype(np.float64).round(_DIGITS) for direction in both]
    if any(ks_2samp(*axis).pvalue < _UNLIKELY for axis in zip(*axes, strict=True)):
        means = (f"({', '.join(f'{x:.3g}' for x in axis.mean(axis=1))})" for axis in axes)
        yield "they fly along {} on average in place of {}".format(*means)


def _check(name: str, showers: ShowerSource, geometry: Geometry) -> None:
    if len(showers) < FEWEST_SHOWERS:
        raise ValueError(
            f"{name} has {len(showers)} showers, a comparison needs {FEWEST_SHOWERS} or more"
        )
    if showers.geometry != geometry:
        raise ValueError(
            f"{name} has showers of {showers.geometry.name}, they are to be compared in "
            f"{geometry.name}: compare samples of the same voxels"
        )
    if getattr(showers, "path", None) is None:  # a file that is read checks itself
        few = showers[:LOOKED_AT]
        check_units(name, geometry, few.energy_inc, few.total_energy())


def _without_copies(
    samples: Mapping[str, ShowerSource], fingerprints: Callable[[ShowerSource], Floats]
) -> tuple[tuple[Shared, ...], dict[str, NDArray[np.int64]]]:
    """What is shared, and which showers of the Geant4 samples that have copies are to be kept.

    The reference keeps the first of its copies, the other Geant4 showers the first of those that
    the reference has not: a floor between a shower and itself would be too low.

    Raises:
        ValueError: if too few are left.
    """
    numbers = same_showers({name: fingerprints(showers) for name, showers in samples.items()})
    shared = tuple(find_shared(numbers, _consequence))
    chosen: dict[str, NDArray[np.int64]] = {}
    known = np.empty(0, np.int64)
    for name in (REFERENCE, OTHER):
        if name not in numbers:
            break
        distinct, first = np.unique(numbers[name], return_index=True)
        rows = np.sort(first[~np.isin(distinct, known)])
        known = distinct
        if len(rows) < FEWEST_SHOWERS:
            reasons = "; ".join(found.text for found in shared if found.sample == name)
            remedy = "give an independent sample" + (
                ", or leave it out and let halves of the reference make the floor"
                if name == OTHER
                else ""
            )
            raise ValueError(
                f"of {name} {len(rows)} showers remain, a comparison needs {FEWEST_SHOWERS} or "
                f"more; {reasons}. Here {remedy}"
            )
        if len(rows) < len(numbers[name]):
            chosen[name] = rows
    return shared, chosen


def _consequence(sample: str, origin: str) -> str:
    """What follows where a sample holds showers of another one, or copies of its own."""
    if sample == OTHER and origin == REFERENCE:
        return "they are left out, as a floor between a shower and itself is too low"
    if sample in (REFERENCE, OTHER):
        return "each is counted once"
    if origin == sample:
        return "it has fewer independent showers than its errors assume"
    if origin in (REFERENCE, OTHER):
        return "they make its scores too good"
    return "their scores are not independent of each other"


def _warn(text: str, kind: type[EvaluationWarning] = EvaluationWarning) -> None:
    warnings.warn(text, kind, stacklevel=5)  # of the caller of `evaluate`
