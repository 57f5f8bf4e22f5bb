"""Observables of showers: numbers that the field compares generators by, one row a shower."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from caloforge.geometry import CartesianLayer, Geometry, PolarLayer
from caloforge.showers import VoxelShowers

__all__ = ["HIGH_LEVEL", "Convention", "ShowerSource", "features", "high_level", "stream"]

Floats = NDArray[np.float64]
Convention = Literal["calochallenge", "l2lflows"]

BATCH_SIZE = 512  # showers read at a time: about a million voxels, which stay in the cache
EMPTY = 1e-16  # MeV, added to a layer's energy so that an empty layer has centre and width 0


class ShowerSource(Protocol):
    """Showers in memory or an open file of showers: what can be read run by run."""

    @property
    def energy_inc(self) -> NDArray[np.float32]: ...

    @property
    def geometry(self) -> Geometry: ...

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, selection: slice) -> VoxelShowers: ...
    @overload
    def __getitem__(self, selection: Any) -> Any: ...


def stream(
    showers: ShowerSource, threshold: float | None = None, size: int = BATCH_SIZE
) -> Iterator[VoxelShowers]:
    """Read showers in runs, without the voxels below a read-out threshold [MeV]."""
    for start in range(0, len(showers), size):
        batch = showers[start : start + size]
        yield batch if threshold is None else batch.above(threshold)


def features(
    showers: ShowerSource,
    convention: Convention = "calochallenge",
    *,
    threshold: float | None = None,
    dtype: DTypeLike = np.float64,
) -> dict[str, NDArray[Any]]:
    r"""Compute the observables of each shower, in a stream.

    ``calochallenge``: with the sums over the voxels v of a layer, energies :math:`x_v`,
    :math:`S = \sum_v x_v`, and voxel centres :math:`\eta = r \cos\alpha`,
    :math:`\phi = r \sin\alpha` [mm] (x and y of a cartesian cell),

    .. math::
        \mathrm{EC}_\eta = \frac{\sum_v \eta_v x_v}{S + 10^{-16}}, \qquad
        \mathrm{width}_\eta = \Big[\frac{\sum_v \eta_v^2 x_v}{S + 10^{-16}}
            - \mathrm{EC}_\eta^2\Big]_{\ge 0}^{1/2}

    and likewise for phi and r; ``E_tot`` (n,) and ``E_layer`` [MeV]; ``sparsity``, the fraction of
    *inactive* voxels of each layer. An empty layer has centre 0, width 0 and sparsity 1. Layers
    with a single alpha bin have no ``EC_eta``, ``EC_phi``, ``width_eta`` and ``width_phi``.

    ``l2lflows``: ``energy_ratio`` (deposited over incident energy), ``occupancy`` (fraction of
    active voxels) and ``x_mean``, ``x_std``, … ``z_std``, the energy-weighted mean and standard
    deviation of a shower, each (n,). z is the layer's number; x and y are numbers of cells in a
    cartesian geometry whose layers are equal (centres [mm] where they differ), and
    :math:`r\cos A`, :math:`r\sin A` [mm] with :math:`A = 2\pi i / n_\alpha` in a polar one. NaN
    for an empty shower.

    Args:
        showers: showers in memory, or an open file.
        convention: whose definitions.
        threshold: read-out threshold [MeV]: voxels below it count as empty. None: as they are.
        dtype: precision of the result; the computation is in double precision.

    Returns:
        Arrays of shape (n,) or (n, layers).

    Raises:
        ValueError: for an unknown convention.

    Sources: CaloChallenge, ``HighLevelFeatures``; L2LFlows (Buss et al.), section 4.1.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {sorted(CONVENTIONS)}, got {convention!r}")
    compute = CONVENTIONS[convention]
    parts = [compute(batch) for batch in stream(showers, threshold)] or [compute(showers[:])]
    return {name: column.astype(dtype, copy=False) for name, column in join(parts).items()}


