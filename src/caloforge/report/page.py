"""The page: scores, figures, average showers and single showers in one HTML file."""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from caloforge.data.replacing import replacing
from caloforge.evaluation.assessment import REFERENCE
from caloforge.evaluation.scores import Score, Scores, format_value
from caloforge.report.display import event_display
from caloforge.report.figures import average_showers, draw, encode, line_of
from caloforge.report.panels import sections
from caloforge.units import GeV

__all__ = ["save_page"]

AT_FLOOR, FAR = 2.0, 5.0  # spreads above the floor at which a score counts as seen, as gross
PARTICLES = {"e-": "Electrons", "e+": "Positrons", "gamma": "Photons", "pi+": "Charged pions"}
GROUPS = {
    "classifier": (
        "Classifier",
        "How often a small neural network that has seen both picks the Geant4 shower out of a pair "
        "(AUC): 0.5 if it cannot tell, 1 if always. JSD is the same on a scale from 0 to 1. The "
        "networks fit a CPU and small samples: do not compare with published AUCs.",
    ),
    "wasserstein": (
        "Wasserstein distance",
        "How far the distribution must be moved to become Geant4's, in standard deviations of "
        "Geant4's.",
    ),
    "separation": (
        "Separation power",
        "Difference of histograms: 0 for the same shape, 1 for no overlap. Mean over the layers "
        "where there are several.",
    ),
}


@dataclass(frozen=True)
class Drawn:
    """A figure as it stands on the page."""

    name: str
    title: str
    png: str


def save_page(scores: Scores, path: str | Path, *, figures: Collection[str] = ()) -> None:
    """Write scores, figures and event display as one HTML file that needs no other.

    Args:
        scores: result of `evaluate`.
        path: the file.
        figures: formats, such as "png" and "pdf", in which every figure is also written into the
            folder `<name of the page>_figures` beside it.

    Raises:
        ValueError: for an unknown format, or if the folder of the page does not exist.
    """
    target = Path(path)
    if unknown := set(figures) - set(Figure().canvas.get_supported_filetypes()):
        raise ValueError(f"figures must be formats such as 'png' and 'pdf', got {sorted(unknown)}")
    with replacing(target) as temporary:
        folder = target.with_name(f"{target.stem}_figures")
        html = _render(scores, partial(_keep, folder=folder, kinds=figures))
        temporary.write_text(html, encoding="utf-8")


def _render(scores: Scores, keep: Callable[[Figure, str, str], Drawn]) -> str:
    """The page's text."""
    samples = {REFERENCE: scores.reference, **scores.candidates}
    environment = Environment(
        loader=PackageLoader("caloforge.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        scores=scores,
        reference=REFERENCE,
        names=list(scores.candidates),
        colours={name: line_of(i)["color"] for i, name in enumerate(scores.candidates)},
        summary=_summary(scores),
        verdicts=[_verdict(scores, name) for name in scores.candidates],
        groups=list(_groups(scores)),
        sections=[
            (section, [keep(draw(panel), panel.name, panel.title) for panel in section.panels])
            for section in sections(samples)
        ],
        averages=[
            keep(
                average_showers(scores.reference, sample, (REFERENCE, name)),
                f"average_shower_{re.sub(r'[^0-9A-Za-z]+', '_', name).strip('_')}",
                f"{REFERENCE} and {name}",
            )
            for name, sample in scores.candidates.items()
        ],
        display=_script_json(event_display(samples)),
        provenance=list(_flat(scores.provenance)),
        css=_static("page.css"),
        script=_static("display.js"),
        plotly=_static("plotly-gl3d.min.js"),
    )


def _keep(figure: Figure, name: str, title: str, *, folder: Path, kinds: Collection[str]) -> Drawn:
    """Encode a figure for the page, and write it beside the page in the formats asked for."""
    png = encode(figure, "png")
    for kind in kinds:
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"{name}.{kind}") as temporary:
            temporary.write_bytes(png if kind == "png" else encode(figure, kind))
    return Drawn(name, title, b64encode(png).decode("ascii"))


