"""The page: scores, figures, average showers and single showers in one HTML file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from caloforge.data.replacing import check_target, write_files
from caloforge.evaluation.assessment import REFERENCE
from caloforge.evaluation.digits import format_number
from caloforge.evaluation.meanings import classifier_title
from caloforge.evaluation.sample import Sample
from caloforge.evaluation.scores import Scores
from caloforge.evaluation.summary import summary
from caloforge.evaluation.tails import Tails
from caloforge.geometry import official_sample
from caloforge.pdg import NOT_KNOWN, kinds_of, pdg_code
from caloforge.report.command import command_of
from caloforge.report.conditions import conditions
from caloforge.report.display import event_display
from caloforge.report.explorer import explorer
from caloforge.report.figures import draw
from caloforge.report.images import average_showers, correlations
from caloforge.report.interlayer import adjacent_panels, rho_panels
from caloforge.report.keys import key_of, key_of_geant4
from caloforge.report.lines import legend_name
from caloforge.report.outputs import output_panels
from caloforge.report.panels import sections
from caloforge.report.pictures import Pictures, Shown
from caloforge.report.rings import ring_panels
from caloforge.report.studies import NUMBERED, draw_adjacent, draw_outputs, draw_rings
from caloforge.report.tables import groups, overview, timing_table
from caloforge.report.tails import TailRow, draw_tails, tail_table
from caloforge.report.wide import Wide
from caloforge.units import GeV

__all__ = ["save_page"]

FEW = 6  # candidates whose details are open from the start


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
    check_target(target)  # before the work
    pictures = Pictures(target.with_name(f"{target.stem}_figures"), figures)
    html = _render(scores, pictures.show)
    page = html.encode(errors="backslashreplace")  # a path need not be text
    write_files({**pictures.files, target: page}, parents=True)


def _render(scores: Scores, show: Callable[[Figure | Wide, str, str], Shown]) -> str:
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
        reference=REFERENCE,
        names=list(scores.candidates),
        few=len(scores.candidates) <= FEW,
        keys={name: key_of(number) for number, name in enumerate(scores.candidates)},
        legends=_legends(scores),
        summary=_summary(scores),
        columns=summary(scores),
        overview=overview(scores),
        groups=list(groups(scores)),
        conditions=list(conditions(scores)),
        published=scores.published(),
        shared=scores.shared,
        format_number=format_number,
        classifier_title=classifier_title,
        sections=[
            (section, [show(draw(panel), panel.name, panel.title) for panel in section.panels])
            for section in sections(samples)
        ],
        rho=[show(draw(p), p.name, p.title) for p in rho_panels(samples)],
        rings=[show(draw_rings(p), p.name, p.title) for p in ring_panels(samples)],
        adjacent=[show(draw_adjacent(p), p.name, p.title) for p in adjacent_panels(scores)],
        averages=_images(scores, average_showers, "average_shower", show),
        correlations=_images(scores, correlations, "correlations", show),
        outputs=[
            show(draw_outputs(panel), panel.name, panel.title)
            for panel in output_panels(scores.outputs, list(scores.candidates))
        ],
        tails=list(_tails(scores, show)),
        timing=timing_table(scores.timing) if scores.timing else None,
        explorer=_script_json(explorer(samples)),
        display=_script_json(event_display(samples)),
        provenance=list(_provenance(scores)),
        css=_static("page.css"),
        scripts=[_static(name) for name in ("tables.js", "explorer.js", "display.js")],
        plotly=_static("plotly-gl3d.min.js"),
    )


def _legends(scores: Scores) -> dict[str, list[tuple[Markup, str]]]:
    """By what is drawn, the legend that all its panels share: key and name of each line."""
    names = list(scores.candidates)
    numbers = [line.label for panel in list(adjacent_panels(scores))[:1] for line in panel.lines]
    return {
        "panels": [
            (key_of_geant4(), REFERENCE),
            *((key_of(number), name) for number, name in enumerate(names)),
        ],
        "outputs": [(key_of(number, solid=True), name) for number, name in enumerate(names)],
        "adjacent": [
            (key_of(number, solid=True), label)
            for number, label in zip(NUMBERED, numbers, strict=False)
        ],
    }


def _images(
    scores: Scores,
    image: Callable[[Sample, Sample, tuple[str, str]], Wide],
    name: str,
    show: Callable[[Figure | Wide, str, str], Shown],
) -> list[Shown]:
    """An image of Geant4 and each candidate; their numbers distinguish names that look alike."""
    return [
        show(
            image(scores.reference, sample, (REFERENCE, legend_name(candidate))),
            _file_name(name, number, candidate),
            f"{REFERENCE} and {candidate}",
        )
        for number, (candidate, sample) in enumerate(scores.candidates.items(), 1)
    ]


def _tails(
    scores: Scores, show: Callable[[Figure | Wide, str, str], Shown]
) -> Iterator[tuple[Tails, list[TailRow], Shown]]:
    """Of each candidate with a classifier test: the tails, their table, their showers."""
    for number, candidate in enumerate(scores.candidates, 1):
        if (tails := scores.tails.get(candidate)) is not None:
            figure = draw_tails(tails, (REFERENCE, legend_name(candidate)))
            shown = show(figure, _file_name("tails", number, candidate), candidate)
            yield tails, tail_table(tails), shown


def _file_name(name: str, number: int, candidate: str) -> str:
    return f"{name}_{number:02d}_{re.sub(r'[^0-9A-Za-z]+', '_', candidate).strip('_')}"


def _static(name: str) -> str:
    return (files("caloforge.report") / "static" / name).read_text(encoding="utf-8")


def _script_json(values: Any) -> str:
    """JSON that may be put inside a script element, whatever the names of the samples."""
    return json.dumps(values).replace("<", "\\u003c")


def _summary(scores: Scores) -> str:
    geometry, energies = scores.reference.geometry, scores.reference.energy_inc / GeV
    lost = ""
    if (clouds := scores.reference.clouds) is not None:
        lost = f"; projected from points, {clouds.features['lost'].mean():.2%} of the energy lost"
    kinds = _kinds(scores.reference)
    return (
        f"{kinds[0].upper()}{kinds[1:]} of {energies.min():.3g} to {energies.max():.3g} GeV in "
        f"{geometry.name}: "
        f"{geometry.n_layers} layers, {geometry.n_voxels:,} voxels; "
        f"{len(scores.reference):,} Geant4 showers; read-out threshold "
        f"{scores.provenance['threshold_MeV']:.4g} MeV{lost}"
    )


def _kinds(reference: Sample) -> str:
    """The words for the particles of a sample; where it does not say, of the official one."""
    kinds = set(reference.pdg.tolist())
    official = official_sample(reference.geometry)
    if kinds == {NOT_KNOWN} and official is not None:
        kinds = {pdg_code(official.particle)}
    return kinds_of(kinds)


def _provenance(scores: Scores) -> Iterator[tuple[str, str]]:
    """The lines of the table of provenance."""
    if (command := command_of(scores)) is not None:
        yield "command", command
    yield from _flat(scores.provenance)


def _flat(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as lines for the table of provenance."""
    if isinstance(values, dict):
        for name, value in values.items():
            # the names of candidates stay as they were given
            word = str(name) if prefix == "candidates" else str(name).replace("_", " ")
            yield from _flat(value, f"{prefix} · {word}" if prefix else word)
    else:
        yield prefix, ", ".join(map(str, values)) if isinstance(values, list) else str(values)
