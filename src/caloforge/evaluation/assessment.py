"""Compare generated showers with Geant4's: every metric beside its floor."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from caloforge import __version__
from caloforge.evaluation.cache import LIBRARIES, Cache, content_hash
from caloforge.evaluation.catalogue import chosen_metrics, default_metrics
from caloforge.evaluation.columns import MetricColumns
from caloforge.evaluation.compared import FEWEST_SHOWERS, OTHER, REFERENCE, Compared
from caloforge.evaluation.comparison import Outputs, SmallSampleWarning
from caloforge.evaluation.conditions import Cell, cells_by
from caloforge.evaluation.copies import fingerprints
from caloforge.evaluation.measurement import Measured, Plan, Side, measure, scored
from caloforge.evaluation.metrics.undetermined import UndeterminedWarning
from caloforge.evaluation.observables import Floats, ShowerSource
from caloforge.evaluation.projection import PointSource
from caloforge.evaluation.sample import Sample, pack, unpack
from caloforge.evaluation.score import Score
from caloforge.evaluation.scores import Scores
from caloforge.evaluation.steps import EvaluationProgress, Steps
from caloforge.evaluation.tails import Tails, find_tails
from caloforge.evaluation.worth import WORTH, Worth, worth_of_samples, worth_scores
from caloforge.geometry import Geometry

__all__ = ["REFERENCE", "evaluate"]

FEW_IN_CELL = 100  # showers of a range of condition


def evaluate(
    reference: ShowerSource | PointSource,
    candidates: Mapping[str, ShowerSource | PointSource],
    *,
    other: ShowerSource | PointSource | None = None,
    training: ShowerSource | PointSource | None = None,
    geometry: Geometry | None = None,
    threshold: float | None = None,
    metrics: Iterable[str] | None = None,
    by: str | Sequence[str] | None = None,
    timing: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: Callable[[EvaluationProgress], None] | None = None,
) -> Scores:
    """Compare samples of generated showers with a reference of Geant4 showers.

    Every value is the mean over several draws of n reference and n candidate showers, its error
    the standard deviation over the draws; the floor is taken between those n and n other Geant4
    showers (see `draws`). A value at its floor means: with n showers no difference can be seen.

    Without a second Geant4 sample, n is half of the reference or all of the candidate, whichever
    is less. With one, the whole reference is compared, as in published tables; where a draw then
    exhausts the reference, the error is the standard deviation over random halves of each draw
    (delete-half jackknife).

    Point clouds are projected into a geometry, run by run, and compared as showers in its voxels;
    where all samples are point clouds, their own observables are compared as well.

    Example:
        >>> scores = cf.evaluate(showers[:25], {"other": showers[25:]}, metrics=["separation"])
        >>> scores.save_json("scores.json")

    Args:
        reference: Geant4 showers, in memory or an open file, which is read in a stream.
        candidates: generated showers of the same geometry by name; lengths may differ.
        other: a second, independent sample of Geant4 showers that the floor is taken with.
        training: the Geant4 showers that the candidates were trained on.
        geometry: voxels that point clouds are projected into, by default the reference's own.
        threshold: read-out threshold [MeV] applied to all samples, by default the geometry's:
            voxels below it count as empty.
        metrics: names of distances and classifier tests, see `metric_names`; by default those that
            suit the showers, see `default_metrics`.
        by: conditions whose ranges every score is taken in as well: "energy", "direction", "kind",
            with a number of ranges such as "energy:4" or without; several of them for cells of all.
        timing: results of `caloforge bench` by candidate, to be shown beside its scores.
        seed: of the draws and of the classifiers.
        cache: folder where results are kept by the content of what they were taken from, so that
            another candidate, another metric, or an interrupted evaluation costs only what is new.
        progress: called at every step.

    Returns:
        Scores by metric, observable and candidate, with the observables for figures.

    Raises:
        ValueError: without candidates, for an unknown metric, for different geometries, for
            samples of less than 20 showers, copies not counted, or for conditions in which the
            reference does not differ or has less than 40 showers in a range.

    Warns:
        SharedShowersWarning: if samples have showers in common or more than once, see
            `fingerprints`. The floor is taken without them; what a candidate has is counted.
        SmallSampleWarning: if n is below 1,000, or below 100 in a range.
        EvaluationWarning: if a candidate's incident energies are not distributed as the
            reference's.
        UndeterminedWarning: where the samples do not determine a value, which then is NaN.
        UnitsWarning: if the energies of a sample look as if they were not in MeV.
    """
    if unknown := set(timing or {}) - set(candidates):
        raise ValueError(f"timing is of {sorted(unknown)}, candidates are {sorted(candidates)}")
    chosen = None if metrics is None else chosen_metrics(metrics)
    work = _Assessment(Cache(None if cache is None else Path(cache)), seed, Steps(progress))
    compared = Compared.of(
        reference,
        candidates,
        other,
        geometry,
        partial(work.fingerprints, threshold=threshold),
        training,
    )
    if chosen is None:
        chosen = default_metrics(
            compared.reference.geometry,
            of_points=compared.are_points,
            with_training=compared.training is not None,
        )
    particles = compared.reference.particles
    cells = () if by is None else cells_by(particles, by, fewest=2 * FEWEST_SHOWERS)
    n_samples = 1 + (other is not None) + len(candidates)
    work.steps.total = (1 + len(cells)) * (n_samples + len(candidates) * len(chosen))
    found = work.take(compared, chosen, threshold)
    sample, second, samples = found.reference, found.other, found.candidates
    origins = {
        "reference": _origin(sample),
        **({"other": _origin(second)} if second else {}),
        **({"training": _training(training)} if training is not None else {}),
        "candidates": {name: _origin(one) for name, one in samples.items()},
    }
    settings = {
        "threshold_MeV": sample.threshold,
        "metrics": list(chosen),
        "by": [] if by is None else [by] if isinstance(by, str) else list(by),
        "seed": seed,
    }
    provenance = {**origins, "geometry": sample.geometry.name, **settings, **_software()}
    return Scores(
        values=found.scores,
        reference=sample,
        candidates=samples,
        provenance=provenance,
        outputs=found.outputs,
        timing=dict(timing or {}),
        tails=_tails(found.outputs, sample, samples),
        shared=compared.shared,
        worths=found.worths,
        by_condition=tuple(_by_condition(work, compared, cells, chosen, sample.threshold)),
    )


def _by_condition(
    work: _Assessment,
    compared: Compared,
    cells: Sequence[Cell],
    metrics: Sequence[str],
    threshold: float,
) -> Iterator[Score]:
    """The scores of the showers of each cell; the worth has cells of its own."""
    distances = [name for name in metrics if name != WORTH]
    sizes = []
    for cell in cells:
        part = compared.within(cell)
        if part.candidates:
            found = replace(work, where=f" at {cell.label}").take(part, distances, threshold)
            sizes += [score.n_showers for score in found.scores]
            yield from (replace(score, condition=cell.label) for score in found.scores)
    if sizes and min(sizes) < FEW_IN_CELL:
        warnings.warn(
            f"at some conditions {min(sizes)} showers are compared with as many: only gross "
            "differences are seen there; fewer ranges see more",
            SmallSampleWarning,
            stacklevel=3,
        )


def _tails(
    outputs: Mapping[tuple[str, str], Outputs], reference: Sample, candidates: Mapping[str, Sample]
) -> dict[str, Tails]:
    """Tails of the candidates that a classifier was trained on."""
    found: dict[str, dict[str, Outputs]] = {}
    for (protocol, candidate), of_test in outputs.items():
        found.setdefault(candidate, {})[protocol] = of_test
    return {name: find_tails(mine, reference, candidates[name]) for name, mine in found.items()}


@dataclass(frozen=True, eq=False)
class _Taken:
    """What was found in samples that were compared."""

    reference: Sample
    other: Sample | None
    candidates: Mapping[str, Sample]
    scores: tuple[Score, ...]
    outputs: Mapping[tuple[str, str], Outputs]
    worths: Mapping[str, Worth]


@dataclass
class _Assessment:
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

    def take(self, compared: Compared, metrics: Sequence[str], threshold: float | None) -> _Taken:
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
        return _Taken(sample, second, samples, tuple(scores), outputs, worths)

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
            plan = Plan.of(
                metric,
                len(reference),
                len(sample),
                n_other=None if other is None else len(other),
                seed=self.seed,
                paired=np.array_equal(reference.energy_inc, sample.energy_inc),
            )
            draws = tuple(plan.settings("other").values())
            if metric.has_floor and draws not in floors:
                floors[draws] = self._measured(
                    columns, plan, reference, other or reference, "other"
                )
                _warn_of(f"the floor of {metric.name}{self.where}", floors[draws].notes)
            floor = floors.get(draws)
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
            known = sample.n_training if training is None else training.particles
            found[name] = worth_of_samples(reference, sample, training=known, seed=self.seed)
        return found

    def _measured(
        self, columns: MetricColumns, plan: Plan, reference: Sample, against: Sample, side: Side
    ) -> Measured:
        """What the metric finds between the reference and another sample, over all draws.

        A metric that trains is kept draw by draw, as one run may take an hour.
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
                {**key, "draw": number}, partial(compute, number), Measured.pack, Measured.unpack
            )

        if not columns.metric.is_random:
            return take(None)
        parts = []
        for number in range(plan.repeats):
            # Of the runs of a step, the floor's come first.
            behind = plan.repeats if side == "candidate" else 0
            self.steps.run, self.steps.runs = behind + number, 2 * plan.repeats
            parts.append(take(number))
        return Measured.concatenate(parts)


def _warn_of(what: str, notes: Iterable[str]) -> None:
    for note in notes:
        warnings.warn(f"{what}: {note}", UndeterminedWarning, stacklevel=5)


def _origin(sample: Sample) -> dict[str, Any]:
    """Where showers come from; of projected points what the geometry has no room for."""
    if sample.clouds is None:
        return dict(sample.origin)
    lost = float(sample.clouds.features["lost"].mean())
    return {**sample.origin, "projected_into": sample.geometry.name, "energy_share_lost": lost}


def _training(showers: ShowerSource | PointSource) -> dict[str, Any]:
    """How many training showers there are, and the names of their files if they lie in files."""
    one = getattr(showers, "path", None)
    paths = getattr(showers, "paths", () if one is None else (one,))
    files = {"files": [path.name for path in paths]} if paths else {}
    return {"n_showers": len(showers), **files}


def _software() -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "caloforge": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }
