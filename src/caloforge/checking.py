"""A check that a model generates what it generated when it was made: a few showers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.cascade import System
from caloforge.data import open_file, write_files
from caloforge.evaluation import features
from caloforge.evaluation.projection import in_voxels
from caloforge.generation import generate
from caloforge.showers import ALONG_DEPTH, Floats, Particles, VoxelShowers
from caloforge.training import RunFolder, find_run, load
from caloforge.training.enclosed import Enclosed

__all__ = ["Check", "Figure", "Reference", "check", "make_reference"]

FILE = "check.json"  # in the folder of a model
MOST_BYTES = 1 << 26  # of it
FORMAT_VERSION = 1
N_SHOWERS = 200  # of a check
N_SAMPLES = 5  # of as many showers, in which the bias of a model is found
LIMIT = 5  # standard deviations beyond the bias: for a hundred figures, once in 20,000 models
SEED = 0
DIGITS = 7  # of numbers that are kept


@dataclass(frozen=True)
class Figure:
    """What one number of a sample of showers is expected to be.

    Args:
        geant4: in Geant4.
        error: standard deviation of it, in a sample of as many showers and in Geant4's together.
        model: in the model, when the reference was made.
    """

    geant4: float
    error: float
    model: float

    @property
    def tolerance(self) -> float:
        """How far from Geant4's a sample may lie: as far as the model does, and fluctuations."""
        return abs(self.model - self.geant4) + LIMIT * self.error


