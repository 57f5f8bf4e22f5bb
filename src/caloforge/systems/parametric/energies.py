"""Layer energies by a gamma distribution whose parameters fluctuate from shower to shower."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv, ndtr, ndtri
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.draw import Draw
from caloforge.cascade.kept import KeepsRows
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds, numpy_rng
from caloforge.cascade.stage import Stage, Upstream
from caloforge.geometry import Geometry
from caloforge.systems.parametric.config import GammaEnergies
from caloforge.upload import upload

__all__ = ["GammaEnergyStage", "depth_and_width"]

PARAMETERS = 3  # ln(alpha), ln of the mean depth, ln of the response
NARROWEST = 0.3  # standard deviation in depth of a shower [layers]: what is in one layer has less
ROUNDS = 3  # of profiles and weights of the layers, each fitted with the other
MOST_BROUGHT = 0.75  # of the variance of a parameter by fluctuations of the layers
GRID = np.linspace(-3.3, 3.3, 67)  # normal numbers at which quantiles are tabulated
EULER = 1.2704  # -E[ln(z^2)] of a standard normal z
Floats = NDArray[np.float64]


def depth_and_width(energies: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the depth of showers [layers], shape (n,) each.

    A layer is one unit of depth and its energy lies in its middle, so that the first is at 0.5. A
    shower without energy counts as one in the first layer.

    Args:
        energies: of the layers [MeV], shape (n, L).
    """
    depth = np.arange(energies.shape[1]) + 0.5
    total = energies.sum(1).clip(1e-30)
    mean = (energies @ depth / total).clip(0.5)
    variance = energies @ depth**2 / total - mean**2
    return mean, np.sqrt(variance.clip(NARROWEST**2))