def join(parts: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """Join the observables of successive runs of showers."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def alpha_layers(geometry: Geometry) -> NDArray[np.int64]:
    """Numbers of the layers that resolve two transverse directions."""
    resolved = [isinstance(layer, CartesianLayer) or layer.n_alpha > 1 for layer in geometry.layers]
    return np.flatnonzero(resolved)


def _calochallenge(showers: VoxelShowers) -> dict[str, Floats]:
    geometry, n = showers.geometry, len(showers)
    shape, event = (n, geometry.n_layers), showers.event()
    voxel = showers.index.astype(np.intp)
    cell = event * geometry.n_layers + geometry.voxel_layer[voxel]
    energy = showers.energy.astype(np.float64)
    layer_energy = _sum_by(cell, energy, shape)
    n_active = _sum_by(cell, energy > 0, shape)
    result = {
        "E_tot": _sum_by(event, energy, (n,)),
        "E_layer": layer_energy,
        "sparsity": 1 - n_active / np.diff(geometry.offsets),
    }
    resolved = alpha_layers(geometry)
    positions = {"eta": geometry.voxel_x, "phi": geometry.voxel_y, "r": geometry.voxel_r}
    for name, position in positions.items():
        place = position[voxel]
        weighted = energy * place
        centre = _sum_by(cell, weighted, shape) / (layer_energy + EMPTY)
        square = _sum_by(cell, weighted * place, shape) / (layer_energy + EMPTY)
        width = np.sqrt(np.maximum(square - centre**2, 0))
        layers = slice(None) if name == "r" else resolved
        result[f"EC_{name}"] = centre[:, layers]
        result[f"width_{name}"] = width[:, layers]
    return result


def _l2lflows(showers: VoxelShowers) -> dict[str, Floats]:
    n, event = len(showers), showers.event()
    voxel = showers.index.astype(np.intp)
    energy = showers.energy.astype(np.float64)
    total = _sum_by(event, energy, (n,))
    result = {
        "energy_ratio": total / showers.energy_inc,
        "occupancy": _sum_by(event, energy > 0, (n,)) / showers.geometry.n_voxels,
    }
    weight = energy / np.where(total > 0, total, np.nan)[event]
    for name, position in zip("xyz", _l2lflows_positions(showers.geometry), strict=True):
        place = position[voxel]
        mean = np.where(total > 0, _sum_by(event, weight * place, (n,)), np.nan)
        square = _sum_by(event, weight * (place - mean[event]) ** 2, (n,))
        result[f"{name}_mean"] = mean
        result[f"{name}_std"] = np.where(total > 0, np.sqrt(square), np.nan)
    return result


CONVENTIONS: dict[str, Callable[[VoxelShowers], dict[str, Floats]]] = {
    "calochallenge": _calochallenge,
    "l2lflows": _l2lflows,
}


def _l2lflows_positions(geometry: Geometry) -> tuple[Floats, Floats, Floats]:
    """x, y and z of each voxel in the frame of L2LFlows' evaluation."""
    layer = geometry.voxel_layer.astype(np.float64)
    first = geometry.layers[0]
    if all(isinstance(bins, PolarLayer) for bins in geometry.layers):
        bins_alpha = np.concatenate(
            [np.repeat(np.arange(a) / a, r) for a, r in geometry.layer_shapes]
        )
        angle = 2 * np.pi * bins_alpha
        return geometry.voxel_r * np.cos(angle), geometry.voxel_r * np.sin(angle), layer
    if geometry.is_regular:
        numbers = np.indices(first.shape).reshape(2, -1).astype(np.float64)
        x, y = np.tile(numbers, geometry.n_layers)
        return x, y, layer
    return geometry.voxel_x, geometry.voxel_y, layer


def _sum_by(key: NDArray[np.int64], values: NDArray[Any], shape: tuple[int, ...]) -> Floats:
    """Sum of the values that share a key, laid out in `shape`."""
    sums = np.bincount(key, weights=values, minlength=int(np.prod(shape)))
    return np.asarray(sums, dtype=np.float64).reshape(shape)


def _log_energy(energy: Floats, energy_inc: Floats) -> Floats:
    return np.log10(energy + 1e-8)


def _log_fraction(energy: Floats, energy_inc: Floats) -> Floats:
    return np.log10(energy / energy_inc + 1e-6)


def _per_100_mm(position: Floats, energy_inc: Floats) -> Floats:
    return position / 100


def _as_it_is(values: Floats, energy_inc: Floats) -> Floats:
    return values


# Inputs of high-level classifiers behind log10 E_inc, in order.
HIGH_LEVEL: dict[str, tuple[tuple[str, Callable[[Floats, Floats], Floats]], ...]] = {
    name: (
        ("E_layer", energy),
        ("EC_eta", _per_100_mm),
        ("EC_phi", _per_100_mm),
        ("width_eta", _per_100_mm),
        ("width_phi", _per_100_mm),
        ("E_tot", energy),
        ("sparsity", _as_it_is),
        ("EC_r", _per_100_mm),
        ("width_r", _per_100_mm),
    )
    for name, energy in (("calochallenge", _log_energy), ("fractions", _log_fraction))
}


def high_level(
    energy_inc: NDArray[Any], features: Mapping[str, Floats], names: str = "calochallenge"
) -> Floats:
    """Lay CaloChallenge features out as the inputs of a high-level classifier.

    ``calochallenge``: log10 of E_inc and of the energies [MeV] (plus 1e-8), positions and widths in
    units of 100 mm, sparsities: 362 columns for datasets 2 and 3, 30 and 46 for dataset 1.
    ``fractions``: the same with the log10 of energy over E_inc (plus 1e-6). Both hold the same
    knowledge, but a network learns the response from the second with a hundredth of the showers.

    Args:
        energy_inc: incident energy [MeV], shape (n,).
        features: CaloChallenge features as `features` returns them.
        names: which list of inputs.

    Returns:
        Inputs, shape (n, columns).

    Raises:
        ValueError: for an unknown list.
    """
    if names not in HIGH_LEVEL:
        raise ValueError(f"the list of inputs must be one of {sorted(HIGH_LEVEL)}, got {names!r}")
    n = len(energy_inc)
    incident = np.asarray(energy_inc, np.float64).reshape(n, 1)
    columns = [np.log10(incident)]
    columns += [scale(features[name].reshape(n, -1), incident) for name, scale in HIGH_LEVEL[names]]
    return np.hstack(columns)