@dataclass(frozen=True)
class Reference:
    """Summaries of Geant4 showers, and of a model at the same incident particles.

    Args:
        n_reference: number of the Geant4 showers.
        particles: for which showers are generated, n of them.
        figures: by name, mean and standard deviation over the sample of response, depth, width in
            depth, radius and hits of a shower, and of each layer's fraction of the incident energy.
    """

    n_reference: int
    particles: Particles
    figures: Mapping[str, Figure]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, read back by `from_dict`."""
        directions = [_plain(one) for one in self.particles.direction]
        return {
            "format_version": FORMAT_VERSION,
            "n_reference": self.n_reference,
            "energy_inc": _plain(self.particles.energy),
            **({} if self.particles.are_along_depth else {"direction": directions}),
            "figures": {
                name: {key: _rounded(value) for key, value in asdict(figure).items()}
                for name, figure in self.figures.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reference:
        """Inverse of `to_dict`.

        Raises:
            ValueError: for missing values or ones of another kind.
        """
        try:
            if values["format_version"] != FORMAT_VERSION:
                raise ValueError(f"expected format {FORMAT_VERSION}")
            energy_inc = np.array(values["energy_inc"], np.float32)
            direction = np.array(values.get("direction", ALONG_DEPTH), np.float32)
            particles = Particles(energy_inc, direction)
            figures = {name: Figure(**each) for name, each in values["figures"].items()}
            return cls(int(values["n_reference"]), particles, figures)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"not the reference of a check ({error}): make it again") from error


@dataclass(frozen=True)
class Check:
    """What a check found.

    Args:
        found: mean or standard deviation in the showers that were generated, by name.
        figures: what they were expected to be.
        n_showers: number of showers that were generated.
        seconds: what that took.
    """

    found: Mapping[str, float]
    figures: Mapping[str, Figure]
    n_showers: int
    seconds: float

    @property
    def deviations(self) -> dict[str, float]:
        """How far from Geant4 each lies, in units of its tolerance, the farthest first."""
        far = {name: self._deviation(name) for name in self.figures}
        return dict(sorted(far.items(), key=lambda item: -item[1]))

    @property
    def failed(self) -> dict[str, float]:
        """The deviations beyond the tolerance."""
        return {name: far for name, far in self.deviations.items() if not far <= 1}

    def _deviation(self, name: str) -> float:
        figure = self.figures[name]
        away = abs(self.found[name] - figure.geant4)
        if not np.isfinite(away):
            return np.inf
        if figure.tolerance == 0:
            return 0.0 if away == 0 else np.inf
        return float(away / figure.tolerance)


def check(run: str | Path, *, device: str = "auto") -> Check:
    r"""Generate some showers and compare them with what is stored of Geant4.

    A mean over n showers may differ from Geant4's by the bias that the model had when the reference
    was made, and five times

    .. math:: \frac{1}{n} \Big[\sum_g s_g^2 (1 + 1 / n_g)\Big]^{1/2}

    with the variance :math:`s_g^2` of :math:`n_g` Geant4 showers of the energies around one that is
    generated; so do the standard deviations over all showers. It finds a broken installation,
    spoiled files and wrong units. What a model is worth, an evaluation says.

    Example:
        >>> from caloforge.training import pack
        >>> model = pack("runs/quilt", "models/electrons-mine-quilt")
        >>> make_reference(model, "showers.h5")
        PosixPath('models/electrons-mine-quilt/check.json')
        >>> check(model).failed
        {}

    Args:
        run: the name of a model, or a run folder that `make_reference` was called for.
        device: where to compute.

    Raises:
        ValueError: for a run without a reference, or whatever `load` refuses.
    """
    folder = RunFolder(find_run(run))
    reference = _stored(folder)
    begin = time.monotonic()
    showers = _generated(load(folder.path), reference.particles, SEED, device)
    found = _figures(showers)
    if found.keys() != reference.figures.keys():
        raise ValueError(
            f"{folder.path / FILE} is of another detector than the model: make it again"
        )
    return Check(found, reference.figures, len(showers), time.monotonic() - begin)


def make_reference(run: str | Path, showers: str | Path, *, device: str = "auto") -> Path:
    """Store in a run folder what `check` compares with.

    The Geant4 showers are sorted by incident energy and cut into 200 groups. A shower of each gives
    a particle of the check. The model generates five samples of these.

    Args:
        run: the folder, or the name of a model.
        showers: a file of Geant4 showers that the model did not learn from. Those outside its
            trained range are left out.
        device: where to compute.

    Returns:
        The file that was written.

    Raises:
        ValueError: for too few showers, or showers of another detector or kind of particle.
    """
    folder = RunFolder(find_run(run))
    system = load(folder.path)
    geant4 = _geant4(system, showers)
    groups = np.array_split(np.argsort(geant4.particles.energy, kind="stable"), N_SHOWERS)
    asked = geant4.particles[np.array([group[len(group) // 2] for group in groups])]
    if not system.is_directed:
        asked = replace(asked, direction=np.array(system.usual.direction, np.float32))
    made = [_figures(_generated(system, asked, SEED + 1 + i, device)) for i in range(N_SAMPLES)]
    figures = {
        name: Figure(value, error, float(np.mean([sample[name] for sample in made])))
        for name, (value, error) in _expected(_observables(geant4), groups).items()
    }
    path = folder.path / FILE
    reference = Reference(len(geant4), asked, figures)
    write_files({path: json.dumps(reference.to_dict(), indent=1)})
    return path


def _geant4(system: System, path: str | Path) -> VoxelShowers:
    """Geant4 showers in the voxels of a system, within its trained range."""
    with open_file(path, None) as file:
        showers = in_voxels(file[:], system.geometry)[:]
    if showers.geometry != system.geometry:
        raise ValueError(
            f"{path} holds showers in {showers.geometry.name}, and the model generates them in "
            f"{system.geometry.name}"
        )
    if system.trained is not None:
        particles = showers.particles
        outside = system.trained.outside(particles.energy, particles.direction)
        showers = showers.take(np.flatnonzero(~outside))
    if len(showers) < 2 * N_SHOWERS:
        raise ValueError(
            f"a check needs {2 * N_SHOWERS} Geant4 showers or more of what the model was trained "
            f"on, and {path} holds {len(showers)}"
        )
    return showers


def _generated(system: System, asked: Particles, seed: int, device: str) -> VoxelShowers:
    showers = generate(system, asked, seed=seed, device=device, strict=True)
    return in_voxels(showers, system.geometry)[:]


def _observables(showers: VoxelShowers) -> dict[str, Floats]:
    """The observables of each shower, arrays (n,); 0 for an empty one, which shows as wrong."""
    geometry = showers.geometry
    whole = features(showers, "l2lflows", threshold=geometry.threshold)
    layers = features(showers, "calochallenge", threshold=geometry.threshold)
    total = layers["E_tot"].clip(np.finfo(np.float64).tiny)
    found = {
        "response": whole["energy_ratio"],
        "depth [layers]": whole["z_mean"],
        "width in depth [layers]": whole["z_std"],
        "radius [mm]": (layers["E_layer"] * layers["EC_r"]).sum(1) / total,
        "hits": whole["occupancy"] * geometry.n_voxels,
    }
    shares = layers["E_layer"] / showers.energy_inc[:, None]
    found |= {f"share of layer {i}": share for i, share in enumerate(shares.T)}
    return {name: np.nan_to_num(values) for name, values in found.items()}


def _figures(showers: VoxelShowers) -> dict[str, float]:
    """Mean and standard deviation of each observable, by name."""
    found = dict[str, float]()
    for name, values in _observables(showers).items():
        found |= {f"mean {name}": float(values.mean()), f"spread of {name}": float(values.std())}
    return found


def _expected(
    observables: Mapping[str, Floats], groups: Sequence[NDArray[np.int64]]
) -> dict[str, tuple[float, float]]:
    """The same with one shower of each group, and the standard deviation of that."""
    found = dict[str, tuple[float, float]]()
    for name, values in observables.items():
        mean, error = _mean(values, groups)
        variance, variance_error = _mean((values - mean) ** 2, groups)
        spread = variance**0.5
        found[f"mean {name}"] = mean, error
        found[f"spread of {name}"] = spread, variance_error / (2 * spread) if spread else 0.0
    return found


def _mean(values: Floats, groups: Sequence[NDArray[np.int64]]) -> tuple[float, float]:
    """Mean of one shower of each group, and its error, that of the groups' means included."""
    means = [values[group].mean() for group in groups]
    variances = [values[group].var(ddof=1) * (1 + 1 / len(group)) for group in groups]
    return float(np.mean(means)), float(np.sum(variances) ** 0.5 / len(groups))


def _stored(folder: RunFolder) -> Reference:
    files, path = Enclosed(folder.path), folder.path / FILE
    if not files.holds(path):
        raise ValueError(
            f"{folder.path} holds no {FILE} to check it with: write it once with "
            "`caloforge check --make GEANT4.h5`"
        )
    return Reference.from_dict(files.json(path, MOST_BYTES))


def _plain(values: NDArray[Any]) -> list[float]:
    return [_rounded(value) for value in values.tolist()]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
