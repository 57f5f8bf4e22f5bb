"""The showers in the tails of a classifier's weights, and how they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_auc_score

from caloforge.evaluation.comparison import Outputs
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.peers import deviation_from_peers
from caloforge.evaluation.sample import Sample
from caloforge.showers import VoxelShowers
from caloforge.units import GeV

__all__ = ["Contrast", "Tail", "Tails", "find_tails", "shower_quantities", "shower_weights"]

SHARE = 0.05  # of the showers with a weight, that make a tail
SHOWN = 4  # showers of a tail that are kept themselves
N_PEERS = 100  # showers of similar incident energy that one is compared with
INCIDENT = "incident energy [GeV]"
LOW = 100  # read-out thresholds; 1.5 MeV in datasets 2 and 3, near the cut of equation 20


class Contrast(NamedTuple):
    """A quantity in a tail, compared with that of all showers of the sample that have a weight.

    Args:
        tail: its median in the tail.
        every: its median.
        shift: median distance of the tail's showers from those of similar incident energy, in their
            widths, see `deviation_from_peers`; of the incident energy itself, from all.
    """

    tail: float
    every: float
    shift: float


@dataclass(frozen=True, eq=False)
class Tail:
    """The twentieth of a sample's showers whose weights lie farthest out, those first.

    Args:
        rows: their numbers in the sample, shape (k,).
        weights: their weights, shape (k,).
        quantities: of each of them, see `shower_quantities`; arrays (k,).
        contrasts: how the quantities differ from all showers', by name.
        showers: the first few of them, without the voxels below the threshold.
    """

    rows: NDArray[np.int64]
    weights: Floats
    quantities: Mapping[str, Floats]
    contrasts: Mapping[str, Contrast]
    showers: VoxelShowers = field(repr=False)


@dataclass(frozen=True, eq=False)
class Tails:
    """Where a classifier finds a generator fail (CaloDREAM, section 4.5).

    Args:
        protocol: of the classifier.
        candidate: generated showers of smallest weight: Geant4 hardly makes them.
        reference: Geant4 showers of largest weight: the generator hardly makes them.
    """

    protocol: str
    candidate: Tail
    reference: Tail


def find_tails(outputs: Mapping[str, Outputs], reference: Sample, candidate: Sample) -> Tails:
    """The tails of the classifier that distinguishes the two samples best.

    Args:
        outputs: of the classifiers, by protocol.
        reference: observables of the Geant4 showers.
        candidate: observables of the generated showers.
    """
    protocol = max(outputs, key=lambda name: _auc(outputs[name]))
    found = outputs[protocol]
    generated = shower_weights(found.candidate, found.candidate_rows)
    geant4 = shower_weights(found.reference, found.reference_rows)
    return Tails(protocol, _tail(candidate, *generated, 1), _tail(reference, *geant4, -1))


def shower_weights(probability: ArrayLike, rows: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """Weight of each shower: the geometric mean over the trainings that have not seen it.

    Args:
        probability: outputs of all trainings, shape (n,).
        rows: number of the shower that each is of, shape (n,).

    Returns:
        Numbers of the showers that have a weight, and the weights, shape (m,) each.
    """
    from caloforge.evaluation.classifiers import classifier_weights  # needs torch

    numbers, place = np.unique(np.asarray(rows, np.int64), return_inverse=True)
    logarithm = np.log(classifier_weights(probability))
    return numbers, np.exp(np.bincount(place, logarithm) / np.bincount(place))


def shower_quantities(sample: Sample) -> dict[str, Floats]:
    """Observables for the comparison of showers by eye, by name with unit; arrays (n,).

    The incident energy, the fraction of it that is visible, the number of voxels with energy and
    the fraction of them below a hundred read-out thresholds (of the reference's lowest voxel
    energies, where there is none), the mean and the standard deviation of the depth, and the mean
    distance from the axis, the last three weighted with energy.
    """
    moments, spectrum, radial = sample.moments, sample.spectrum, sample.profiles["r"]
    n_hits = moments["occupancy"] * sample.geometry.n_voxels
    low = LOW * (sample.threshold or float(spectrum.edges[0]))
    is_low = spectrum.edges[1:] <= low
    with np.errstate(invalid="ignore"):
        return {
            INCIDENT: np.asarray(sample.energy_inc, np.float64) / GeV,
            "visible / incident energy": moments["energy_ratio"],
            "voxels with energy": n_hits,
            f"fraction of voxels below {low:.2g} MeV": spectrum.counts[:, is_low].sum(1) / n_hits,
            "depth [layers]": moments["z_mean"],
            "length [layers]": moments["z_std"],
            "mean radius [mm]": radial.energy @ radial.position / radial.energy.sum(1),
        }


def _tail(sample: Sample, numbers: NDArray[np.int64], weights: Floats, sign: int) -> Tail:
    """The showers of smallest weight; of largest for the sign -1."""
    size = min(len(numbers), max(SHOWN, round(SHARE * len(numbers))))
    chosen = np.argsort(sign * weights, kind="stable")[:size]
    rows = numbers[chosen]
    every = {name: of_all[numbers] for name, of_all in shower_quantities(sample).items()}
    return Tail(
        rows,
        weights[chosen],
        {name: values[chosen] for name, values in every.items()},
        dict(_contrasts(every, sample.energy_inc[numbers], chosen)),
        VoxelShowers.concatenate([sample.source[i : i + 1] for i in rows[:SHOWN].tolist()]).above(
            sample.threshold
        ),
    )


def _contrasts(
    every: Mapping[str, Floats], energy_inc: NDArray[np.floating[Any]], tail: NDArray[np.int64]
) -> Iterator[tuple[str, Contrast]]:
    """Of all showers and which of them are the tail's.

    Showers without a value, as an empty one without a depth, are left out.
    """
    like = np.log(np.asarray(energy_inc, np.float64))[:, None]
    for name, values in every.items():
        known = np.isfinite(values)
        mine = tail[known[tail]]
        middle = float(np.median(values[known])) if known.any() else np.nan
        if not len(mine):
            yield name, Contrast(np.nan, middle, np.nan)
            continue
        # the incident energy itself is compared with that of all
        peers = known.sum() if name == INCIDENT else N_PEERS
        shifts = deviation_from_peers(
            values[mine], like[mine], values[known], like[known], n_peers=peers
        )
        shift = np.median(shifts) if np.isfinite(shifts).all() else np.nan
        yield name, Contrast(float(np.median(values[mine])), middle, float(shift))


def _auc(outputs: Outputs) -> float:
    labels = np.repeat([1, 0], [len(outputs.reference), len(outputs.candidate)])
    return float(roc_auc_score(labels, np.concatenate([outputs.reference, outputs.candidate])))
