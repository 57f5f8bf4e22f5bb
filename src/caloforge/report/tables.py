"""The tables of the page: scores and their floor, the CaloChallenge's table, times."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caloforge.evaluation.digits import format_value
from caloforge.evaluation.meanings import (
    CLASSIFIER,
    CLASSIFIERS,
    METRICS,
    kind_of,
    kind_title,
    meaning,
)
from caloforge.evaluation.score import AT_FLOOR, Mark, Score
from caloforge.evaluation.scores import Scores
from caloforge.evaluation.worth import WORTH

__all__ = [
    "Cell",
    "Group",
    "Overview",
    "TimingTable",
    "full_title",
    "groups",
    "overview",
    "timing_table",
]

# One column of the overview each.
AVERAGED = {
    "wasserstein": "Wasserstein",
    "caloclouds": "CaloClouds",
    "points": "Points",
    "separation": "Separation",
}
LEFT_OUT = {"jsd", "max"}  # of the overview: what their neighbours show as well
SHORT = {"fpd": "FPD", "fpd-trimmed": "FPD without tails", "kpd": "KPD"}
NOT_TIMED = "not timed"
IN_SUMMARY = {WORTH, "copies"}  # and not in the overview as well
GROUPS = {
    WORTH: (
        "How many independent Geant4 showers are as far from the truth as the generated sample, by "
        "the energy distance of each observable at given conditions; infinitely many for a perfect "
        "generator. Larger than (>) where no difference is seen. Inverse worths are averaged over "
        "conditions."
    ),
    CLASSIFIER: (
        "How often a network that has seen both picks the Geant4 shower out of a pair (AUC): 0.5 "
        "if they are indistinguishable, 1 if always, below 0.5 if it is wrong more often than "
        "right. JSD is another measure: the Jensen-Shannon divergence that the network's "
        "calibrated outputs prove, in bits, 0 for no difference and 1 for no overlap. Taken from "
        "few showers it may fall a little below 0."
    ),
    "permutation": (
        "The chance that two Geant4 samples differ as much (p), by three distances of all showers. "
        "It needs no floor: a generator as good as Geant4 is below 0.05 once in twenty times."
    ),
    "nplm": (
        "The same for a kernel machine that learns the ratio of the two densities; where the two "
        "differ is named below."
    ),
    "fpd": (
        "Distance of Gaussians of the shower features' means and covariances, extrapolated to "
        "infinitely many showers."
    ),
    "fpd-trimmed": (
        "The same with each feature kept between the 1 % and 99 % quantiles of Geant4."
    ),
    "kpd": (
        "Maximum mean discrepancy of the shower features; it fluctuates around zero for equal "
        "samples, and may be negative."
    ),
    "prdc": (
        "Overlap of the two samples by nearest neighbours, all voxels taken. What more Geant4 "
        "showers give is the floor, and both ways off it are bad: lower precision is of showers "
        "that Geant4 does not make, lower recall of showers that the generator does not make, and "
        "higher ones are of a generator that stays near the mean, or that repeats showers."
    ),
    "pearson": ("Difference of Pearson's coefficients of every two layers."),
    "wasserstein": (
        "How far the distribution must be moved to become Geant4's, in standard deviations of "
        "Geant4's."
    ),
    "caloclouds": (
        "The same for CaloClouds' observables of cells above the threshold; of a list, such as "
        "the energies of ten rings, the mean."
    ),
    "points": ("The same for the point clouds, before they are projected into cells."),
    "separation": (
        "Difference of histograms: 0 for the same shape, 1 for no overlap. Mean over the layers "
        "where there are several."
    ),
    "copies": (
        "Fraction of showers that lie ten times nearer to a training shower than Geant4's do, and "
        "of those nearer than all but 1 % of Geant4's; the median of the ratio of these distances."
    ),
}


@dataclass(frozen=True)
class Cell:
    """One score as it appears in a table.

    Args:
        text: value and error.
        note: a few words in small print.
        mark: how far off its floor it is.
        best: whether it is the best of its row or column.
        hint: verdict and floor, or why there is none.
        key: what columns are sorted by: the lower, the better.
    """

    text: str
    note: str
    mark: Mark
    best: bool
    hint: str
    key: float


@dataclass(frozen=True)
class Group:
    """Scores of one kind: a row for each, with its floor and a cell for every candidate.

    Args:
        title: what they are.
        text: how to read them.
        meanings: of each metric its name, and what it sees, cannot see and needs.
        compared: on how many showers.
        rows: title, which way is better, floor, and the cells.
        reasons: what is to be said of values, and of missing ones, in sentences.
    """

    title: str
    text: str
    meanings: list[tuple[str, str]]
    compared: str
    rows: list[tuple[str, str, str, list[Cell]]]
    reasons: list[str]


@dataclass(frozen=True)
class Overview:
    """The main scores: a row for each candidate.

    Args:
        columns: two lines of heading and the floor.
        rows: name, scores at their floor, the score farthest off, and a cell for each column.
    """

    columns: list[tuple[str, str, str]]
    rows: list[tuple[str, str, str, list[Cell]]]


def overview(scores: Scores) -> Overview:
    """The main scores of all candidates; metrics with many observables are given as their mean."""
    names = list(scores.candidates)
    columns, cells = [], []
    for first, second, parts in _columns(scores):
        whole = {name: _mean(own) for name, own in parts.items()}
        floor = next(iter(whole.values())).text(of_floor=True)
        columns.append((first, second, floor))
        row = list(whole.values())
        cells.append({name: _cell(score, row, parts[name]) for name, score in whole.items()})
    none = Cell("not taken", "", "unknown", False, "this metric was not taken", math.inf)
    rows = [
        (name, *_verdict(scores, name), [column.get(name, none) for column in cells])
        for name in names
    ]
    return Overview(columns, rows)


def _columns(scores: Scores) -> Iterator[tuple[str, str, dict[str, list[Score]]]]:
    """Heading of each column of the overview and the scores in it, by candidate."""
    rows = scores.rows()
    for metric, observable, row in rows:
        if metric in AVERAGED:
            together = [r for name, _, r in rows if name == metric]
            if row is together[0]:
                parts: dict[str, list[Score]] = {}
                for score in (score for r in together for score in r):
                    parts.setdefault(score.candidate, []).append(score)
                yield AVERAGED[metric], f"mean of {len(together)}", parts
        elif observable not in LEFT_OUT and metric not in IN_SUMMARY:
            yield *_heading(row[0]), {score.candidate: [score] for score in row}


def _heading(score: Score) -> tuple[str, str]:
    if score.metric in SHORT:
        return SHORT[score.metric], f"× {score.scale:g}"
    if score.metric == "pearson":
        return "Correlation", "mean difference"
    first, _, second = score.title.partition(", ")
    return first, second


def _mean(parts: Sequence[Score]) -> Score:
    """Mean of scores that have a floor; its error is at most the mean of theirs."""
    known = [part for part in parts if not math.isnan(part.floor)] or parts

    def mean(name: str) -> float:
        return statistics.fmean(getattr(part, name) for part in known)

    return dataclasses.replace(
        known[0],
        value=mean("value"),
        error=mean("error"),
        floor=mean("floor"),
        floor_error=mean("floor_error"),
    )


def groups(scores: Scores) -> Iterator[Group]:
    """All scores, each cell marked by its distance from the floor."""
    rows = scores.rows()
    for kind, text in GROUPS.items():
        mine = [row for metric, _, row in rows if kind_of(metric) == kind]
        if not mine:
            continue
        sizes = sorted({score.n_showers for row in mine for score in row})
        yield Group(
            kind_title(kind),
            text,
            list(_meanings({row[0].metric: row[0] for row in mine})),
            f"{' or '.join(f'{n:,}' for n in sizes)} showers of each",
            [
                (
                    row[0].title,
                    row[0].quantity.better,
                    row[0].text(of_floor=True),
                    [_cell(score, row, [score]) for score in row],
                )
                for row in mine
            ],
            [
                f"{score.candidate}, {score.title}: {text}"
                for row in mine
                for score in row
                for text in filter(None, (score.reason, score.remark))
            ],
        )


def _meanings(found: Mapping[str, Score]) -> Iterator[tuple[str, str]]:
    """Of each metric its name, and what it sees, cannot see and needs."""
    for name, score in found.items():
        if (known := meaning(name)) is None:
            continue
        text = known.sentence
        if name in CLASSIFIERS:
            with_published = "comparable" if score.comparable else "not comparable"
            text += f" Here {with_published} with published scores."
        yield known.title, text


def _verdict(scores: Scores, name: str) -> tuple[str, str]:
    """In words: how many scores are at their floor, and which is farthest off it."""
    mine = [value for value in scores.values if value.candidate == name]
    with_floor = [
        value for value in mine if value.quantity.toward == "chance" or not math.isnan(value.floor)
    ]
    at_floor = f"{sum(value.mark == 'floor' for value in mine)} of {len(with_floor)}"
    known = [value for value in mine if value.mark != "unknown"]
    worst = max(known, key=lambda value: value.excess, default=None)
    missing = [value for value in with_floor if math.isnan(value.value)]
    words = []
    if worst is not None and worst.mark != "floor":
        words.append(f"{full_title(worst)}, {worst.verdict}")
    if missing:
        words.append(f"{len(missing)} without a value")
    return at_floor, "; ".join(words) or "none"


def full_title(score: Score) -> str:
    """Its title, with the kind of a metric whose observables another one has, too."""
    kind = AVERAGED.get(score.metric)
    return f"{score.title} ({kind})" if kind else score.title


def _distance(score: Score) -> float:
    """What is better the lower it is."""
    to_bad = score.quantity.badness(score.value, score.floor)
    distance = score.value if score.quantity.toward == "low" else to_bad
    return math.inf if math.isnan(distance) else distance


def _cell(score: Score, row: Sequence[Score], parts: Sequence[Score]) -> Cell:
    """A score among those of all candidates; of several parts, the worst one marks it."""
    marks = [part.mark for part in parts]
    worst = max(marks, key=("unknown", "floor", "seen", "far").index)
    lowest = min(_distance(other) for other in row)
    off = any(other.excess >= AT_FLOOR for other in row)
    return Cell(
        text="no value" if math.isnan(score.value) else score.text(),
        note=_note(score, parts, row[0].text(of_floor=True)),
        mark=worst,
        best=len(row) > 1 and off and _distance(score) == lowest < math.inf,
        hint=_hint(score, parts),
        key=_distance(score),
    )


def _note(score: Score, parts: Sequence[Score], floor: str) -> str:
    """In small print: how many parts are at their floor; or verdict, size in floors, other floor.

    The floor is that of the row, which is the first candidate's.
    """
    if len(parts) > 1:
        return f"{sum(part.mark == 'floor' for part in parts)}/{len(parts)}"
    is_silent = math.isnan(score.value) or math.isinf(score.floor)  # or no floor to be read against
    verdict = "" if is_silent or score.verdict == "at the floor" else score.verdict
    own = score.text(of_floor=True)
    return ", ".join(
        filter(None, (verdict, _times_floor(score), "" if own == floor else f"floor {own}"))
    )


def _hint(score: Score, parts: Sequence[Score]) -> str:
    reasons = list(dict.fromkeys(part.reason for part in parts if part.reason))
    taken = f"{score.n_showers:,} showers of each"
    if math.isfinite(score.floor):
        taken = f"floor {score.text(of_floor=True)}, {taken}"
    verdict = [] if len(parts) > 1 else [score.verdict]
    if verdict and math.isfinite(score.excess):
        verdict = [f"{score.verdict}: {abs(score.excess):.1f} spreads"]
    return "; ".join((*verdict, taken, *reasons))


def _times_floor(score: Score) -> str:
    """The score in floors, where it is a distance whose floor is well above zero."""
    is_distance = score.metric in METRICS and score.quantity.toward == "low"
    if not (is_distance and score.floor > 2 * score.floor_error and math.isfinite(score.value)):
        return ""
    times = score.value / score.floor
    return f"× {times:.2g}" if times < 100 else f"× {times:,.0f}"


@dataclass(frozen=True)
class TimingTable:
    """Times of generation: a row for each candidate and device.

    Args:
        batch_sizes: a column for each.
        rows: candidate, device, parameters, peak memory, and (time, hint) for each batch size.
        notes: why a time is missing, hardware and protocol, each once.
    """

    batch_sizes: list[int]
    rows: list[tuple[str, str, str, str, list[tuple[str, str]]]]
    notes: list[str]


def timing_table(timing: Mapping[str, Mapping[str, Any]]) -> TimingTable:
    """Times [ms per shower] by batch size, from the results of `caloforge bench` by candidate."""
    sizes = sorted({row["batch_size"] for record in timing.values() for row in record["rows"]})
    rows, notes = [], []
    for name, record in timing.items():
        by_device: dict[str, dict[int, Any]] = {}
        for row in record["rows"]:
            threads = row["threads"] if row["device"] == "cpu" else None
            device = row["device"] + (f", threads: {threads}" if threads else "")
            by_device.setdefault(device, {})[row["batch_size"]] = row
        for device, found in by_device.items():
            peaks = [row["peak_memory_MB"] for row in found.values() if row["peak_memory_MB"]]
            peak = f"{max(peaks):,.0f} MB" if peaks else "not measured"
            times = [_time(found.get(size)) for size in sizes]
            rows.append((name, device, f"{record['parameters']['total']:,}", peak, times))
        notes += [
            f"{name}, {row['device']}, {row['batch_size']:,} at once: {row['reason']}."
            for row in record["rows"]
            if row["ms_per_shower"] is None and row.get("reason")
        ]
        notes += [_hardware(record["hardware"]), record["protocol"]]
    return TimingTable(sizes, rows, list(dict.fromkeys(notes)))


def _time(row: Mapping[str, Any] | None) -> tuple[str, str]:
    if row is None:
        return NOT_TIMED, NOT_TIMED
    if row["ms_per_shower"] is None:
        return NOT_TIMED, row.get("reason") or NOT_TIMED
    text = format_value(row["ms_per_shower"], row["ms_per_shower_std"])
    return text, f"{row['runs']} runs of {row['n_showers']:,} showers"


def _hardware(hardware: Mapping[str, Any]) -> str:
    gpu = f"; {hardware['gpu']}" if hardware["gpu"] else ""
    return f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_GB']:.0f} GB{gpu}."
