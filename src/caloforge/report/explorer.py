"""Histograms of every layer, packed for the browser to draw."""

from __future__ import annotations

from typing import Any

from caloforge.report.display import pack_array
from caloforge.report.figures import GEANT4
from caloforge.report.histograms import content
from caloforge.report.layers import features_shown, layer_panel, layers_of
from caloforge.report.lines import line_of, symbol_of
from caloforge.report.panel import Panel, Samples, reference_of

__all__ = ["explorer"]

# What plotly calls the lines and symbols of figures.
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
SYMBOLS = {
    **{"o": "circle", "s": "square", "D": "diamond", "P": "cross", "X": "x", "*": "star"},
    **{"<": "triangle-left", ">": "triangle-right", "p": "pentagon", "h": "hexagon"},
}


def explorer(samples: Samples) -> dict[str, Any]:
    """Collect the distributions of all features in all layers, as plain values for JSON.

    Arrays are base64 of little-endian float32: borders of bins, and for each sample their contents
    and errors.

    Args:
        samples: observables by name, Geant4 first.
    """
    geometry = reference_of(samples).geometry
    return {
        "names": list(samples),
        "lines": [
            {"color": GEANT4, "dash": "solid", "symbol": "circle"},
            *(_line(number) for number in range(len(samples) - 1)),
        ],
        "features": [
            {
                "title": feature.title,
                "unit": feature.unit,
                "log": name == "E_layer",
                "layers": [
                    {"layer": layer, **_pack(layer_panel(samples, name, layer))}
                    for layer in layers_of(geometry, name)
                ],
            }
            for name, feature in features_shown(geometry).items()
        ],
    }


def _line(number: int) -> dict[str, str]:
    line, symbol = line_of(number), symbol_of(number)
    return {
        "color": line["color"],
        "dash": DASHES[line["linestyle"]],
        "symbol": SYMBOLS[symbol["marker"]],
    }


def _pack(panel: Panel) -> dict[str, Any]:
    histograms = list(panel.histograms.values())
    contents = [content(histogram) for histogram in histograms]
    return {
        "edges": pack_array(histograms[0].axes[0].edges, "<f4"),
        "values": [pack_array(value, "<f4") for value, _ in contents],
        "errors": [pack_array(error, "<f4") for _, error in contents],
    }
