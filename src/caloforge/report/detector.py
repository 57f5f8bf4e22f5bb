"""A detector as a picture: its layers from the side, the voxels of one from the front."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from caloforge.geometry import Geometry, Layer, PolarLayer
from caloforge.report.figures import GEANT4, LIGHT, MIDDLE, style
from caloforge.report.images import half_width
from caloforge.report.lines import line_of

__all__ = ["draw_detector"]

SMOOTH = 181  # points of a circle


def draw_detector(geometry: Geometry) -> Figure:
    """Draw the layers of a detector from the side, and the voxels of its middle layer.

    Particles come from the left, and in the front view towards the reader's back.

    Args:
        geometry: the layers.
    """
    middle = geometry.n_layers // 2
    reach = half_width(geometry) or max(_reach(layer) for layer in geometry.layers)
    with style():
        figure = Figure(figsize=(9.0, 3.8), dpi=120)
        figure.subplots_adjust(left=0.09, right=0.97, bottom=0.15, top=0.9, wspace=0.28)
        side, front = figure.subplots(1, 2)
        for layer, depth in zip(geometry.layers, geometry.z, strict=True):
            half = min(_reach(layer), reach)
            side.plot([depth, depth], [-half, half], color=GEANT4, linewidth=0.9)
        first, length = min(geometry.z), float(np.ptp(geometry.z)) or reach
        arrow = {"arrowstyle": "->", "color": line_of(2)["color"], "linewidth": 1.6}
        tip, tail = first - 0.02 * length, first - 0.15 * length
        side.annotate("", xy=(tip, 0), xytext=(tail, 0), arrowprops=arrow)
        side.set_xlim(first - 0.2 * length, first + 1.05 * length)
        _label(side, f"{geometry.n_layers} layers", "depth [mm]", "x [mm]")
        _draw_voxels(front, geometry.layers[middle])
        a, b = geometry.layers[middle].shape
        _label(front, f"layer {middle}: {a} × {b} voxels", "x [mm]", "y [mm]")
        front.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        side.set_ylim(-1.05 * reach, 1.05 * reach)
    return figure


def _reach(layer: Layer) -> float:
    """How far from the axis a layer has voxels [mm]."""
    edges = layer.r_edges if isinstance(layer, PolarLayer) else (*layer.x_edges, *layer.y_edges)
    return max(map(abs, edges))


def _label(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across, fontsize=10, loc="center")
    axes.set_ylabel(up, fontsize=10, loc="center")
    axes.tick_params(labelsize=9)


def _draw_voxels(axes: Axes, layer: Layer) -> None:
    """The borders of the voxels of a layer."""
    line: dict[str, Any] = {"color": MIDDLE, "linewidth": 0.6}
    if isinstance(layer, PolarLayer):
        angle = np.linspace(-np.pi, np.pi, SMOOTH)
        borders = np.linspace(-np.pi, np.pi, layer.n_alpha + 1)[:-1] if layer.n_alpha > 1 else ()
        inner, outer = layer.r_edges[0], layer.r_edges[-1]
        axes.fill(outer * np.cos(angle), outer * np.sin(angle), color=LIGHT, zorder=0)
        for r in layer.r_edges:
            axes.plot(r * np.cos(angle), r * np.sin(angle), **line)
        for alpha in borders:
            ends = np.array([inner, outer])
            axes.plot(ends * np.cos(alpha), ends * np.sin(alpha), **line)
        return
    x, y = np.asarray(layer.x_edges), np.asarray(layer.y_edges)
    axes.fill_between(x[[0, -1]], y[0], y[-1], color=LIGHT, zorder=0)
    axes.vlines(x, y[0], y[-1], **line)
    axes.hlines(y, x[0], x[-1], **line)
