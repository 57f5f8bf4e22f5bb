"""What the networks of the classifier tests read of each shower, list by list."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caloforge.evaluation.classifiers.correlations import voxel_correlations
from caloforge.evaluation.comparison import Columns
from caloforge.evaluation.observables import Floats, features, high_level, mean_rho
from caloforge.evaluation.sample import Sample
from caloforge.geometry import Geometry
from caloforge.preprocessing import EnergyRatios, Logit
from caloforge.rounding import is_rounding
from caloforge.showers import VoxelShowers
from caloforge.units import GeV, MeV

__all__ = ["INPUTS", "Inputs", "Table", "Voxels", "join_columns", "take_columns", "take_inputs"]

RATIO_ALPHA = 1e-6  # of the logit of energy ratios (CaloDREAM, equation 3)


class Inputs(ABC):
    """The inputs of all showers of a test: a matrix whose rows are made batch by batch."""

    geometry: Geometry | None  # of the voxels among the inputs

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of showers and of inputs."""

    @abstractmethod
    def batch(self, rows: Tensor) -> Tensor:
        """Inputs of some showers, shape (len(rows), n_inputs), in the precision of the test."""

    @abstractmethod
    def to(self, device: torch.device, dtype: torch.dtype) -> Inputs:
        """The same inputs on a device, with batches in another precision."""


@dataclass(frozen=True, eq=False)
class Table(Inputs):
    """Inputs that are all at hand.

    Args:
        values: shape (n, n_inputs), in double precision.
        dtype: precision of the batches.
    """

    values: Tensor
    dtype: torch.dtype = torch.float64
    geometry = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of showers and of inputs."""
        n, k = self.values.shape
        return n, k

    def batch(self, rows: Tensor) -> Tensor:
        """Rows of the table."""
        return self.values[rows].to(self.dtype)

    def to(self, device: torch.device, dtype: torch.dtype) -> Table:
        """The same table on a device, with batches in another precision."""
        return Table(self.values.to(device), dtype)

    def standardised(self, rows: Tensor) -> Table:
        """Scale every input to mean 0 and standard deviation 1 (ddof 0) of some showers.

        NaN, as the centre of an empty shower, becomes the mean; inputs that are constant there but
        for rounding, see `is_rounding`, are only shifted.
        """
        known = self.values[rows]
        mean = known.nanmean(dim=0)
        std = (known - mean).square().nanmean(dim=0).sqrt()
        scaled = (self.values - mean) / std.masked_fill(is_rounding(std, mean.abs()), 1)
        return dataclasses.replace(self, values=scaled.nan_to_num(0))


@dataclass(frozen=True, eq=False)
class Voxels(Inputs):
    """Voxel energies, kept sparse and laid out dense for a batch, between other inputs.

    Args:
        geometry: the voxels.
        offset: first entry of each shower, shape (n + 1,).
        index: voxel of each entry, shape (nnz,).
        energy: energy of each entry [MeV], shape (nnz,).
        unit: energies [MeV] that voxels are measured in, one a shower or one a layer, shape (n, 1)
            or (n, n_layers).
        before: inputs ahead of the voxels, shape (n, k).
        after: inputs after the voxels, shape (n, m).
        dtype: precision of the batches.
    """

    geometry: Geometry
    offset: Tensor
    index: Tensor
    energy: Tensor
    unit: Tensor
    before: Tensor
    after: Tensor
    dtype: torch.dtype = torch.float64

    @classmethod
    def of(cls, showers: VoxelShowers, unit: Floats, before: Floats, after: Floats) -> Voxels:
        """The voxels of showers without a copy, see the class."""
        return cls(
            geometry=showers.geometry,
            offset=torch.as_tensor(showers.offset),
            index=torch.as_tensor(showers.index),
            energy=torch.as_tensor(showers.energy),
            unit=torch.as_tensor(unit),
            before=torch.as_tensor(before),
            after=torch.as_tensor(after),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of showers and of inputs."""
        n, n_before = self.before.shape
        return n, n_before + self.geometry.n_voxels + self.after.shape[1]

    def batch(self, rows: Tensor) -> Tensor:
        """Inputs of some showers: those before, the voxels in their unit, those after."""
        counts = self.offset[rows + 1] - self.offset[rows]
        shower = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), counts)
        first = (self.offset[rows] - (counts.cumsum(0) - counts))[shower]
        entry = first + torch.arange(len(shower), device=rows.device)
        voxel = self.index[entry].long()
        unit = self.unit[rows]
        layer = self._layer[voxel] if unit.shape[1] > 1 else 0
        dense = unit.new_zeros(len(rows), self.geometry.n_voxels)
        dense[shower, voxel] = self.energy[entry].to(unit.dtype) / unit[shower, layer]
        return torch.cat([self.before[rows], dense, self.after[rows]], dim=1).to(self.dtype)

    @property
    def _layer(self) -> Tensor:
        return torch.tensor(self.geometry.voxel_layer, device=self.offset.device)

    def to(self, device: torch.device, dtype: torch.dtype) -> Voxels:
        """The same voxels on a device, with batches in another precision."""
        # Small unsigned numbers save memory, but only the CPU is sure to take rows of them.
        index = self.index if device.type == "cpu" else self.index.int()
        names = ("offset", "energy", "unit", "before", "after")
        moved = {name: getattr(self, name).to(device) for name in names}
        return dataclasses.replace(self, dtype=dtype, index=index.to(device), **moved)


