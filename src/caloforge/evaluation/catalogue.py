"""The metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from caloforge.evaluation.comparison import Metric
from caloforge.evaluation.observables import ShowerSource, is_ild
from caloforge.evaluation.projection import PointSource
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.worth import WORTH
from caloforge.geometry import Geometry
from caloforge.names import did_you_mean

__all__ = ["DEFAULT_METRICS", "default_metrics", "make_metric", "metric_names"]

DISTANCES = ("separation", "wasserstein", "pearson", "fpd", "kpd", "prdc")
TESTS = ("permutation", "nplm", "fpd-trimmed")
DEFAULT_METRICS = (WORTH, *DISTANCES, "small-shower", "small-layers", "small-voxels")
OF_ILD = ("caloclouds", "caloclouds-high")
OF_POINTS = ("points",)
OF_TRAINING = ("copies",)


def default_metrics(
    geometry: Geometry, *, of_points: bool = False, with_training: bool = False
) -> tuple[str, ...]:
    """The metrics that are taken where none is asked for.

    Args:
        geometry: the voxels; in the ILD's layers CaloClouds' observables join in.
        of_points: whether all showers are point clouds, which are then compared as such too.
        with_training: whether the training showers are at hand.
    """
    return (
        *DEFAULT_METRICS,
        *(OF_ILD if is_ild(geometry) else ()),
        *(OF_POINTS if of_points else ()),
        *(OF_TRAINING if with_training else ()),
    )


def fitting_metrics(
    geometry: Geometry, *, of_points: bool = False, with_training: bool = False
) -> tuple[str, ...]:
    """Every metric that can be taken in a geometry, see `check_geometry`.

    Args:
        geometry: the voxels.
        of_points: whether all showers are point clouds.
        with_training: whether the training showers are at hand.
    """
    from caloforge.evaluation.classifiers import ADJACENT, PROTOCOLS
    from caloforge.evaluation.classifiers.networks import refusal

    protocols = {**PROTOCOLS, **ADJACENT}

    def fits(name: str) -> bool:
        if name in protocols:
            return refusal(protocols[name], geometry) is None
        return (of_points or name not in OF_POINTS) and (with_training or name not in OF_TRAINING)

    return tuple(filter(fits, metric_names()))


def metric_names() -> tuple[str, ...]:
    """Every metric: worth, distances, tests of a p-value, classifiers, those of few layers."""
    from caloforge.evaluation.classifiers import ADJACENT, PROTOCOLS

    distances = (*DISTANCES, "caloclouds", *OF_POINTS, *OF_TRAINING, *TESTS)
    return (WORTH, *distances, *PROTOCOLS, *ADJACENT)


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
    name: str,
    reference: Sample,
    training: ShowerSource | PointSource | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Metric:
    """A metric, fitted to a reference.

    Args:
        name: one of `metric_names` but the worth, which is taken of whole samples.
        reference: Geant4 showers.
        training: those that the candidates were trained on.
        progress: called by a classifier test after each epoch of a run, with its number, counted
            from 1, and the number of epochs.

    Raises:
        ValueError: for a metric that does not suit the showers, or needs training showers.
    """
    from caloforge.evaluation.metrics.caloclouds import CaloCloudsDistance, PointDistance
    from caloforge.evaluation.metrics.copies import Copies
    from caloforge.evaluation.metrics.correlation import LayerCorrelation
    from caloforge.evaluation.metrics.high_level import (
        FrechetPhysicsDistance,
        KernelPhysicsDistance,
        TrimmedFrechetDistance,
    )
    from caloforge.evaluation.metrics.neighbours import NearestNeighbours
    from caloforge.evaluation.metrics.nplm import Nplm
    from caloforge.evaluation.metrics.permutation import PermutationTests
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
        "permutation": PermutationTests,
        "nplm": Nplm,
        "fpd-trimmed": TrimmedFrechetDistance,
    }
    if name in OF_TRAINING:
        if training is None:
            raise ValueError(
                f"the metric {name!r} needs the showers that the candidates were trained on: "
                "give them as training (--training), or leave it out"
            )
        return Copies(reference, reference.threshold, training)
    if name in distances:
        return distances[name](reference, reference.threshold)
    from caloforge.evaluation.classifiers import ADJACENT, adjacent_metric, classifier_metric

    make = adjacent_metric if name in ADJACENT else classifier_metric
    return make(name, reference, reference.threshold, progress=progress)
