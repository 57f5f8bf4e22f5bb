"""How many generated showers are copies of training showers."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from caloforge.evaluation.comparison import Columns, Comparison, Metric
from caloforge.evaluation.metrics.undetermined import undetermined
from caloforge.evaluation.nearest import nearest_training
from caloforge.evaluation.observables import Floats, ShowerSource
from caloforge.evaluation.projection import PointSource
from caloforge.evaluation.sample import Sample

__all__ = ["Copies", "copied"]

N_PEERS = 100  # Geant4 showers of similar energy, whose median distance is the unit
COPY = 0.1  # of that unit, within which a shower is a copy
RARE = 0.01  # fraction of Geant4 showers that lie as near as what counts as near


class Copies(Metric):
    """Distances to the nearest training showers, relative to those of Geant4, see `copied`.

    A whole sample is compared with *all* training showers, so a larger training sample has more
    near neighbours for generated and for Geant4 showers alike.

    Args:
        reference: Geant4 showers that no system was trained on.
        threshold: read-out threshold [MeV].
        training: the showers that the systems were trained on.
    """

    name = "copies"
    repeats = 10

    def __init__(
        self, reference: Sample, threshold: float, training: ShowerSource | PointSource
    ) -> None:
        self.threshold, self.training = threshold, training

    def columns(self, sample: Sample) -> Columns:
        """Distance to the nearest training shower, and incident energy [MeV], shape (n,)."""
        assert self.training is not None
        found = nearest_training(sample.source, self.training, threshold=self.threshold)
        return {"distance": found.distance, "energy_inc": np.asarray(sample.energy_inc)}

    def compare(self, reference: Columns, candidate: Columns, seed: int) -> Comparison:
        """Fraction of copies and of near copies, and the median ratio of distances."""
        names = ("energy_inc", "distance")
        return Comparison(
            copied(*(side[name] for side in (reference, candidate) for name in names))
        )


def copied(
    reference_energy: Floats, reference: Floats, candidate_energy: Floats, candidate: Floats
) -> dict[str, float]:
    r"""Compare the distances of generated and of Geant4 showers to their nearest training showers.

    .. math:: r = d \,/\, \mathrm{median}\, d_\mathrm{Geant4}(E_\mathrm{inc})

    with the median over the hundred Geant4 showers of nearest incident energy, as showers of high
    energy are more like each other. Showers without a distance are left out.

    Args:
        reference_energy: incident energies of Geant4 showers [MeV], shape (n,).
        reference: their distances, see `nearest_training`, shape (n,).
        candidate_energy: incident energies of generated showers [MeV], shape (m,).
        candidate: their distances, shape (m,).

    Returns:
        ``exact``, the fraction of showers with r < 0.1: no two Geant4 showers are as near;
        ``near``, the fraction nearer than all but 1 % of Geant4's, copies among them; ``ratio``,
        the median r. All are NaN, with a warning, if Geant4's showers are training showers
        themselves.
    """
    keep, kept = np.isfinite(reference), np.isfinite(candidate)
    energy, distance = reference_energy[keep], reference[keep]
    if not kept.any() or not keep.any():
        nan = undetermined("the fraction of copies", "no shower has ten voxels or points")
        return dict.fromkeys(("exact", "near", "ratio"), nan)
    order = np.argsort(energy)
    energy, distance = energy[order], distance[order]
    k = min(N_PEERS, len(energy))
    median = np.median(sliding_window_view(distance, k), axis=1)

    def unit(energies: Floats) -> Floats:
        first = np.searchsorted(energy, energies) - k // 2
        return np.asarray(median[first.clip(0, len(median) - 1)])

    if not median.min() > 1e-3:
        nan = undetermined(
            "the fraction of copies",
            "showers of the reference are training showers: give others as reference",
        )
        return dict.fromkeys(("exact", "near", "ratio"), nan)
    of_geant4 = distance / unit(energy)
    ratio = candidate[kept] / unit(candidate_energy[kept])
    return {
        "exact": float(np.mean(ratio < COPY)),
        "near": float(np.mean(ratio < np.quantile(of_geant4, RARE))),
        "ratio": float(np.median(ratio)),
    }
