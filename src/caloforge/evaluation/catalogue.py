"""The metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from caloforge.evaluation.comparison import Metric
from caloforge.evaluation.observables import is_ild
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.worth import WORTH
from caloforge.geometry import Geometry
from caloforge.names import did_you_mean

__all__ = ["DEFAULT_METRICS", "default_metrics", "make_metric", "metric_names"]

DISTANCES = ("separation", "wasserstein", "pearson", "fpd", "kpd", "prdc")
DEFAULT_METRICS = (WORTH, *DISTANCES, "small-shower", "small-layers", "small-voxels")
OF_ILD = ("caloclouds", "caloclouds-high")
OF_POINTS = ("points",)


def default_metrics(geometry: Geometry, *, of_points: bool = False) -> tuple[str, ...]:
    """The metrics that are taken where none is asked for.

    Args:
        geometry: the voxels; in the ILD's layers CaloClouds' observables join in.
        of_points: whether all showers are point clouds, which are then compared as such too.
    """
    return (
        *DEFAULT_METRICS,
        *(OF_ILD if is_ild(geometry) else ()),
        *(OF_POINTS if of_points else ()),
    )


def fitting_metrics(geometry: Geometry, *, of_points: bool = False) -> tuple[str, ...]:
    """Every metric that can be taken in a geometry, see `check_geometry`.

    Args:
        geometry: the voxels.
        of_points: whether all showers are point clouds.
    """
    from caloforge.evaluation.classifiers import ADJACENT, PROTOCOLS
    from caloforge.evaluation.classifiers.networks import refusal

    protocols = {**PROTOCOLS, **ADJACENT}

    def fits(name: str) -> bool:
        if name in protocols:
            return refusal(protocols[name], geometry) is None
        return of_points or name not in OF_POINTS

    return tuple(filter(fits, metric_names()))


def metric_names() -> tuple[str, ...]:
    """Every metric: worth, distances, classifier tests, those of a few adjacent layers."""
    from caloforge.evaluation.classifiers import ADJACENT, PROTOCOLS

    return (WORTH, *DISTANCES, "caloclouds", *OF_POINTS, *PROTOCOLS, *ADJACENT)


def chosen_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repetition.

    Raises:
        ValueError: for a metric that does not exist.
    """
    chosen = tuple(dict.fromkeys(names))
    if unknown := [name for name in chosen if name not in metric_names()]:
        meant = did_you_mean(unknown[0], metric_names())
        raise ValueError(f"metrics must be among {', '.join(metric_names())}, got {unknown}{meant}")
    return chosen


def make_metric(
    name: str, reference: Sample, progress: Callable[[int, int], None] | None = None
) -> Metric:
    """A metric, fitted to a reference.

    Args:
        name: one of `metric_names` but the worth, which is taken of whole samples.
        reference: Geant4 showers.
        progress: called by a classifier test after each epoch of a run, with its number, counted
            from 1, and the number of epochs.
    """
    from caloforge.evaluation.metrics.caloclouds import CaloCloudsDistance, PointDistance
    from caloforge.evaluation.metrics.correlation import LayerCorrelation
    from caloforge.evaluation.metrics.high_level import (
        FrechetPhysicsDistance,
        KernelPhysicsDistance,
    )
    from caloforge.evaluation.metrics.neighbours import NearestNeighbours
    from caloforge.evaluation.metrics.separation import Separation
    from caloforge.evaluation.metrics.wasserstein import Wasserstein

    distances: dict[str, type[Metric]] = {
        "separation": Separation,
        "wasserstein": Wasserstein,
        "pearson": LayerCorrelation,
        "fpd": FrechetPhysicsDistance,
        "kpd": KernelPhysicsDistance,
        "prdc": NearestNeighbours,
        "caloclouds": CaloCloudsDistance,
        "points": PointDistance,
    }
    if name in distances:
        return distances[name](reference, reference.threshold)
    from caloforge.evaluation.classifiers import ADJACENT, adjacent_metric, classifier_metric

    make = adjacent_metric if name in ADJACENT else classifier_metric
    return make(name, reference, reference.threshold, progress=progress)
