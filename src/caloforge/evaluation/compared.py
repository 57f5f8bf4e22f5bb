"""The samples of one evaluation: all in voxels of one geometry, and fit to be compared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from caloforge.evaluation.comparison import EvaluationWarning, SmallSampleWarning
from caloforge.evaluation.observables import ShowerSource
from caloforge.evaluation.projection import PointSource, Projected, in_voxels
from caloforge.geometry import Geometry
from caloforge.showers import check_units

__all__ = ["REFERENCE", "Compared"]

REFERENCE = "Geant4"
FEW_SHOWERS = 1000
LOOKED_AT = 1000  # showers whose energies are compared with their incident ones


@dataclass(frozen=True, eq=False)
class Compared:
    """Showers in the voxels of one geometry.

    Args:
        reference: Geant4 showers.
        candidates: generated showers by name.
        other: a second sample of Geant4 showers.
    """

    reference: ShowerSource
    candidates: Mapping[str, ShowerSource]
    other: ShowerSource | None

    @classmethod
    def of(
        cls,
        reference: ShowerSource | PointSource,
        candidates: Mapping[str, ShowerSource | PointSource],
        other: ShowerSource | PointSource | None,
        geometry: Geometry | None,
    ) -> Compared:
        """Point clouds are projected into the geometry, or the reference's; then all are checked.

        Raises:
            ValueError: see `evaluate`.

        Warns:
            EvaluationWarning: see `evaluate`.
        """
        goal = reference.geometry if geometry is None else geometry
        made = cls(
            in_voxels(reference, goal),
            {name: in_voxels(showers, goal) for name, showers in candidates.items()},
            None if other is None else in_voxels(other, goal),
        )
        made._check(goal)
        return made

    @property
    def are_points(self) -> bool:
        """Whether all samples are projected point clouds."""
        others = () if self.other is None else (self.other,)
        every = (self.reference, *others, *self.candidates.values())
        return all(isinstance(showers, Projected) for showers in every)

    def _check(self, geometry: Geometry) -> None:
        if not self.candidates:
            raise ValueError("evaluate needs at least one candidate: candidates={'name': showers}")
        if REFERENCE in self.candidates:
            raise ValueError(f"{REFERENCE!r} names the reference: give the candidate another name")
        incident = np.asarray(self.reference.energy_inc)
        others = {} if self.other is None else {"other Geant4": self.other}
        for name, showers in {REFERENCE: self.reference, **others, **self.candidates}.items():
            if len(showers) < 20:
                raise ValueError(
                    f"{name} has {len(showers)} showers, a comparison needs 20 or more"
                )
            if showers.geometry != geometry:
                raise ValueError(
                    f"{name} has showers of {showers.geometry.name}, they are to be compared in "
                    f"{geometry.name}: compare samples of the same voxels"
                )
            found = np.asarray(showers.energy_inc)
            if getattr(showers, "path", None) is None:  # a file that is read checks itself
                few = showers[:LOOKED_AT]
                check_units(name, geometry, few.energy_inc, few.total_energy())
            if name in self.candidates and others and np.array_equal(incident, found):
                _warn(
                    f"{name} has the incident energies of the reference, shower by shower: its "
                    "values lack a fluctuation that the floor has, and may lie below it; generate "
                    "with other energies of the same spectrum, or leave the other Geant4 showers "
                    "out"
                )
            if ks_2samp(incident, found).pvalue < 1e-4:
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


def _warn(text: str, kind: type[EvaluationWarning] = EvaluationWarning) -> None:
    warnings.warn(text, kind, stacklevel=5)  # of whoever calls `evaluate`