def _static(name: str) -> str:
    return (files("caloforge.report") / "static" / name).read_text(encoding="utf-8")


def _script_json(values: Any) -> str:
    """JSON that may stand inside a script element, whatever the names of the samples."""
    return json.dumps(values).replace("<", "\\u003c")


def _summary(scores: Scores) -> str:
    geometry, energies = scores.reference.geometry, scores.reference.energy_inc / GeV
    particle = PARTICLES.get(geometry.particle, geometry.particle)
    return (
        f"{particle} of {energies.min():.3g} to {energies.max():.3g} GeV in {geometry.name}: "
        f"{geometry.n_layers} layers, {geometry.n_voxels:,} voxels; "
        f"{len(scores.reference):,} Geant4 showers; read-out threshold "
        f"{scores.provenance['threshold_MeV']:.4g} MeV"
    )


def _verdict(scores: Scores, name: str) -> tuple[str, str]:
    """In words: how many scores are at their floor, and which is farthest above."""
    mine = [value for value in scores.values if value.candidate == name]
    known = [value for value in mine if math.isfinite(value.excess)]
    at_floor = sum(_mark(value) == "floor" for value in mine)
    text = f"{at_floor} of {sum(_mark(value) != 'unknown' for value in mine)} scores at their floor"
    worst = max(known, key=lambda value: value.excess, default=None)
    if worst and worst.excess >= AT_FLOOR:
        group = GROUPS[worst.metric][0]
        text += (
            f"; farthest above: {worst.title} ({group}, {format_value(worst.value, worst.error)}"
        )
        text += f" with a floor of {format_value(worst.floor, worst.floor_error)})"
    return name, text


@dataclass(frozen=True)
class Cell:
    """One score as it stands in the table."""

    text: str
    note: str
    mark: str
    best: bool


def _groups(scores: Scores) -> Iterator[dict[str, Any]]:
    """Rows of the table by metric, each cell marked by its distance from the floor."""
    for metric, (title, text) in GROUPS.items():
        rows = [
            (
                row[0].title,
                format_value(row[0].floor, row[0].floor_error),
                [_cell(score, row) for score in row],
            )
            for name, _, row in scores.rows()
            if name == metric
        ]
        if rows:
            sizes = sorted({v.n_showers for v in scores.values if v.metric == metric})
            compared = f"{' or '.join(f'{n:,}' for n in sizes)} showers of each"
            yield {"title": title, "text": text, "rows": rows, "compared": compared}


def _mark(score: Score) -> str:
    """How far above its floor a score is, in a word; a candidate that has no score is far."""
    if math.isfinite(score.excess):
        return "floor" if score.excess < AT_FLOOR else "seen" if score.excess < FAR else "far"
    return "far" if math.isfinite(score.floor) and math.isnan(score.value) else "unknown"


def _cell(score: Score, row: list[Score]) -> Cell:
    known = [other.value for other in row if math.isfinite(other.value)]
    mark = _mark(score)
    times = score.value / score.floor if score.floor > 0 else float("nan")
    scaled = score.metric != "classifier" and mark != "unknown" and math.isfinite(times)
    missing = mark == "far" and math.isnan(score.value)
    return Cell(
        text="nothing in range" if missing else format_value(score.value, score.error),
        note=f"× {times:.2g}" if scaled and times < 100 else f"× {times:,.0f}" if scaled else "",
        mark=mark,
        best=len(row) > 1
        and score.value == min(known, default=None)
        and any(other.excess >= AT_FLOOR for other in row),
    )


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as lines for the table of provenance."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _flat(value, f"{prefix} · {name}" if prefix else str(name))
    else:
        text = ", ".join(map(str, values)) if isinstance(values, list) else str(values)
        yield prefix.replace("_", " "), text
