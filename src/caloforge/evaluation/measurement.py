"""Take a metric on several subsamples of showers."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.comparison import (
    Columns,
    Comparison,
    Metric,
    Outputs,
    Subsample,
    subsamples,
)
from caloforge.evaluation.metrics.undetermined import UndeterminedWarning
from caloforge.evaluation.observables import Floats
from caloforge.evaluation.score import Score
from caloforge.geometry import Geometry

__all__ = ["Measured", "Plan", "Side", "measure", "noting", "scored"]

Side = Literal["other", "candidate"]
OUTPUTS = tuple(column.name for column in fields(Outputs))


@dataclass(frozen=True)
class Plan:
    """How often and on how many showers a metric is taken.

    Args:
        size: showers of each set.
        n_reference: showers of the reference.
        n_other: showers of a second Geant4 sample, None without one.
        n_candidate: showers of the candidate.
        repeats: number of subsamples.
        seed: of the subsamples.
        paired: whether the candidate has the reference's incident energies, shower by shower.
        is_whole: whether a subsample exhausts the reference, so that the spread between subsamples
            does not contain its fluctuation: the error is then the spread over random halves.
    """

    size: int
    n_reference: int
    n_other: int | None
    n_candidate: int
    repeats: int
    seed: int
    paired: bool
    is_whole: bool

    @classmethod
    def of(
        cls,
        metric: Metric,
        n_reference: int,
        n_candidate: int,
        *,
        n_other: int | None,
        seed: int,
        paired: bool,
    ) -> Plan:
        """The largest sets of equally many showers that the samples and the metric allow."""
        if metric.has_floor:
            most = n_reference // 2 if n_other is None else min(n_reference, n_other)
        else:  # a floor would be all that other showers are for, and that halves are
            most, n_other, paired = n_reference, None, False
        size = min(most, n_candidate, metric.max_size or n_candidate)
        is_whole = size == n_reference and metric.repeats > 1 and not metric.is_random
        return cls(size, n_reference, n_other, n_candidate, metric.repeats, seed, paired, is_whole)

    def subsamples(self) -> list[Subsample]:
        """The subsamples of showers."""
        return list(
            subsamples(
                self.n_reference,
                self.n_candidate,
                n_other=self.n_other,
                size=self.size,
                repeats=self.repeats,
                seed=self.seed,
                paired=self.paired,
            )
        )

    def settings(self, side: Side) -> dict[str, Any]:
        """What the result depends on, as plain values; a floor does not depend on the candidate."""
        settings = dict(vars(self))
        if side == "other":
            del settings["n_candidate"], settings["paired"]
        return settings


@dataclass(frozen=True, eq=False)
class Measured:
    """What a metric found between two samples.

    Args:
        values: by observable, the value of every subsample, shape (s,) or (s, layers).
        errors: by observable, where it is not the spread between the subsamples.
        outputs: a classifier's outputs of all subsamples, by protocol.
        notes: why values are not determined, each once.
        remarks: the metric's remarks on values, by observable.
    """

    values: Mapping[str, Floats]
    errors: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, Outputs] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)

    def summary(self, observable: str) -> tuple[float, float, tuple[float, ...]]:
        """Mean over subsamples and layers, its error, and the mean of each layer.

        Layers without a value are left out of the mean over layers.
        """
        found = self.values[observable]
        means = _mean_over_layers(found)
        error = self.errors.get(observable, _spread(means))
        layers: tuple[float, ...] = ()
        if found.ndim > 1:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
                layers = tuple(np.nanmean(found, axis=0).tolist())
        return float(means.mean()), error, layers

    def reason(self, observable: str) -> str:
        """Why its value or error is missing, empty if neither is.

        Notes that name the observable are its own, those that name none are of all.
        """
        value, error, _ = self.summary(observable)
        if not (math.isnan(value) or math.isnan(error)):
            return ""
        named = {other: re.compile(rf"\b{re.escape(other)}\b") for other in self.values}
        own = [note for note in self.notes if named[observable].search(note)]
        general = [n for n in self.notes if not any(name.search(n) for name in named.values())]
        if known := own or general:
            return "; ".join(known)
        if not math.isnan(value):
            return "its error is not known, as it was taken once"
        means = _mean_over_layers(self.values[observable])
        missing = np.isnan(means)
        if missing.all():
            return "it cannot be determined from these showers"
        return f"only {np.sum(~missing)} of {len(means)} subsamples gave a value"

    def layer_errors(self, observable: str) -> tuple[float, ...]:
        """Standard deviation of each layer over the subsamples, empty for a single one."""
        found = self.values[observable]
        if found.ndim == 1 or len(found) == 1:
            return ()
        return tuple(found.std(axis=0, ddof=1).tolist())

    @classmethod
    def concatenate(cls, parts: Sequence[Measured]) -> Measured:
        """The subsamples of several parts as one."""
        first = parts[0]
        return cls(
            {name: np.concatenate([part.values[name] for part in parts]) for name in first.values},
            {name: float(np.mean([part.errors[name] for part in parts])) for name in first.errors},
            {
                name: Outputs(
                    *(
                        np.concatenate([getattr(part.outputs[name], column) for part in parts])
                        for column in OUTPUTS
                    )
                )
                for name in first.outputs
            },
            tuple(dict.fromkeys(note for part in parts for note in part.notes)),
            first.remarks,
        )

    def pack(self) -> dict[str, NDArray[Any]]:
        """As arrays by name; `unpack` turns them back."""
        arrays: dict[str, NDArray[Any]] = {f"values/{k}": v for k, v in self.values.items()}
        arrays |= {f"errors/{k}": np.asarray(v, np.float64) for k, v in self.errors.items()}
        for protocol, outputs in self.outputs.items():
            arrays |= {f"outputs/{protocol}/{k}": v for k, v in vars(outputs).items()}
        for number, note in enumerate(self.notes):
            arrays[f"notes/{number}"] = np.frombuffer(note.encode(), np.uint8)
        for observable, remark in self.remarks.items():
            arrays[f"remarks/{observable}"] = np.frombuffer(remark.encode(), np.uint8)
        return arrays

    @classmethod
    def unpack(cls, arrays: Mapping[str, NDArray[Any]]) -> Measured:
        """What `pack` was called on."""
        kinds = ("values", "errors", "outputs", "notes", "remarks")
        groups: dict[str, dict[str, NDArray[Any]]] = {kind: {} for kind in kinds}
        for name, array in arrays.items():
            group, _, key = name.partition("/")
            groups[group][key] = array
        protocols = dict.fromkeys(key.rpartition("/")[0] for key in groups["outputs"])
        return cls(
            groups["values"],
            {name: float(error) for name, error in groups["errors"].items()},
            {
                protocol: Outputs(
                    *(groups["outputs"][f"{protocol}/{column}"] for column in OUTPUTS)
                )
                for protocol in protocols
            },
            tuple(note.tobytes().decode() for note in groups["notes"].values()),
            {name: remark.tobytes().decode() for name, remark in groups["remarks"].items()},
        )


@contextmanager
def noting(notes: list[str]) -> Iterator[None]:
    """Keep why values are not determined within a block; other warnings go where they would.

    Args:
        notes: where the sentences are kept, each once.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for found in caught:
        if issubclass(found.category, UndeterminedWarning):
            if (text := str(found.message)) not in notes:
                notes.append(text)
        else:
            warnings.warn_explicit(found.message, found.category, found.filename, found.lineno)


