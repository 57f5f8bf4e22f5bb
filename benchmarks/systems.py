"""Worth and AUC of systems against the time of a shower, Geant4 and the library among them.

    python benchmarks/systems.py worth/scores.json auc/scores.json --geant4 320 -o systems.png

The files are those that `caloforge evaluate` wrote: worth and AUC of a candidate may stand in
different ones, of samples of different sizes. The AUC is that of the classifier that separates
best. Times are those that the evaluation was given (`--timing`), or `--ms NAME=MILLISECONDS`. What
a candidate lacks is not drawn; candidates without a time are named. Open symbols are samples of
copies of training showers, triangles are lower limits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from caloforge.data import replacing
from caloforge.report.figures import encode

AUCS = ("auc_showers", "auc_layers", "auc_voxels")
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


@dataclass(frozen=True)
class Point:
    """One system: its name, the time of a shower [ms], and what evaluations know of it."""

    name: str
    ms: float
    known: Mapping[str, Any]

    def style(self, number: int) -> dict[str, Any]:
        """A colour by its number, open where every other shower or more is a copy."""
        copied = self.known.get("copies", 0) > 0.5
        return {"color": f"C{number}", "mfc": "white" if copied else f"C{number}", "ms": 6}


def points(files: Iterable[Path], times: Mapping[str, float]) -> tuple[list[Point], list[str]]:
    """The candidates of all files by rising time, and the names of those without a time."""
    known: dict[str, dict[str, Any]] = {}
    for file in files:
        for record in json.loads(file.read_text(encoding="utf-8"))["summary"]:
            mine = known.setdefault(record["candidate"], {})
            mine.update({key: value for key, value in record.items() if value is not None})
    clock = {name: times.get(name, mine.get("ms_per_shower")) for name, mine in known.items()}
    found = [Point(name, ms, known[name]) for name, ms in clock.items() if ms is not None]
    return sorted(found, key=lambda one: one.ms), [n for n, ms in clock.items() if ms is None]


def figure(found: Sequence[Point], geant4_ms: float | None) -> Figure:
    """Worth on the left, AUC on the right."""
    with mpl.rc_context(STYLE):
        drawn = Figure((9.5, 3.4), layout="constrained")
        left, right = drawn.subplots(1, 2, sharex=True)
        draw_worth(left, found)
        draw_auc(right, found)
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xlabel("time of a shower [ms]")
            if geant4_ms is not None:
                axes.axvline(geant4_ms, color="black", lw=1)
        names = [Line2D([], [], ls="", marker="o", label=p.name, **p.style(i))
                 for i, p in enumerate(found)]  # fmt: skip
        names.append(Line2D([], [], color="black", lw=1, label="Geant4"))
        drawn.legend(handles=names, loc="outside right center", frameon=False)
    return drawn


def draw_worth(axes: Axes, found: Sequence[Point]) -> None:
    """Worth with its limits of 68 %, a triangle where it is a lower limit."""
    for i, one in enumerate(found):
        if "worth_low" not in one.known:
            continue
        low, value, high = (one.known.get(f"worth{end}") for end in ("_low", "", "_high"))
        if value is None or high is None:
            axes.plot(one.ms, low, marker="^", **one.style(i))
        else:
            axes.errorbar(one.ms, value, [[value - low], [high - value]], fmt="o", **one.style(i))
    axes.set_yscale("log")
    axes.set_ylabel("worth [Geant4 showers]")


def draw_auc(axes: Axes, found: Sequence[Point]) -> None:
    """The largest AUC of each system, and as bands the floors of the classifiers that gave it."""
    floors = set()
    for i, one in enumerate(found):
        if taken := [key for key in AUCS if key in one.known]:
            key = max(taken, key=one.known.__getitem__)
            error = one.known.get(f"{key}_error")
            axes.errorbar(one.ms, one.known[key], error, fmt="o", **one.style(i))
            floors.add((one.known.get(f"{key}_floor"), one.known.get(f"{key}_floor_error", 0.0)))
    for value, error in floors - {(None, 0.0)}:
        axes.axhspan(value - error, value + error, color="black", alpha=0.15, lw=0)
    axes.set_ylabel("largest AUC (band: Geant4)")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path, nargs="+")
    parser.add_argument("--ms", action="append", default=[], metavar="NAME=MILLISECONDS")
    parser.add_argument("--geant4", type=float, metavar="MILLISECONDS")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args(arguments)
    times = {name: float(ms) for name, _, ms in (text.rpartition("=") for text in asked.ms)}
    found, lacking = points(asked.scores, times)
    if lacking:
        print(f"no time is known of {', '.join(lacking)}: give --ms NAME=MILLISECONDS")
    if not found:
        parser.error("there is nothing to draw")
    with replacing(asked.output) as temporary:
        temporary.write_bytes(encode(figure(found, asked.geant4), asked.output.suffix[1:]))


if __name__ == "__main__":
    main()
