"""What a metric needs of samples, taken once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from caloforge.evaluation.catalogue import make_metric
from caloforge.evaluation.comparison import Columns, Metric
from caloforge.evaluation.measurement import noting
from caloforge.evaluation.observables import ShowerSource
from caloforge.evaluation.sample import Sample

__all__ = ["MetricColumns"]


class MetricColumns:
    """What one metric needs of each sample: taken when it is first asked for, the last two kept.

    Args:
        metric: the metric.
        notes: what is not determined since it was fitted to this reference.
    """

    def __init__(self, metric: Metric, notes: Sequence[str]) -> None:
        self.metric = metric
        self._notes = notes
        self._taken: dict[int, tuple[Columns, tuple[str, ...]]] = {}

    @classmethod
    def make(
        cls,
        name: str,
        reference: Sample,
        training: ShowerSource | None,
        progress: Callable[[int, int], None],
    ) -> MetricColumns:
        """Those of a metric by name, fitted to a reference."""
        notes: list[str] = []
        with noting(notes):
            metric = make_metric(name, reference, training, progress)
        return cls(metric, notes)

    def of(self, sample: Sample) -> tuple[Columns, tuple[str, ...]]:
        """Columns of a sample, and why some are not determined; the reference's are kept."""
        if id(sample) not in self._taken:
            first = dict(list(self._taken.items())[:1])
            notes = list(self._notes)
            with noting(notes):
                columns = self.metric.columns(sample)
            self._taken = {**first, id(sample): (columns, tuple(notes))}
        return self._taken[id(sample)]
