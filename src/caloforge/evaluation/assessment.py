"""Compare generated showers with Geant4's: every metric beside its floor."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from scipy.stats import ks_2samp

from caloforge import __version__
from caloforge.evaluation.comparison import (
    Columns,
    Draw,
    EvaluationWarning,
    Metric,
    SmallSampleWarning,
    draws,
)
from caloforge.evaluation.distances import Separation, Wasserstein
from caloforge.evaluation.observables import Floats, ShowerSource, stream
from caloforge.evaluation.sample import Sample, spectrum_edges
from caloforge.evaluation.scores import Score, Scores

__all__ = ["METRICS", "REFERENCE", "MetricName", "evaluate"]

MetricName = Literal["separation", "wasserstein", "classifier"]
METRICS: tuple[MetricName, ...] = ("separation", "wasserstein", "classifier")
REFERENCE = "Geant4"

FEW_SHOWERS = 1000
N_EVENTS = 8  # showers of each sample kept for the event display
Value = Floats | float


def evaluate(
    reference: ShowerSource,
    candidates: Mapping[str, ShowerSource],
    *,
    threshold: float | None = None,
    metrics: Iterable[MetricName] = METRICS,
    seed: int = 0,
) -> Scores:
    """Compare samples of generated showers with a reference of Geant4 showers.

    Every value is the mean over several draws of n reference and n candidate showers, its error
    the standard deviation over the draws; the floor is taken between those n and n other reference
    showers, so n is half of the reference or all of the candidate, whichever is less (see `draws`).
    A value at its floor means: with n showers no difference can be seen.

    Args:
        reference: Geant4 showers, in memory or an open file, which is read in a stream.
        candidates: generated showers of the same geometry by name; lengths may differ.
        threshold: read-out threshold [MeV] applied to all samples, by default the geometry's:
            voxels below it count as empty.
        metrics: which distances to take.
        seed: of the draws and of the classifiers.

    Returns:
        Scores by metric, observable and candidate, with the observables for figures.

    Raises:
        ValueError: without candidates, for an unknown metric, for different geometries, or for
            samples of less than 20 showers.

    Warns:
        SmallSampleWarning: if n is below 1,000.
        EvaluationWarning: if a candidate's incident energies are not distributed as the
            reference's.
    """
    chosen = tuple(metrics)
    _check(reference, candidates, chosen)
    _warn_of_few(len(reference), candidates)
    limit = reference.geometry.threshold if threshold is None else threshold
    edges = _spectrum_edges(reference, limit)
    energies = _event_energies(np.asarray(reference.energy_inc))
    sample = Sample.of(reference, threshold=limit, edges=edges, event_energies=energies)
    samples = {
        name: Sample.of(
            showers, threshold=limit, edges=edges, event_energies=sample.events.energy_inc
        )
        for name, showers in candidates.items()
    }
    values = [
        score
        for name in chosen
        for score in _scores(_metric(name, sample, limit), sample, samples, seed)
    ]
    provenance = {
        "reference": dict(sample.origin),
        "candidates": {name: dict(other.origin) for name, other in samples.items()},
        "geometry": sample.geometry.name,
        "threshold_MeV": limit,
        "metrics": list(chosen),
        "seed": seed,
        **_software(),
    }
    return Scores(tuple(values), sample, samples, provenance)


def _check(
    reference: ShowerSource, candidates: Mapping[str, ShowerSource], metrics: tuple[str, ...]
) -> None:
    if unknown := [name for name in metrics if name not in METRICS]:
        raise ValueError(f"metrics must be among {METRICS}, got {unknown}")
    if not candidates:
        raise ValueError("evaluate needs at least one candidate: candidates={'name': showers}")
    if REFERENCE in candidates:
        raise ValueError(f"{REFERENCE!r} names the reference: give the candidate another name")
    incident = np.asarray(reference.energy_inc)
    for name, showers in {REFERENCE: reference, **candidates}.items():
        if len(showers) < 20:
            raise ValueError(f"{name} has {len(showers)} showers, a comparison needs 20 or more")
        if showers.geometry != reference.geometry:
            raise ValueError(
                f"{name} has showers of {showers.geometry.name}, the reference has showers of "
                f"{reference.geometry.name}: compare samples of the same voxels"
            )
        other = np.asarray(showers.energy_inc)
        if ks_2samp(incident, other).pvalue < 1e-4:
            warnings.warn(
                f"the incident energies of {name} are not distributed as the reference's (means "
                f"{other.mean():.4g} and {incident.mean():.4g} MeV): generate for the reference's "
                "energies, or read the scores as those of both differences together",
                EvaluationWarning,
                stacklevel=3,
            )


def _warn_of_few(n_reference: int, candidates: Mapping[str, ShowerSource]) -> None:
    size = min(n_reference // 2, *(len(showers) for showers in candidates.values()))
    if size < FEW_SHOWERS:
        warnings.warn(
            f"samples of {size} showers are compared with {size}: what is smaller than the floor "
            "cannot be seen; a reference of 2,000 showers or more and as many generated ones see "
            "more",
            SmallSampleWarning,
            stacklevel=3,
        )


def _metric(name: MetricName, reference: Sample, threshold: float) -> Metric:
    if name == "separation":
        return Separation(reference, threshold)
    if name == "wasserstein":
        return Wasserstein(reference, threshold)
    from caloforge.evaluation.classifier import HighLevelClassifier

    return HighLevelClassifier(reference, threshold)


def _scores(
    metric: Metric, reference: Sample, candidates: Mapping[str, Sample], seed: int
) -> list[Score]:
    """Scores of one metric for all candidates; a floor is taken once for each sample size."""
    known = metric.columns(reference)
    floors: dict[int, dict[str, list[Value]]] = {}
    scores = []
    for name, sample in candidates.items():
        size = min(len(reference) // 2, len(sample), metric.max_size or len(sample))
        chosen = list(
            draws(
                len(reference),
                len(sample),
                size=size,
                repeats=metric.repeats,
                seed=seed,
                paired=np.array_equal(reference.energy_inc, sample.energy_inc),
            )
        )
        if size not in floors:
            floors[size] = _compare(metric, known, known, [(d, d.rest) for d in chosen])
        columns = metric.columns(sample)
        values = _compare(metric, known, columns, [(d, d.candidate) for d in chosen])
        scores += [
            _score(metric.name, observable, name, found, floors[size][observable], size)
            for observable, found in values.items()
        ]
    return scores


def _compare(
    metric: Metric, reference: Columns, candidate: Columns, rows: list[tuple[Draw, Any]]
) -> dict[str, list[Value]]:
    """Values of every draw, by observable."""
    found: dict[str, list[Value]] = {}
    for draw, others in rows:
        first = {name: column[draw.reference] for name, column in reference.items()}
        second = {name: column[others] for name, column in candidate.items()}
        for observable, value in metric.compare(first, second, draw.seed).items():
            found.setdefault(observable, []).append(value)
    return found


def _score(
    metric: str, observable: str, candidate: str, found: list[Value], floor: list[Value], size: int
) -> Score:
    value, error, layers = _mean_over_draws(found)
    floor_value, floor_error, floor_layers = _mean_over_draws(floor)
    return Score(
        metric=metric,
        observable=observable,
        candidate=candidate,
        value=value,
        error=error,
        floor=floor_value,
        floor_error=floor_error,
        n_showers=size,
        layers=layers,
        floor_layers=floor_layers,
    )


def _mean_over_draws(found: list[Value]) -> tuple[float, float, tuple[float, ...]]:
    """Mean and standard deviation over the draws, and the mean of each layer.

    Layers without a value are left out of the mean over layers.
    """
    values = np.asarray(found, dtype=np.float64)
    by_draw = values.reshape(len(values), -1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        means = np.nanmean(by_draw, axis=1)
        layers = np.nanmean(by_draw, axis=0) if values.ndim > 1 else np.empty(0)
    return float(means.mean()), float(means.std(ddof=1)), tuple(layers.tolist())


def _spectrum_edges(reference: ShowerSource, threshold: float) -> Floats:
    """Bins of the voxel spectrum, from the threshold to the reference's highest voxel energy."""
    lowest, highest = threshold, 0.0
    for batch in stream(reference, threshold):
        energy = batch.energy[batch.energy > 0]
        highest = max(highest, float(energy.max(initial=0)))
        if threshold <= 0:
            smallest = float(energy.min(initial=np.inf))
            lowest = min(lowest or np.inf, smallest)
    if not highest > lowest:
        raise ValueError(
            f"the reference has no voxel above the threshold of {threshold} MeV: lower it"
        )
    return spectrum_edges(lowest, highest)


def _event_energies(energy_inc: Floats) -> Floats:
    """Incident energies for the event display, evenly over the sample's range on a log scale."""
    lowest, highest = np.quantile(energy_inc, [0.02, 0.98])
    return np.geomspace(float(lowest), float(highest), N_EVENTS)


def _software() -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "caloforge": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy", "scikit-learn", "torch")},
    }
