"""Compare generated showers with Geant4's: every metric with its floor."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from caloforge import __version__
from caloforge.evaluation.cache import LIBRARIES, Cache
from caloforge.evaluation.catalogue import chosen_metrics, default_metrics
from caloforge.evaluation.compared import FEWEST_SHOWERS, REFERENCE, Compared
from caloforge.evaluation.comparison import Outputs, SmallSampleWarning
from caloforge.evaluation.conditions import Cell, cells_by
from caloforge.evaluation.observables import ShowerSource
from caloforge.evaluation.projection import PointSource
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.score import Score
from caloforge.evaluation.scores import Scores
from caloforge.evaluation.steps import EvaluationProgress, Steps
from caloforge.evaluation.tails import Tails, find_tails
from caloforge.evaluation.work import Work
from caloforge.evaluation.worth import WORTH
from caloforge.geometry import Geometry
from caloforge.jobs import Executor, find_executor

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
    processes: int | Executor = 1,
    progress: Callable[[EvaluationProgress], None] | None = None,
) -> Scores:
    """Compare samples of generated showers with a reference of Geant4 showers.

    Every value is the mean over several subsamples of n reference and n candidate showers, its
    error the standard deviation over the subsamples; the floor is taken between those n and n other
    Geant4 showers (see `subsamples`). A value at its floor means: with n showers no difference can
    be seen.

    Without a second Geant4 sample, n is half of the reference or all of the candidate, whichever
    is less. With one, the whole reference is compared, as in published tables; where a subsample
    then exhausts the reference, the error is the standard deviation over random halves of each
    subsample (delete-half jackknife).

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
        timing: results of `caloforge bench` by candidate, to be shown with its scores.
        seed: of the subsamples and of the classifiers.
        cache: folder where results are kept by the content of what they were taken from, so that
            another candidate, another metric, or an interrupted evaluation costs only what is new.
        processes: how many to use, or an `Executor`; one on other machines needs a `cache` that all
            of them see. With several, a script must call this under `if __name__ == "__main__":`,
            as multiprocessing asks.
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
    executor = None if processes == 1 else find_executor(processes)
    with ExitStack() as stack:
        if executor is not None and cache is None:  # tasks meet in files
            cache = stack.enter_context(TemporaryDirectory(prefix="caloforge-"))
        work = Work(Cache(None if cache is None else Path(cache)), seed, Steps(progress))
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
        if executor is not None:
            work.share_out(executor, compared, cells, chosen, threshold)
        found = work.take(compared, chosen, threshold)
        limit = found.reference.threshold
        by_condition = tuple(_by_condition(work, compared, cells, chosen, limit))
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
        by_condition=by_condition,
    )


def _by_condition(
    work: Work,
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
            found = work.at(cell).take(part, distances, threshold)
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


def _origin(sample: Sample) -> dict[str, Any]:
    """Where showers come from; of projected points what lies in no cell of the geometry."""
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