def measure(
    metric: Metric,
    reference: Columns,
    against: Columns,
    plan: Plan,
    side: Side,
    *,
    number: int | None = None,
) -> Measured:
    """Take a metric on every subsample of a plan, or on one of them.

    Args:
        metric: the metric.
        reference: columns of the reference.
        against: columns of a candidate or, for the floor, of the other Geant4 showers.
        plan: which showers.
        side: whether `against` is a candidate's or the other Geant4 showers'.
        number: which subsample; None: all of them.
    """
    rows = [(each.reference, getattr(each, side), each.seed) for each in plan.subsamples()]
    if number is not None:
        rows = rows[number : number + 1]

    notes: list[str] = []

    def compare(first: NDArray[np.int64], second: NDArray[np.int64], seed: int) -> Comparison:
        with noting(notes):
            found = metric.compare(_take(reference, first), _take(against, second), seed)
        outputs = {name: out.within(first, second) for name, out in found.outputs.items()}
        return replace(found, outputs=outputs)

    if not plan.is_whole:
        return replace(_joined([compare(*each) for each in rows]), notes=tuple(notes))
    # Subsamples that exhaust both samples differ in their order alone: one is enough.
    available = plan.n_candidate if side == "candidate" else plan.n_other
    whole = _joined([compare(*each) for each in (rows if available != plan.size else rows[:1])])
    half = plan.size // 2
    halves = _joined([compare(first[:half], second[:half], seed) for first, second, seed in rows])
    errors = {name: _spread(_mean_over_layers(found)) for name, found in halves.values.items()}
    return replace(whole, errors={**errors, **whole.errors}, notes=tuple(notes))