@dataclass(frozen=True)
class InputList:
    """How a list of inputs comes about.

    Args:
        columns: what it needs of a sample, one row a shower.
        assemble: the inputs from such columns.
        of_voxels: whether it needs the showers above the threshold alone, as column ``voxels``.
    """

    columns: Callable[[Sample], Columns]
    assemble: Callable[[Columns], Inputs]
    of_voxels: bool = False


def take_columns(sample: Sample, name: str) -> Columns:
    """What a list of inputs needs of a sample: columns with one row a shower.

    ``voxels``: log10 E_inc | x / E_inc; ``voxels-percent``: log10 E_inc | 100 x / E_inc;
    ``voxels-normed``: log10 E_inc | x_v / (E_l + 1e-16) | log10(E_l + 1e-8), where the layer
    energies E_l count the voxels above the read-out threshold alone and x_v are *all* voxels, as
    published: a layer whose voxels are all below it has inputs of the order 1e14;
    ``voxels-MeV``: x in MeV | E_inc in GeV. Energies x above the threshold but for the third.

    ``features``, ``features-226``, ``fractions``: see `high_level`; ``moments``: log10 E_inc and
    the eight observables of L2LFlows, ``moments-linear``: with E_inc in its place;
    ``caloclouds``: the 25 observables of CaloClouds; ``correlations``: log10 E_inc | voxels in each
    of the 49 bins of the spectrum, which both samples must share | `voxel_correlations`;
    ``ratios``: log10 E_inc | logit of the energy ratios u of the layers (CaloDREAM, equations 2
    and 3);
    ``layers``, for showers of few layers: ``fractions`` | `voxel_correlations` | `mean_rho` where
    the layers are equal.

    Args:
        sample: observables of showers.
        name: the list.

    Sources: CaloChallenge, ``evaluate.py``; SuperCalo, section III D; Convolutional L2LFlows,
    section 4.2 and appendix D; CaloClouds II, ``classifier_test.ipynb``; CaloDREAM, section 4.1.
    """
    return INPUTS[name].columns(sample)


def take_inputs(columns: Columns, name: str) -> Inputs:
    """The list of inputs from its columns, in double precision on the CPU."""
    return INPUTS[name].assemble(columns)


def join_columns(first: Columns, second: Columns) -> Columns:
    """Columns of two samples, one after the other."""
    joined: dict[str, NDArray[np.float64] | VoxelShowers] = {}
    for name, column in first.items():
        other = second[name]
        if isinstance(column, VoxelShowers):
            assert isinstance(other, VoxelShowers)
            joined[name] = VoxelShowers.concatenate([column, other])
        else:
            joined[name] = np.concatenate([column, other])
    return joined


