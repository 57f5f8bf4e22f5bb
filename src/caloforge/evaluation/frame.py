"""The observables of showers as the columns of a table."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.evaluation.observables import ShowerSource, features, point_features
from caloforge.showers import PointShowers

__all__ = ["observable_columns", "to_dataframe"]


def observable_columns(showers: ShowerSource | PointShowers) -> dict[str, NDArray[Any]]:
    """The observables of each shower by name, each of shape (n,).

    `energy_inc` [MeV]; of voxels those of the CaloChallenge and of L2LFlows, see `features`; of
    points `point_features`. What has a value in each layer or ring is one column for each, such as
    `E_layer_0`.

    Example:
        >>> from caloforge.evaluation import observable_columns
        >>> columns = observable_columns(showers)
        >>> np.allclose(columns["E_tot"], showers.total_energy())
        True

    Args:
        showers: voxels or points in memory, or an open file of voxels.
    """
    found: dict[str, NDArray[Any]] = {"energy_inc": np.asarray(showers.energy_inc)}
    if isinstance(showers, PointShowers):
        found |= point_features(showers)
    else:
        found |= {**features(showers, "calochallenge"), **features(showers, "l2lflows")}
    columns: dict[str, NDArray[Any]] = {}
    for name, values in found.items():
        if values.ndim == 1:
            columns[name] = values
        else:
            columns |= {f"{name}_{i}": column for i, column in enumerate(values.T)}
    return columns


def to_dataframe(showers: ShowerSource | PointShowers) -> Any:
    """The observables of each shower as a DataFrame of pandas, see `observable_columns`.

    Raises:
        ImportError: if pandas is not installed.
    """
    try:
        pandas: Any = importlib.import_module("pandas")
    except ImportError as error:
        raise ImportError("a DataFrame needs pandas: pip install pandas") from error
    return pandas.DataFrame(observable_columns(showers))