def scored(
    metric: Metric,
    observable: str,
    candidate: str,
    found: Measured,
    floor: Measured | None,
    size: int,
    geometry: Geometry,
) -> Score:
    """A candidate's score on one observable, with the floor where the metric has one."""
    value, error, layers = found.summary(observable)
    remark = found.remarks.get(observable, "")
    if floor is None:
        return Score(
            metric=metric.name,
            observable=observable,
            candidate=candidate,
            value=value,
            error=error,
            floor=math.nan,
            floor_error=math.nan,
            n_showers=size,
            reason=found.reason(observable),
            remark=remark,
        )
    floor_value, floor_error, floor_layers = floor.summary(observable)
    return Score(
        metric=metric.name,
        observable=observable,
        candidate=candidate,
        value=value,
        error=error,
        floor=floor_value,
        floor_error=floor_error,
        n_showers=size,
        comparable=metric.is_comparable(size, geometry),
        layers=layers,
        floor_layers=floor_layers,
        layer_errors=found.layer_errors(observable),
        floor_layer_errors=floor.layer_errors(observable),
        reason=_reason(observable, found, floor),
        remark=remark,
    )


def _reason(observable: str, found: Measured, floor: Measured) -> str:
    """Why value, floor or error is missing, and in which layers one of the two is."""
    value, of_floor = found.reason(observable), floor.reason(observable)
    parts = [value, "" if of_floor == value else f"floor: {of_floor}" if of_floor else ""]
    sides = (np.isnan(side.summary(observable)[2]) for side in (found, floor))
    lacking, without_floor = sides
    for word, layers in (
        ("no value", np.flatnonzero(lacking & ~without_floor)),
        ("no floor", np.flatnonzero(without_floor & ~lacking)),
    ):
        if len(layers) and not (lacking.all() or without_floor.all()):
            parts.append(f"{word} in {_layers(layers)}, which its mean leaves out")
    return "; ".join(filter(None, parts))


def _layers(numbers: NDArray[np.int64]) -> str:
    """Rising numbers of layers in words: layers 3, 5 to 8."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    words = (f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    return f"layer{'s' * (len(numbers) > 1)} {', '.join(words)}"


def _take(columns: Columns, rows: NDArray[np.int64]) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def _joined(found: list[Comparison]) -> Measured:
    return Measured.concatenate(
        [
            Measured(
                {name: np.asarray([value], np.float64) for name, value in one.values.items()},
                one.errors,
                one.outputs,
                remarks=one.remarks,
            )
            for one in found
        ]
    )


def _mean_over_layers(found: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(found.reshape(len(found), -1), axis=1))


def _spread(means: Floats) -> float:
    return float(means.std(ddof=1)) if len(means) > 1 else float("nan")