def _log_energy_inc(energy_inc: NDArray[np.floating]) -> Floats:
    return np.log10(_column(energy_inc))


def _column(values: NDArray[np.floating]) -> Floats:
    return np.asarray(values, np.float64).reshape(-1, 1)


def _showers(columns: Columns) -> VoxelShowers:
    showers = columns["voxels"]
    assert isinstance(showers, VoxelShowers)
    return showers


def _by_energy_inc(columns: Columns, factor: float) -> Voxels:
    showers = _showers(columns)
    incident = _column(showers.energy_inc)
    nothing = np.empty((len(showers), 0))
    return Voxels.of(showers, incident / factor, np.log10(incident), nothing)


def _by_layer_energy(columns: Columns) -> Voxels:
    showers, energy = _showers(columns), columns["E_layer"]
    assert not isinstance(energy, VoxelShowers)
    return Voxels.of(
        showers, energy + 1e-16, np.log10(_column(showers.energy_inc)), np.log10(energy + 1e-8)
    )


def _in_mev(columns: Columns) -> Voxels:
    showers = _showers(columns)
    incident = _column(showers.energy_inc)
    return Voxels.of(
        showers, np.full_like(incident, MeV), np.empty((len(showers), 0)), incident / GeV
    )


def _voxels(assemble: Callable[[Columns], Inputs]) -> InputList:
    return InputList(lambda sample: {"voxels": sample.voxels()}, assemble, of_voxels=True)


def _table(values: Callable[[Sample], Floats]) -> InputList:
    return InputList(
        lambda sample: {"inputs": values(sample)},
        lambda columns: Table(torch.as_tensor(columns["inputs"], dtype=torch.float64)),
    )


def _features(names: str) -> InputList:
    return _table(lambda sample: high_level(sample.energy_inc, sample.features, names))


def _caloclouds(sample: Sample) -> Floats:
    names = ("cog_x", "cog_y", "cog_z", "n_hits", "sampling_fraction", "longitudinal", "radial")
    return np.column_stack([sample.caloclouds[name] for name in names])


def _correlations(sample: Sample) -> Floats:
    return np.hstack(
        [
            _log_energy_inc(sample.energy_inc),
            sample.spectrum.coarse(),
            voxel_correlations(sample.voxels()),
        ]
    )


def _ratios(sample: Sample) -> Floats:
    energy_inc, layers = (
        torch.as_tensor(values, dtype=torch.float64)
        for values in (sample.energy_inc, sample.features["E_layer"])
    )
    u = EnergyRatios().forward(layers, energy_inc)
    return np.hstack([_log_energy_inc(sample.energy_inc), Logit(RATIO_ALPHA)(u).numpy()])


def _of_layers(columns: Columns) -> Table:
    showers = _showers(columns)
    parts = [
        high_level(showers.energy_inc, features(showers), "fractions"),
        voxel_correlations(showers),
    ]
    if showers.geometry.is_regular:
        parts.append(mean_rho(showers))
    return Table(torch.as_tensor(np.hstack(parts), dtype=torch.float64))


INPUTS: dict[str, InputList] = {
    "voxels": _voxels(lambda columns: _by_energy_inc(columns, 1)),
    "voxels-percent": _voxels(lambda columns: _by_energy_inc(columns, 100)),
    "voxels-normed": InputList(
        lambda sample: {"voxels": sample.source[:], "E_layer": sample.features["E_layer"]},
        _by_layer_energy,
    ),
    "voxels-MeV": _voxels(_in_mev),
    "features": _features("calochallenge"),
    "features-226": _features("calochallenge-226"),
    "fractions": _features("fractions"),
    "moments": _table(
        lambda sample: np.column_stack(
            [_log_energy_inc(sample.energy_inc), *sample.moments.values()]
        )
    ),
    "moments-linear": _table(
        lambda sample: np.column_stack([*sample.moments.values(), sample.energy_inc / GeV])
    ),
    "caloclouds": _table(_caloclouds),
    "correlations": _table(_correlations),
    "ratios": _table(_ratios),
    "layers": _voxels(_of_layers),
}
