"""The read-out of a calorimeter: its layers, their depths, its threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from caloforge.geometry.layers import LAYER_KINDS, Floats, Integers, Layer, PolarLayer
from caloforge.units import mm

DEPTH_TOLERANCE = 0.1 * mm  # of layers that are the same, as tables of depths are rounded

_MOST_LAYERS = 10_000
_MOST_VOXELS = 2**32  # that their numbers in four bytes can distinguish

_FORMER = ("energy_range", "particle")  # keys that were a geometry's, and are a sample's

_Array = TypeVar("_Array", Floats, Integers)


def _frozen(array: _Array) -> _Array:
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Geometry:
    """The read-out of a calorimeter as a generator sees it: layers of voxels along the shower.

    It says where energy is read out, and nothing of the particles; what was shot at the detectors
    of the field says `official_sample`.

    x and y are perpendicular to the particle's direction with the impact point at (0, 0), z is the
    depth behind the front face. Voxels are numbered layer by layer.

    Args:
        name: name of the geometry, stored in files.
        layers: the layers, in the order of the shower's development.
        z: depth of the centre of each layer [mm], shape (n_layers,).
        threshold: read-out threshold [MeV]: a voxel below it reads zero.
        layer_ids: the detector's own numbers of the layers, 0, 1, 2, … if not given.
    """

    name: str
    layers: tuple[Layer, ...]
    z: tuple[float, ...]
    threshold: float
    layer_ids: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"Geometry({self.name!r}: {self.n_voxels:,} voxels in {self.n_layers} layers)"

    def __post_init__(self) -> None:
        # Plain values, so that equal geometries compare equal and any of them can be stored.
        numbers = self.layer_ids if len(self.layer_ids) else range(len(self.layers))
        plain = {
            "layers": tuple(self.layers),
            "z": tuple(float(depth) for depth in self.z),
            "threshold": float(self.threshold),
            "layer_ids": tuple(int(number) for number in numbers),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if not self.layers:
            raise ValueError("a geometry needs at least one layer, got none")
        for name, given in (("z", self.z), ("layer_ids", self.layer_ids)):
            if len(given) != len(self.layers):
                raise ValueError(
                    f"{name} must give one number for each of the {len(self.layers)} layers, "
                    f"got {len(given)}"
                )
        if not np.isfinite(self.z).all():
            raise ValueError(f"z must be finite depths [mm], got {self.z}")
        if not 0 <= self.threshold < np.inf:
            raise ValueError(f"threshold must be 0 or more [MeV], got {self.threshold}")
        n_voxels = sum(a * b for a, b in self.layer_shapes)
        if n_voxels > _MOST_VOXELS:
            raise ValueError(f"a geometry may have {_MOST_VOXELS} voxels at most, got {n_voxels}")

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.layers)

    @property
    def n_voxels(self) -> int:
        """Number of voxels of all layers."""
        return int(self.offsets[-1])

    @property
    def layer_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape of each layer: (alpha, r) or (x, y)."""
        return tuple(layer.shape for layer in self.layers)

    @cached_property
    def offsets(self) -> Integers:
        """First voxel of each layer and, last, the number of voxels, shape (n_layers + 1,)."""
        sizes = [a * b for a, b in self.layer_shapes]
        return _frozen(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    def layer_slice(self, layer: int) -> slice:
        """The voxels of a layer in the flat order."""
        return slice(int(self.offsets[layer]), int(self.offsets[layer + 1]))

    @cached_property
    def is_regular(self) -> bool:
        """Whether all layers have the same bins, so that a shower is one block."""
        return all(layer == self.layers[0] for layer in self.layers)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one shower: (layer, alpha, r) or (layer, x, y).

        Raises:
            ValueError: if the layers differ.
        """
        if not self.is_regular:
            raise ValueError(
                f"{self.name} is irregular: its layers have the shapes {self.layer_shapes}; "
                "use layer_slice(i) and layer_shapes[i]"
            )
        return self.n_layers, *self.layers[0].shape

    @property
    def cyclic_axis(self) -> int | None:
        """Axis of a shower's block that wraps around: 1 (alpha) for polar layers, else None."""
        return 1 if all(isinstance(layer, PolarLayer) for layer in self.layers) else None

    @cached_property
    def voxel_layer(self) -> Integers:
        """Layer of each voxel, shape (n_voxels,)."""
        return _frozen(np.repeat(np.arange(self.n_layers), np.diff(self.offsets)))

    @cached_property
    def voxel_x(self) -> Floats:
        """x of the centre of each voxel [mm], shape (n_voxels,)."""
        return _frozen(np.concatenate([layer.centres()[0] for layer in self.layers]))

    @cached_property
    def voxel_y(self) -> Floats:
        """y of the centre of each voxel [mm], shape (n_voxels,)."""
        return _frozen(np.concatenate([layer.centres()[1] for layer in self.layers]))

    @cached_property
    def voxel_r(self) -> Floats:
        """Distance of the centre of each voxel from the axis [mm], shape (n_voxels,)."""
        return _frozen(np.concatenate([layer.radii() for layer in self.layers]))

    @cached_property
    def voxel_z(self) -> Floats:
        """Depth of the centre of each voxel [mm], shape (n_voxels,)."""
        return _frozen(np.asarray(self.z)[self.voxel_layer])

    def find_voxels(self, layer: ArrayLike, x: ArrayLike, y: ArrayLike) -> Integers:
        """Find the voxel of each point.

        Args:
            layer: layer of each point, counted from 0, shape (n,) or one for all.
            x: position [mm], shape (n,).
            y: position [mm], shape (n,).

        Returns:
            Flat voxel index, -1 for a point outside all voxels or in a gap between sensors, shape
            (n,). Bins hold their lower border and not their upper one.

        Raises:
            ValueError: for a point beyond the known sensors of a layer.
        """
        numbers, xs, ys = np.broadcast_arrays(
            np.asarray(layer, dtype=np.int64),
            np.asarray(x, dtype=np.float64),
            np.asarray(y, dtype=np.float64),
        )
        known = (numbers >= 0) & (numbers < self.n_layers)
        local = self.layers[0].find(xs, ys) if self.is_regular else self._find(numbers, xs, ys)
        start = self.offsets[np.where(known, numbers, 0)]
        return np.where(known & (local >= 0), start + local, -1)

    def _find(self, layer: Integers, x: Floats, y: Floats) -> Integers:
        """Index within its layer of the voxel of each point, where the layers differ."""
        numbers = np.clip(layer.reshape(-1), -1, self.n_layers).astype(np.int16)  # sorts in no time
        order = np.argsort(numbers, kind="stable")
        borders = np.searchsorted(numbers[order], np.arange(self.n_layers + 1))
        found = np.full(numbers.shape, -1, dtype=np.int64)
        for bins, (first, last) in zip(self.layers, pairwise(borders), strict=True):
            here = order[first:last]
            found[here] = bins.find(x.reshape(-1)[here], y.reshape(-1)[here])
        return found.reshape(layer.shape)

    def check_same_layers(self, other: Geometry) -> None:
        """Refuse another geometry unless its layers lie at the same depths; cells may differ.

        Depths are the same within `DEPTH_TOLERANCE`, which is less than a sensor is thick.

        Raises:
            ValueError: saying how the layers differ.
        """
        if self.n_layers != other.n_layers:
            how = f"{self.n_layers} layers against {other.n_layers}"
        else:
            apart = np.abs(np.subtract(self.z, other.z))
            layer = int(apart.argmax())
            if apart[layer] <= DEPTH_TOLERANCE:
                return
            how = (
                f"layer {layer} lies at a depth of {self.z[layer]:.1f} mm against "
                f"{other.z[layer]:.1f} mm"
            )
        raise ValueError(
            f"the layers of {self.name} are not those of {other.name}, {how}: choose cells in "
            "layers of the same number and depths"
        )

    def crop(self, n_x: int, n_y: int, *, name: str | None = None) -> Geometry:
        """The core of the showers: the middle n_x x n_y cells of every layer.

        Args:
            n_x: cells along x.
            n_y: cells along y.
            name: name of the core, by default that of the whole with the number of cells after it.

        Raises:
            ValueError: for polar layers, or if so many cells cannot lie in the middle.
        """
        layers: list[Layer] = []
        for layer in self.layers:
            if isinstance(layer, PolarLayer):
                raise ValueError(
                    f"a core is cut out of cartesian cells, {self.name} has polar bins: read those "
                    "of small r instead"
                )
            layers.append(layer.crop(n_x, n_y))
        return dataclasses.replace(
            self, name=name or f"{self.name}-{n_x}x{n_y}", layers=tuple(layers)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON or YAML; a run of equal layers is written once."""
        layers: list[dict[str, Any]] = []
        for layer in self.layers:
            entry = layer.to_dict()
            if layers and {k: v for k, v in layers[-1].items() if k != "repeat"} == entry:
                layers[-1]["repeat"] += 1
            else:
                layers.append({**entry, "repeat": 1})
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("z", "layer_ids"):
            values[name] = list(values[name])
        return {**values, "layers": layers}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Geometry:
        """Inverse of `to_dict`; what geometries of former versions held of particles is left out.

        Raises:
            ValueError: for a missing or unknown key, an unknown kind of layer, or impossible bins.
        """
        layers: list[Layer] = []
        try:
            for entry in values["layers"]:
                fields = dict(entry)
                repeat, kind = fields.pop("repeat", 1), fields.pop("kind")
                if not 0 < repeat <= _MOST_LAYERS - len(layers):
                    raise ValueError(
                        f"a geometry may have 1 to {_MOST_LAYERS} layers, got {repeat} more than "
                        f"{len(layers)}"
                    )
                layers += [LAYER_KINDS[kind](**fields)] * repeat
            plain: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
                if name not in _FORMER
            }
            plain["layers"] = tuple(layers)
            return cls(**plain)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(
                f"not a geometry: {error}; expected the keys that Geometry.to_dict writes"
            ) from error