class GammaEnergyStage(KeepsRows, Stage):
    """Energy of every layer by a gamma distribution in depth (GFlash, hep-ex/0001020, section 2).

        dE / dt = E R beta (beta t)^(alpha - 1) exp(-beta t) / Gamma(alpha)          (equation 2)

    with the depth t in layers, whatever they are made of, and the response R. Of every training
    shower alpha and beta are those of its mean depth alpha / beta and of the variance
    alpha / beta^2. They and R fluctuate together, as in section 3.1: means of (ln alpha,
    ln(alpha / beta), ln R) are polynomials in ln(E_inc), logarithms of their standard deviations
    straight lines. Unlike the paper's, the residual is not normal, as photons convert late and
    rarely early: it has the quantiles of the training showers, and the correlations of the normal
    numbers of their ranks. Weights of the layers make up for what differs between them, such as
    thicker absorbers. The energy of a layer fluctuates about this by a gamma distribution of
    variance (a + b E) E, E its mean; then all layers are scaled to R E_inc.

    Args:
        config: degree of the polynomials.
        geometry: the layers.

    Attributes:
        scale: mean and standard deviation of ln(E_inc), shape (2,).
        means: coefficients of the means, shape (degree + 1, 3).
        log_std: slopes and intercepts of the logarithms of the deviations, shape (2, 3).
        quantiles: of the parameters in units of the deviations, shape (67, 3).
        correlated: Cholesky factor of the correlations, shape (3, 3).
        weights: of the layers, shape (L,).
        fluctuation: a [MeV] and b of each layer, shape (2, L).
    """

    reads = ("energy_inc",)
    writes = ("layer_energies",)
    scale: Tensor
    means: Tensor
    log_std: Tensor
    quantiles: Tensor
    correlated: Tensor
    weights: Tensor
    fluctuation: Tensor

    def __init__(self, config: GammaEnergies, geometry: Geometry) -> None:
        super().__init__()
        self.config = config
        shapes: dict[str, tuple[int, ...]] = {
            "scale": (2,),
            "means": (config.degree + 1, PARAMETERS),
            "log_std": (2, PARAMETERS),
            "quantiles": (len(GRID), PARAMETERS),
            "correlated": (PARAMETERS, PARAMETERS),
            "weights": (geometry.n_layers,),
            "fluctuation": (2, geometry.n_layers),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        known = {name: q.double().cpu().numpy() for name, q in sample.all().items()}
        filled = known["layer_energies"].sum(1) > 0
        energy_inc, energies = known["energy_inc"][filled], known["layer_energies"][filled]
        total = energies.sum(1)
        weights = np.where(energies.sum(0) > 0, 1.0, 0.0)
        for _ in range(ROUNDS):
            depth, width = depth_and_width(energies / np.where(weights > 0, weights, 1))
            alpha = (depth / width) ** 2
            expected = total[:, None] * _shares(alpha, depth, weights)
            weights = weights * energies.sum(0) / expected.sum(0).clip(1e-30)
        expected = total[:, None] * _shares(alpha, depth, weights)
        log_e = np.log(energy_inc)
        parameters = np.log(np.stack([alpha, depth, total / energy_inc], 1))
        fitted = {
            "scale": np.array([log_e.mean(), log_e.std() or 1.0]),
            "weights": weights,
            "fluctuation": _fluctuation(energies, expected),
        }
        x = (log_e - fitted["scale"][0]) / fitted["scale"][1]
        fitted |= _distribution(x, parameters, self.config.degree)
        log_std = np.vander(x, 2) @ fitted["log_std"]
        brought = self._brought(parameters, energy_inc, fitted, numpy_rng(rng)) / np.exp(log_std)
        fitted["log_std"][1] += np.log1p(-(brought**2).mean(0).clip(max=MOST_BROUGHT)) / 2
        for name, values in fitted.items():
            self.get_buffer(name).copy_(torch.from_numpy(values))
        self.to(rng.device)

    def _brought(
        self,
        parameters: Floats,
        energy_inc: Floats,
        fitted: dict[str, Floats],
        chance: np.random.Generator,
    ) -> Floats:
        """How far fluctuating layers move the parameters of showers, shape (n, 3)."""
        alpha, depth, response = np.exp(parameters).T
        expected = (response * energy_inc)[:, None] * _shares(alpha, depth, fitted["weights"])
        u = chance.random(expected.shape)
        energies = _fluctuating(expected, fitted["fluctuation"], u)
        weights = np.where(fitted["weights"] > 0, fitted["weights"], 1)
        depth, width = depth_and_width(energies / weights)
        measured = np.log(np.stack([(depth / width) ** 2, depth, response], 1))
        moved: Floats = measured - parameters
        moved -= moved.mean(0)
        return moved

    def check_kept(self) -> None:
        """Refuse weights, fluctuations and a scale that no showers have."""
        no_less = bool((self.weights >= 0).all()) and bool((self.fluctuation >= 0).all())
        if not (no_less and bool(self.weights.any()) and float(self.scale[1]) > 0):
            raise ValueError("the profiles of a parametrisation are impossible: train it again")

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of the parameters "normal", (n, 3), and of the layers "u", (n, L)."""
        return {
            "normal": seeds.branch("parameters").normal(PARAMETERS),
            "u": seeds.branch("layers").uniform(len(self.weights)),
        }

    def prepare(self) -> None:
        super().prepare()
        self._prepared = {name: b.double().cpu().numpy() for name, b in self.named_buffers()}

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        if not self.is_prepared:
            self.prepare()
        known = self._prepared
        numbers = [given["energy_inc"][:, None], noise["normal"], noise["u"]]
        together = torch.cat(numbers, 1).double().cpu().numpy()
        energy_inc, normal, u = np.split(together, [1, 1 + PARAMETERS], axis=1)
        x = (np.log(energy_inc[:, 0]) - known["scale"][0]) / known["scale"][1]
        mean = np.vander(x, len(known["means"])) @ known["means"]
        std = np.exp(np.vander(x, 2) @ known["log_std"])
        z = normal @ known["correlated"].T
        away = [np.interp(z[:, k], GRID, known["quantiles"][:, k]) for k in range(PARAMETERS)]
        alpha, depth, response = np.exp(mean + std * np.stack(away, 1)).T
        expected = _shares(alpha, depth, known["weights"]) * (response[:, None] * energy_inc)
        energies = _fluctuating(expected, known["fluctuation"], u)
        sampled = torch.from_numpy(energies.astype(np.float32))
        return {"layer_energies": upload(sampled, noise["u"].device)}


def _shares(alpha: Floats, depth: Floats, weights: Floats) -> Floats:
    """Fractions of the layers in the energies of showers, shape (n, L)."""
    edges = np.arange(len(weights) + 1)
    shares: Floats = weights * np.diff(gammainc(alpha[:, None], edges * (alpha / depth)[:, None]))
    shares /= shares.sum(1, keepdims=True).clip(1e-30)
    return shares


def _fluctuating(expected: Floats, fluctuation: Floats, u: Floats) -> Floats:
    """Energies of layers about the expected ones, of the same sum, shape (n, L)."""
    unit = (fluctuation[0] + fluctuation[1] * expected).clip(1e-9)
    energies: Floats = unit * gammaincinv((expected / unit).clip(1e-9), u)
    energies *= (expected.sum(1) / energies.sum(1).clip(1e-30))[:, None]
    return energies


def _fluctuation(energies: Floats, expected: Floats) -> Floats:
    """a [MeV] and b of each layer, with (a + b E) E the mean square of what is not expected."""
    square = (energies - expected) ** 2
    fitted = []
    for layer in range(energies.shape[1]):
        e = expected[:, layer].clip(1e-9)
        a, b = np.linalg.lstsq(np.stack([e**0, e], 1) / e.mean(), square[:, layer] / e / e.mean())[
            0
        ]
        if b < 0 or a < 0:
            a, b = square[:, layer].sum() / e.sum(), 0.0
        fitted.append((a, b))
    return np.array(fitted).T


def _distribution(x: Floats, parameters: Floats, degree: int) -> dict[str, Floats]:
    """How parameters, shape (n, 3), are distributed at each x."""
    powers = np.vander(x, degree + 1)
    means = np.linalg.lstsq(powers, parameters)[0]
    away = parameters - powers @ means
    log_square = np.log((away**2).clip(1e-12)) + EULER
    log_std = np.linalg.lstsq(np.vander(x, 2), log_square / 2)[0]
    z = away / np.exp(np.vander(x, 2) @ log_std)
    normal = ndtri((z.argsort(0).argsort(0) + 0.5) / len(z))
    covariance = np.cov(normal.T, bias=True) + 1e-6 * np.eye(PARAMETERS)
    std = np.sqrt(np.diag(covariance))
    return {
        "means": means,
        "log_std": log_std,
        "quantiles": np.quantile(z, ndtr(GRID), axis=0),
        "correlated": np.linalg.cholesky(covariance / np.outer(std, std)),
    }
