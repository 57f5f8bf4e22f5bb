"""Single showers as pictures, for notebooks."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from caloforge.report.figures import style
from caloforge.showers import Showers, VoxelShowers
from caloforge.units import GeV

__all__ = ["draw_showers"]

LARGEST, SMALLEST = 60.0, 2.0  # area of a mark [points²]


def draw_showers(showers: Showers, n: int = 2) -> Figure:
    """Draw the first showers from the side and from the front.

    Every voxel with energy, or point, is a mark at its place, the larger and brighter the more
    energy it has.

    Example:
        >>> figure = cf.draw_showers(showers)
        >>> figure.savefig("showers.png")

    Args:
        showers: voxels or points.
        n: how many of them.

    Raises:
        ValueError: if there is none to draw.
    """
    drawn = showers[:n]
    if not len(drawn):
        raise ValueError(f"expected one shower or more to draw, got {len(showers)} and n={n}")
    seen = drawn.energy[drawn.energy > 0]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (1.0, 1.0)
    norm = LogNorm(low, max(high, low * 1.01))
    with style():
        figure = Figure(figsize=(9.0, 3.6 * len(drawn)), dpi=80)
        figure.subplots_adjust(
            left=0.09,
            right=0.93,
            bottom=0.16 / len(drawn),
            top=1 - 0.08 / len(drawn),
            hspace=0.32,
        )
        grid = figure.subplots(len(drawn), 2, squeeze=False)
        for number, row in enumerate(grid):
            shower: Showers = drawn[number : number + 1]
            x, y, z = _places(shower)
            order = np.argsort(shower.energy)  # the brightest last, on top
            bright = norm(shower.energy[order])
            area = SMALLEST + (LARGEST - SMALLEST) * np.asarray(bright) ** 3
            for axes, across, label in ((row[0], z, "depth [mm]"), (row[1], y, "y [mm]")):
                marks = axes.scatter(
                    across[order], x[order], c=shower.energy[order], s=area, norm=norm, linewidth=0
                )
                axes.set_xlabel(label, fontsize=10, loc="center")
                axes.set_ylabel("x [mm]", fontsize=10, loc="center")
                axes.tick_params(labelsize=9)
            depth = showers.geometry.z
            row[0].set_xlim(min(0.0, *depth), max(depth) * 1.02)
            row[0].set_title(
                f"{shower.energy_inc[0] / GeV:.3g} GeV, {shower.total_energy()[0] / GeV:.3g} GeV "
                f"deposited in {len(shower.energy):,} "
                + ("voxels" if isinstance(shower, VoxelShowers) else "points"),
                fontsize=10,
            )
            bar = figure.colorbar(marks, ax=row[1], pad=0.02)
            bar.set_label("energy [MeV]", size=10)
            bar.ax.tick_params(labelsize=9)
    return figure


def _places(shower: Showers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position of each entry [mm]."""
    geometry = shower.geometry
    if isinstance(shower, VoxelShowers):
        index = shower.index
        return geometry.voxel_x[index], geometry.voxel_y[index], geometry.voxel_z[index]
    return shower.x, shower.y, np.asarray(geometry.z)[shower.layer]
