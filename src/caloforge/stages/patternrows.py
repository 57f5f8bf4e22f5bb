"""What a bank keeps of layers of training showers, small.

The share of a hit in the energy of its layer is kept as a code c of one byte,

    share = s^(1 - c / 255),

with s the least share in that layer of any training shower. Shares are off by up to
log(1 / s) / 510 then, 2 % at s = 4e-5; the shares of a layer are used with a sum of 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.showers import Particles, PointShowers, VoxelShowers
from caloforge.stages.expectedpatterns import SIZE
from caloforge.stages.patternarrays import Layers
from caloforge.stages.quilting import TRAITS

__all__ = ["FITTED", "KEPT", "check_rows", "layers_of", "particles_of", "rows_of", "sizes", "small"]

KEPT = ("energy_inc", "direction", "pdg", "layer_energies", "count", "share", "least")
FITTED = ("scales", "expected", "preferred")
LAST = 255  # code of a hit that holds all of a layer
MOST = 0.5  # the least share, where all hits of a layer are alone
LENGTH = 1e-3  # by which that of a unit vector may differ from 1
Rows = dict[str, NDArray[Any]]


def rows_of(
    showers: VoxelShowers | PointShowers, plane: NDArray[np.int64], energy: NDArray[Any]
) -> Rows:
    """What is kept of training showers, wherever their hits lie.

    Args:
        showers: n of them.
        plane: shower and layer of each hit, shower n_layers + layer, rising, shape (hits,).
        energy: of the hits [MeV], shape (hits,).

    Returns:
        `energy_inc` [MeV], shape (n,); `direction`, shape (n, 3); `pdg`, shape (n,);
        `layer_energies` [MeV], shape (n, n_layers); `count`, hits of each layer, of the same shape;
        `share`, the code of the share of each hit, shape (hits,); `least`, the least share in each
        layer, shape (n_layers,).
    """
    energies, n_layers = showers.layer_energies(), showers.geometry.n_layers
    count = np.bincount(plane, minlength=energies.size).reshape(energies.shape)
    shares, layer = energy / energies.reshape(-1)[plane], plane % n_layers
    least = np.full(n_layers, MOST, np.float32)
    np.minimum.at(least, layer, np.maximum(shares, np.finfo(np.float32).tiny).astype(np.float32))
    code = LAST - LAST * np.log(shares) / np.log(least)[layer]
    return {
        "energy_inc": showers.energy_inc.astype(np.float32),
        "direction": showers.direction.astype(np.float32),
        "pdg": showers.pdg,
        "layer_energies": energies.astype(np.float32),
        "count": small(count, int(count.max(initial=0))),
        "share": np.rint(code).clip(0, LAST).astype(np.uint8),
        "least": least,
    }


def sizes(showers: VoxelShowers | PointShowers, hit: int) -> NDArray[np.float64]:
    """What is kept of each shower [bytes], shape (n,), if no layer has more than 255 hits.

    Args:
        showers: n of them.
        hit: bytes of each hit.
    """
    return np.diff(showers.offset) * float(hit) + 20 + 5 * showers.geometry.n_layers


def small(values: NDArray[Any], most: int) -> NDArray[Any]:
    """Whole numbers up to `most` in as few bytes as PyTorch has types for."""
    kind = next(kind for kind in (np.uint8, np.int16, np.int32) if most <= np.iinfo(kind).max)
    return values.astype(kind)


def layers_of(rows: Rows, place: str) -> Layers:
    """The hits of a bank, its rows as they are.

    Args:
        rows: see `rows_of`.
        place: name of those that say where hits lie; `azimuth` may be another.
    """
    first = np.concatenate([[0], np.cumsum(rows["count"], dtype=np.int64)])
    rest = 1 - np.arange(LAST + 1) / LAST
    roots = np.exp(0.5 * np.log(rows["least"].astype(float))[:, None] * rest)
    azimuth = rows.get("azimuth", np.zeros(0, np.int16))
    return Layers(rows["layer_energies"], first, rows[place], azimuth, rows["share"], roots)


def check_rows(rows: Rows, n_layers: int, places: tuple[str, ...]) -> None:
    """Refuse rows that a file gave and that do not belong together.

    Args:
        rows: see `rows_of`, and what was fitted to them.
        n_layers: of the detector.
        places: names of those that say where hits lie.

    Raises:
        ValueError: saying what does not fit.
    """
    n, hits = len(rows["energy_inc"]), rows["share"].shape
    shapes = {
        "direction": (n, 3),
        "pdg": (n,),
        "layer_energies": (n, n_layers),
        "count": (n, n_layers),
        "least": (n_layers,),
        "scales": (2,),
        "expected": (n_layers, SIZE),
        "preferred": (n_layers, TRAITS),
        **dict.fromkeys(places, hits),
    }
    wrong = any(rows[name].shape != shape for name, shape in shapes.items())
    whole = [rows[name].dtype.kind for name in ("pdg", "count", *places)]
    if n == 0 or wrong or any(kind not in "iu" for kind in whole):
        raise ValueError(f"a bank of {n} showers has other rows than theirs: train it again")
    count, least = rows["count"], rows["least"]
    fewer = (count < 0).any() or int(count.sum(dtype=np.int64)) != hits[0]
    if fewer or rows["share"].dtype != np.uint8:
        raise ValueError(f"a bank of {n} showers has other hits than theirs: train it again")
    unlike = ((count > 0) != (rows["layer_energies"] > 0)).any()
    shares = (least > 0).all() and (least < 1).all()
    lengths = np.abs(np.linalg.norm(rows["direction"], axis=1) - 1).max() > LENGTH
    amounts = (rows["energy_inc"] > 0).all() and (rows["scales"] > 0).all()
    if unlike or lengths or not (shares and amounts):
        raise ValueError(f"a bank of {n} showers holds impossible ones: train it again")


def particles_of(rows: Rows) -> Particles:
    """Those that made the showers of a bank."""
    return Particles(rows["energy_inc"], rows["direction"], rows["pdg"])
