"""The work of an evaluation: observables and metrics of all samples, and the same as tasks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from caloforge.evaluation.cache import Cache, content_hash
from caloforge.evaluation.columns import MetricColumns
from caloforge.evaluation.compared import OTHER, REFERENCE, Compared
from caloforge.evaluation.comparison import Outputs
from caloforge.evaluation.conditions import Cell
from caloforge.evaluation.copies import fingerprints
from caloforge.evaluation.measurement import Measured, Plan, Side, measure, scored
from caloforge.evaluation.metrics.undetermined import UndeterminedWarning
from caloforge.evaluation.observables import Floats, ShowerSource
from caloforge.evaluation.projection import PointSource
from caloforge.evaluation.sample import Sample, pack, unpack
from caloforge.evaluation.score import Score
from caloforge.evaluation.steps import Steps
from caloforge.evaluation.worth import WORTH, Worth, worth_of_samples, worth_scores
from caloforge.jobs import Executor, Task
from caloforge.showers import Particles

__all__ = ["Taken", "Work", "take_part"]

TAKE_PART = "caloforge.evaluation.work:take_part"


@dataclass(frozen=True, eq=False)
class Taken:
    """What was found in samples that were compared."""

    reference: Sample
    other: Sample | None
    candidates: Mapping[str, Sample]
    scores: tuple[Score, ...]
    outputs: Mapping[tuple[str, str], Outputs]
    worths: Mapping[str, Worth]


@dataclass
class Work:
    """The work of one evaluation: what was found before is fetched, the rest computed."""

    cache: Cache
    seed: int
    steps: Steps
    # With the source, so that no other one takes its place in memory and its number with it.
    hashes: dict[int, tuple[ShowerSource | PointSource, str]] = field(default_factory=dict)
    where: str = ""  # of which showers, in words

    def _hash(self, showers: ShowerSource | PointSource) -> str:
        """Content hash, taken once for each source and only if something is kept."""
        if self.cache.folder is None:
            return ""
        if id(showers) not in self.hashes:
            self.hashes[id(showers)] = showers, content_hash(showers)
        return self.hashes[id(showers)][1]

    def fingerprints(self, showers: ShowerSource, threshold: float | None) -> Floats:
        """What copies of showers are found by."""
        limit = showers.geometry.threshold if threshold is None else threshold
        key = {"result": "fingerprints", "showers": self._hash(showers), "threshold": limit}
        return self.cache.fetch(
            key,
            lambda: fingerprints(showers, limit),
            lambda found: {"fingerprints": found},
            lambda arrays: arrays["fingerprints"],
        )

    def at(self, cell: Cell) -> Work:
        """The same work of the showers of a cell."""
        return replace(self, where=f" at {cell.label}")

    def share_out(
        self,
        executor: Executor,
        compared: Compared,
        cells: Sequence[Cell],
        metrics: Sequence[str],
        threshold: float | None,
    ) -> None:
        """Take metrics as tasks, of all showers and of those of each cell.

        Their results meet in the cache, where `take` finds them.
        """
        wheres = {"": None, **{f" at {cell.label}": number for number, cell in enumerate(cells)}}
        tasks = []
        for where, cell in wheres.items():
            first = f"observables{where}"  # which all metrics share
            tasks.append(Task(first, TAKE_PART, {"cell": cell, "metrics": []}))
            tasks += [
                Task(f"{name}{where}", TAKE_PART, {"cell": cell, "metrics": [name]}, (first,))
                for name in metrics
                if name != WORTH
            ]
        self.steps.total += len(tasks)
        # what is known by its place in memory, or shown to a person, stays here
        shared = replace(self, steps=Steps(None), hashes={}), compared, tuple(cells), threshold
        remedy = "with a cache, what is finished is kept: evaluate again"
        with closing(
            executor.run(tasks, shared=shared, work="evaluation", remedy=remedy)
        ) as finished:
            for key, _ in finished:
                self.steps.begin(f"{key}, done")

    def take(self, compared: Compared, metrics: Sequence[str], threshold: float | None) -> Taken:
        """The observables and the scores of all samples."""
        sample = self.sample(compared.reference, REFERENCE, threshold)
        # All at once, so that what does not fit the geometry is refused before hours of work.
        made = [
            MetricColumns.make(name, sample, compared.training, self.steps.train)
            for name in metrics
            if name != WORTH
        ]
        second = None
        if compared.other is not None:
            second = self.sample(compared.other, OTHER, sample.threshold, sample)
        samples = {
            name: self.sample(showers, name, sample.threshold, sample)
            for name, showers in compared.candidates.items()
        }
        worths = self.worths(sample, samples, compared.training) if WORTH in metrics else {}
        scores = [score for name, found in worths.items() for score in worth_scores(found, name)]
        outputs: dict[tuple[str, str], Outputs] = {}
        for columns in made:
            for value, protocols in self.scores(columns, sample, second, samples):
                scores += value
                outputs.update(protocols)
        return Taken(sample, second, samples, tuple(scores), outputs, worths)

    def sample(
        self,
        showers: ShowerSource,
        name: str,
        threshold: float | None,
        reference: Sample | None = None,
    ) -> Sample:
        """Observables of a sample, in the bins of the reference."""
        self.steps.begin(f"observables of {name}{self.where}")
        limit = showers.geometry.threshold if threshold is None else threshold
        key = {
            "result": "sample",
            "showers": self._hash(showers),
            "reference": self._hash(reference.source) if reference else None,
            "threshold": limit,
        }
        return self.cache.fetch(
            key,
            lambda: Sample.of(
                showers,
                threshold=limit,
                edges=reference.spectrum.edges if reference else None,
                point_edges=(
                    reference.clouds.spectrum.edges if reference and reference.clouds else None
                ),
                event_energies=reference.events.energy_inc if reference else None,
            ),
            pack,
            lambda arrays: unpack(arrays, showers, limit),
        )

    def scores(
        self,
        columns: MetricColumns,
        reference: Sample,
        other: Sample | None,
        candidates: Mapping[str, Sample],
    ) -> Iterator[tuple[list[Score], dict[tuple[str, str], Outputs]]]:
        """Scores of one metric, candidate by candidate; a floor is taken once for each size."""
        metric = columns.metric
        floors: dict[tuple[Any, ...], Measured] = {}
        for candidate, sample in candidates.items():
            self.steps.begin(f"{metric.name} of {candidate}{self.where}")
            if metric.training is not None and not sample.may_know(metric.training):
                _warn_of(
                    f"{metric.name} of {candidate}{self.where}",
                    [
                        f"it was trained on {sample.n_training:,} showers, and those given are "
                        f"{len(metric.training):,}: give its own to see its copies"
                    ],
                )
                continue
            plan = Plan.of(
                metric,
                len(reference),
                len(sample),
                n_other=None if other is None else len(other),
                seed=self.seed,
                paired=np.array_equal(reference.energy_inc, sample.energy_inc),
            )
            settings = tuple(plan.settings("other").values())
            if metric.has_floor and settings not in floors:
                floors[settings] = self._measured(
                    columns, plan, reference, other or reference, "other"
                )
                _warn_of(f"the floor of {metric.name}{self.where}", floors[settings].notes)
            floor = floors.get(settings)
            found = self._measured(columns, plan, reference, sample, "candidate")
            _warn_of(f"{metric.name} of {candidate}{self.where}", found.notes)
            scores = [
                scored(metric, observable, candidate, found, floor, plan.size, reference.geometry)
                for observable in found.values
            ]
            yield scores, {(key, candidate): out for key, out in found.outputs.items()}

    def worths(
        self, reference: Sample, candidates: Mapping[str, Sample], training: ShowerSource | None
    ) -> dict[str, Worth]:
        """How many Geant4 showers each candidate replaces."""
        found = {}
        for name, sample in candidates.items():
            self.steps.begin(f"{WORTH} of {name}")
            known: Particles | int | None = sample.n_training
            if training is not None and sample.may_know(training):
                known = training.particles
            found[name] = worth_of_samples(reference, sample, training=known, seed=self.seed)
        return found

    def _measured(
        self, columns: MetricColumns, plan: Plan, reference: Sample, against: Sample, side: Side
    ) -> Measured:
        """What the metric finds between the reference and another sample, over all subsamples.

        A metric that trains is kept subsample by subsample, as one run may take an hour.
        """
        key = {
            "result": columns.metric.name,
            "reference": self._hash(reference.source),
            "against": self._hash(against.source),
            "threshold": reference.threshold,
            "side": side,
            **plan.settings(side),
        }
        if columns.metric.training is not None:
            key["training"] = self._hash(columns.metric.training)

        def compute(number: int | None) -> Measured:
            (first, said), (second, also) = columns.of(reference), columns.of(against)
            found = measure(columns.metric, first, second, plan, side, number=number)
            return replace(found, notes=tuple(dict.fromkeys((*said, *also, *found.notes))))

        def take(number: int | None) -> Measured:
            return self.cache.fetch(
                {**key, "subsample": number},
                partial(compute, number),
                Measured.pack,
                Measured.unpack,
            )

        if not columns.metric.is_random:
            return take(None)
        parts = []
        for number in range(plan.repeats):
            # Of the runs of a step, the floor's come first.
            done = plan.repeats if side == "candidate" else 0
            self.steps.run, self.steps.runs = done + number, 2 * plan.repeats
            parts.append(take(number))
        return Measured.concatenate(parts)


def take_part(
    shared: tuple[Work, Compared, Sequence[Cell], float | None],
    cell: int | None,
    metrics: Sequence[str],
) -> None:
    """Take metrics of all showers, or of those of a cell, into the cache; a task.

    Warnings are kept with the results, and repeated where they are fetched.
    """
    work, compared, cells, threshold = shared
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if cell is not None:
            work, compared = work.at(cells[cell]), compared.within(cells[cell])
        if compared.candidates:
            work.take(compared, metrics, threshold)


def _warn_of(what: str, notes: Iterable[str]) -> None:
    for note in notes:
        warnings.warn(f"{what}: {note}", UndeterminedWarning, stacklevel=5)
