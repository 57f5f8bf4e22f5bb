"""The CaloChallenge's high-level features, and the lists that its classifiers take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables.moments import layer_sums
from caloforge.evaluation.observables.source import Floats
from caloforge.geometry import CartesianLayer, Geometry
from caloforge.rounding import is_rounding
from caloforge.showers import VoxelShowers

__all__ = ["HIGH_LEVEL", "alpha_layers", "calochallenge", "high_level", "resolved"]

EMPTY = 1e-16  # MeV, added to a layer's energy so that an empty layer has centre and width 0


def alpha_layers(geometry: Geometry) -> NDArray[np.int64]:
    """Numbers of the layers that resolve two transverse directions."""
    resolved = [isinstance(layer, CartesianLayer) or layer.n_alpha > 1 for layer in geometry.layers]
    return np.flatnonzero(resolved)


def calochallenge(showers: VoxelShowers) -> dict[str, Floats]:
    """Energies, centres, widths and sparsities of the layers, see `features`."""
    geometry = showers.geometry
    sums = layer_sums(showers, geometry.voxel_x, geometry.voxel_y, geometry.voxel_r)
    result = {
        "E_tot": sums.energy.sum(axis=1),
        "E_layer": sums.energy,
        "sparsity": 1 - sums.n_active / np.diff(geometry.offsets),
    }
    resolved = alpha_layers(geometry)
    divisor = sums.energy + EMPTY
    for name, first, second in zip(("eta", "phi", "r"), sums.first, sums.second, strict=True):
        centre = first / divisor
        width = np.sqrt(np.maximum(second / divisor - centre**2, 0))
        layers = slice(None) if name == "r" else resolved
        result[f"EC_{name}"] = centre[:, layers]
        result[f"width_{name}"] = width[:, layers]
    return result


def resolved(features: Mapping[str, Floats]) -> dict[str, Floats]:
    r"""The same features, with width 0 where all energy of a layer sits at one position.

    The published formula is a difference of squares, which leaves :math:`10^{-6}` mm there: by
    rounding, and by the :math:`\epsilon = 10^{-16}` MeV added to the layer's energy E, which make
    up :math:`\sigma^2 / (\sigma^2 + \mu^2)` of some :math:`10^{-15}` and :math:`\epsilon / E`.
    In units of such widths any candidate would be infinitely far away.

    Args:
        features: CaloChallenge features as `features` returns them.
    """
    added = EMPTY / (features["E_layer"] + EMPTY)
    found = dict(features)
    for name in ("eta", "phi", "r"):
        variance = features[f"width_{name}"] ** 2
        square = variance + features[f"EC_{name}"] ** 2
        # Where layers have no eta and phi, the columns of the others do not show which they are.
        share = added if square.shape == added.shape else added.min(axis=1, keepdims=True)
        is_point = is_rounding(variance - share * square, square)
        found[f"width_{name}"] = np.where(is_point, 0, features[f"width_{name}"])
    return found


def _log_energy(energy: Floats, energy_inc: Floats) -> Floats:
    return np.log10(energy + 1e-8)


def _log_fraction(energy: Floats, energy_inc: Floats) -> Floats:
    return np.log10(energy / energy_inc + 1e-6)


def _per_100_mm(position: Floats, energy_inc: Floats) -> Floats:
    return position / 100


def _as_it_is(values: Floats, energy_inc: Floats) -> Floats:
    return values


Scale = Callable[[Floats, Floats], Floats]


def _older(energy: Scale) -> tuple[tuple[str, Scale], ...]:
    return (
        ("E_layer", energy),
        ("EC_eta", _per_100_mm),
        ("EC_phi", _per_100_mm),
        ("width_eta", _per_100_mm),
        ("width_phi", _per_100_mm),
    )


def _complete(energy: Scale) -> tuple[tuple[str, Scale], ...]:
    return (
        *_older(energy),
        ("E_tot", energy),
        ("sparsity", _as_it_is),
        ("EC_r", _per_100_mm),
        ("width_r", _per_100_mm),
    )


# Inputs of high-level classifiers after log10 E_inc, in order.
HIGH_LEVEL: dict[str, tuple[tuple[str, Scale], ...]] = {
    "calochallenge": _complete(_log_energy),
    "calochallenge-226": _older(_log_energy),
    "fractions": _complete(_log_fraction),
}


def high_level(
    energy_inc: NDArray[Any], features: Mapping[str, Floats], names: str = "calochallenge"
) -> Floats:
    """Lay CaloChallenge features out as the inputs of a high-level classifier.

    ``calochallenge``: log10 of E_inc, of the layer energies [MeV] (plus 1e-8), centres and widths
    in eta and phi in units of 100 mm, log10 of E_tot, sparsities, centres and widths in r: 362
    columns for datasets 2 and 3, 30 and 46 for dataset 1.
    ``calochallenge-226``: the older list, which ends before E_tot: 226 columns for datasets 2 and
    3. Scores of the two lists are not comparable.
    ``fractions``: the first with the log10 of energy over E_inc (plus 1e-6). Both hold the same
    knowledge, but a network learns the response from this one with a hundredth of the showers.
    Widths that are only rounding are 0 in all lists, see `resolved`.

    Args:
        energy_inc: incident energy [MeV], shape (n,).
        features: CaloChallenge features as `features` returns them.
        names: which list of inputs.

    Returns:
        Inputs, shape (n, columns).

    Raises:
        ValueError: for an unknown list.

    Sources: CaloChallenge, ``evaluate.py``; SuperCalo (Pang et al.), section V, for the older list.
    """
    if names not in HIGH_LEVEL:
        raise ValueError(f"the list of inputs must be one of {sorted(HIGH_LEVEL)}, got {names!r}")
    n, features = len(energy_inc), resolved(features)
    incident = np.asarray(energy_inc, np.float64).reshape(n, 1)
    columns = [np.log10(incident)]
    columns += [scale(features[name].reshape(n, -1), incident) for name, scale in HIGH_LEVEL[names]]
    return np.hstack(columns)
