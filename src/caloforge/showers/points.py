"""Showers as clouds of points with energy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caloforge.geometry import Geometry
from caloforge.showers.particles import Floats, floats
from caloforge.showers.plausible import check_entries
from caloforge.showers.ragged import RaggedShowers, integers, sums
from caloforge.showers.voxels import VoxelShowers

__all__ = ["PointShowers"]

Doubles = NDArray[np.float64]

_LAYERS = 256  # that their numbers in a byte can distinguish


@dataclass(frozen=True, eq=False)
class PointShowers(RaggedShowers):
    """Showers as clouds of points with energy.

    Args:
        energy_inc: incident energy [MeV], above 0, shape (n,).
        offset: first point of each shower and, last, the number of points, shape (n + 1,).
        x: position [mm] from the impact point, shape (n_points,).
        y: position [mm] from the impact point, shape (n_points,).
        layer: layer of each point, counted from 0, shape (n_points,).
        energy: energy of each point [MeV], shape (n_points,).
        geometry: the detector in whose layers the points lie.
        direction: unit vectors along which the incident particles fly, in the frame of the points
            with z along the depth, shape (n, 3), or (3,) for all; by default along z.
        pdg: codes of the kinds of the incident particles, see `Particles`, shape (n,), or one for
            all; by default 0, not known.

    Raises:
        ImpossibleShowerError: for incident energies that are not above 0 and finite, positions or
            energies that are not finite, or negative energies; names the first shower and point.
        ValueError: for shapes that do not fit, layers outside the geometry, or particles that
            `Particles` refuses.
    """

    x: Floats
    y: Floats
    layer: NDArray[np.uint8]
    energy: Floats
    geometry: Geometry

    columns: ClassVar[tuple[str, ...]] = ("x", "y", "layer", "energy")

    def __post_init__(self) -> None:
        layer = integers("layer", self.layer)
        n_layers = min(self.geometry.n_layers, _LAYERS)
        if layer.size and (layer.min() < 0 or layer.max() >= n_layers):
            raise ValueError(
                f"layers must lie in 0 … {n_layers - 1} for {self.geometry.name}, "
                f"got {layer.min()} … {layer.max()}: is it another geometry?"
            )
        object.__setattr__(self, "layer", layer.astype(np.uint8, copy=False))
        for name in ("x", "y", "energy"):
            object.__setattr__(self, name, floats(getattr(self, name)))
        super().__post_init__()
        for name, unit in {"x": "mm", "y": "mm", "energy": "MeV"}.items():
            check_entries(
                name,
                getattr(self, name),
                self.offset,
                lambda entry, first: f"point {entry - first}",
                unit=unit,
                positive=name == "energy",
            )

    def __repr__(self) -> str:
        return (
            f"PointShowers({len(self)} showers in the layers of {self.geometry.name}, "
            f"{len(self.energy)} points)"
        )

    def total_energy(self) -> NDArray[np.float64]:
        """Energy of all points [MeV], shape (n,)."""
        return sums(self.event(), self.energy, len(self))

    def layer_counts(self) -> NDArray[np.int64]:
        """Number of points in each layer, shape (n, n_layers)."""
        n_layers = self.geometry.n_layers
        counts = np.bincount(self.plane(), minlength=len(self) * n_layers)
        return counts.reshape(len(self), n_layers)

    def layer_energies(self) -> NDArray[np.float64]:
        """Energy of the points in each layer [MeV], shape (n, n_layers)."""
        n_layers = self.geometry.n_layers
        return sums(self.plane(), self.energy, len(self) * n_layers).reshape(len(self), n_layers)

    def plane(self) -> NDArray[np.int64]:
        """Number of each point's layer among the layers of all showers, shape (n_points,)."""
        return self.event() * self.geometry.n_layers + self.layer

    def within(self, half_width: float) -> PointShowers:
        """The same showers without the points outside the box of |x|, |y| <= half_width [mm]."""
        kept = (np.abs(self.x) <= half_width) & (np.abs(self.y) <= half_width)
        counted = np.concatenate([[0], np.cumsum(kept)])
        chosen = {name: getattr(self, name)[kept] for name in self.columns}
        return dataclasses.replace(self, offset=counted[self.offset], **chosen)

    def project(
        self,
        geometry: Geometry,
        shift: ArrayLike = (0.0, 0.0),
        angle: ArrayLike | None = None,
    ) -> VoxelShowers:
        """Sum the points into the voxels of a geometry; `lost` says what none of them holds.

        The voxels lie in the layers of the points, at the same depths; their cells may be any.
        Points in a gap between sensors are lost, and so are those outside a geometry that ends by
        choice, such as `ild-30`.

        Example:
            >>> from caloforge.geometry import ild_ecal
            >>> cells = points.project(ild_ecal((37.5, -36.1)))
            >>> print(f"{points.lost(cells).mean():.1%} of the energy falls into gaps")
            0.8% of the energy falls into gaps

        Args:
            geometry: the voxels.
            shift: added to x and y of every point [mm], shape (2,), or (n, 2) for one of each
                shower.
            angle: by which the showers, and the directions of their particles, are rotated about
                the z axis before the shift, from x to y [radian], a number or shape (n,).

        Raises:
            ValueError: for a geometry of other layers, a shift or an angle of another shape or not
                finite, or a point beyond the sensors that are known.
        """
        self.geometry.check_same_layers(geometry)
        # sums in double keep points off the borders
        x, y = self.x.astype(np.float64), self.y.astype(np.float64)
        particles = self.of_particles()
        if angle is not None:
            x, y = _turned(x, y, self._of_points("angle", angle, ()))
            u_x, u_y, u_z = self.direction.astype(np.float64).T
            particles["direction"] = np.stack(
                [*_turned(u_x, u_y, np.asarray(angle, np.float64)), u_z], axis=1
            )
        dx, dy = self._of_points("shift", shift, (2,)).T
        voxel = geometry.find_voxels(self.layer, x + dx, y + dy)
        inside = voxel >= 0
        counted = np.concatenate([[0], np.cumsum(inside)])
        return VoxelShowers(
            offset=counted[self.offset],
            index=voxel[inside],
            energy=self.energy[inside],
            geometry=geometry,
            **particles,
        )

    def lost(self, projected: VoxelShowers) -> NDArray[np.float64]:
        """Fraction of each shower's energy that no voxel holds, shape (n,), 0 for an empty shower.

        Args:
            projected: what `project` made of these showers.

        Raises:
            ValueError: if they are not as many.
        """
        if len(projected) != len(self):
            raise ValueError(
                f"expected {len(self)} projected showers, got {len(projected)}: give those that "
                "project made of these points"
            )
        whole = self.total_energy()
        lost = np.maximum(whole - projected.total_energy(), 0)  # voxels are rounded to float32
        return np.divide(lost, whole, out=np.zeros(len(self)), where=whole > 0)

    def _of_points(self, name: str, given: ArrayLike, shape: tuple[int, ...]) -> Doubles:
        """What is given for all showers, or for each, for every point."""
        values = np.asarray(given, dtype=np.float64)
        of_each = (len(self), *shape)
        if values.shape not in (shape, of_each) or not np.isfinite(values).all():
            raise ValueError(
                f"{name} must be finite numbers of shape {shape} for all showers or {of_each} for "
                f"each, got shape {values.shape}"
            )
        return values if values.shape == shape else np.repeat(values, np.diff(self.offset), axis=0)


def _turned(x: Doubles, y: Doubles, angle: Doubles) -> tuple[Doubles, Doubles]:
    """Components after a rotation by an angle [radian] from x to y."""
    cos, sin = np.cos(angle), np.sin(angle)
    return x * cos - y * sin, x * sin + y * cos
