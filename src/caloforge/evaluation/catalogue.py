"""The metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from caloforge.evaluation.comparison import Metric
from caloforge.evaluation.sample import Sample

__all__ = ["DEFAULT_METRICS", "make_metric", "metric_names"]

DISTANCES = ("separation", "wasserstein", "pearson", "fpd", "kpd", "prdc")
DEFAULT_METRICS = (*DISTANCES, "small-shower", "small-layers", "small-voxels")


def metric_names() -> tuple[str, ...]:
    """Every metric: the distances, the classifier tests, those of a few adjacent layers."""
    from caloforge.evaluation.classifiers import ADJACENT, PROTOCOLS

    return (*DISTANCES, *PROTOCOLS, *ADJACENT)


def chosen_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """The names without repetition.

    Raises:
        ValueError: for a metric that does not exist.
    """
    chosen = tuple(dict.fromkeys(names))
    if unknown := [name for name in chosen if name not in metric_names()]:
        raise ValueError(f"metrics must be among {', '.join(metric_names())}, got {unknown}")
    return chosen


def make_metric(
    name: str, reference: Sample, progress: Callable[[int, int], None] | None = None
) -> Metric:
    """A metric, fitted to a reference.

    Args:
        name: one of `metric_names`.
        reference: Geant4 showers.
        progress: called by a classifier test after each epoch of a run, with its number, counted
            from 1, and the number of epochs.
    """
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
    }
    if name in distances:
        return distances[name](reference, reference.threshold)
    from caloforge.evaluation.classifiers import ADJACENT, adjacent_metric, classifier_metric

    make = adjacent_metric if name in ADJACENT else classifier_metric
    return make(name, reference, reference.threshold, progress=progress)
