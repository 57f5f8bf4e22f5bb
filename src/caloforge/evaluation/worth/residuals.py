"""Observables of showers, with what the incident particle explains taken out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from caloforge.evaluation.conditions import angles
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.tails import shower_quantities
from caloforge.rounding import is_rounding
from caloforge.showers import Particles

__all__ = ["OBSERVABLES", "POINTS", "residuals", "shower_observables", "slices"]

OBSERVABLES = {
    "response": "visible / incident energy",
    "depth": "depth [layers]",
    "width": "length [layers]",
    "radius": "mean radius [mm]",
    "hits": "voxels with energy",
}
POINTS = "points"
SINGULAR = 1e-9  # of the largest variance, below which a combination is constant
SMALLEST = 0.1  # of the mean spread that a fitted spread may fall to


def shower_observables(sample: Sample, *, of_points: bool) -> dict[str, Floats]:
    """Response, depth, width in depth, mean radius and hits of each shower, arrays (n,).

    Args:
        sample: the showers.
        of_points: whether the number of points of a cloud joins in.
    """
    found = shower_quantities(sample)
    chosen = {name: found[title] for name, title in OBSERVABLES.items()}
    if of_points and sample.clouds is not None:
        chosen[POINTS] = np.asarray(sample.clouds.features["n_points"], np.float64)
    return chosen


def residuals(
    reference: Mapping[str, Floats],
    candidate: Mapping[str, Floats],
    of_reference: Particles,
    of_candidate: Particles,
) -> tuple[Floats, Floats]:
    r"""Observables of one cell, without their dependence on energy and angle.

    .. math:: t = \frac{o - m}{s}, \quad m = m_0 + m_1 l + m_2 l^2 + m_3 \vartheta, \quad
        s = s_0 + s_1 l

    with the logarithm l of the incident energy and the angle to the depth axis
    :math:`\vartheta`; m is fitted to the reference's o, s to its :math:`|o - m|`, and both samples
    are changed by these. Beyond the reference's range, the fits keep the value at its end.

    Args:
        reference: observables of the reference in the cell, arrays (n,).
        candidate: those of the candidate, arrays (m,).
        of_reference: the reference's particles.
        of_candidate: the candidate's.

    Returns:
        Shapes (observables, n) and (observables, m); NaN for an observable that is constant.
    """
    energy, angle = (_in_range(of(of_reference), of(of_candidate)) for of in (_log_energy, angles))
    found: tuple[list[Floats], list[Floats]] = [], []
    for name, values in reference.items():
        known = np.isfinite(values)
        mean_terms, spread_terms = (
            [np.stack([*terms], axis=1) for terms in zip(*sides, strict=True)]
            for sides in (
                [*_powers(energy, 2), angle],
                _powers(energy, 1),
            )
        )
        mean = _fit(mean_terms[0][known], values[known])
        off = np.abs(values - mean_terms[0] @ mean)
        spread = _fit(spread_terms[0][known], off[known])
        mean_off = off[known].mean() if known.any() else np.nan
        if is_rounding(mean_off, np.abs(values[known]).max(initial=0)):  # it is constant
            mean_off = np.nan
        for side, observed, of_mean, of_spread in zip(
            found, (values, candidate[name]), mean_terms, spread_terms, strict=True
        ):
            width = np.maximum(of_spread @ spread, SMALLEST * mean_off)
            with np.errstate(invalid="ignore", divide="ignore"):
                side.append((observed - of_mean @ mean) / width)
    return np.array(found[0]), np.array(found[1])


def slices(reference: Floats, candidate: Floats, directions: Floats) -> tuple[Floats, Floats]:
    """Several observables at once, projected onto lines.

    They are made uncorrelated and of unit variance with the reference's covariance first; those
    that are not determined are left out.

    Args:
        reference: shape (observables, n).
        candidate: shape (observables, m).
        directions: of the lines, shape (lines, observables).

    Returns:
        Shapes (lines, n) and (lines, m).
    """
    is_known = np.isfinite(reference).any(axis=1)
    first, second = reference[is_known], candidate[is_known]
    whole = first[:, np.isfinite(first).all(axis=0)]
    if not is_known.any() or whole.shape[1] < 2:
        nowhere = np.full((len(directions), 1), np.nan)
        return np.tile(nowhere, reference.shape[1]), np.tile(nowhere, candidate.shape[1])
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(whole)))
    is_varied = values > values.max() * SINGULAR
    vectors = vectors[:, is_varied]
    along = directions[:, is_known] @ (vectors / np.sqrt(values[is_varied])) @ vectors.T
    return along @ first, along @ second


def _log_energy(particles: Particles) -> Floats:
    return np.log(np.asarray(particles.energy, np.float64))


def _in_range(reference: Floats, candidate: Floats) -> tuple[Floats, Floats]:
    """Both from 0 at the reference's lowest value to 1 at its highest; 0 where it has but one."""
    low, high = reference.min(), reference.max()
    length = high - low or 1.0
    return (reference - low) / length, (candidate.clip(low, high) - low) / length


def _powers(sides: tuple[Floats, Floats], highest: int) -> list[tuple[Floats, Floats]]:
    first, second = sides
    return [(first**power, second**power) for power in range(highest + 1)]


def _fit(terms: Floats, values: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(terms, values)[0])
