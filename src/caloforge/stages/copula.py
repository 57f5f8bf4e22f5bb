"""Gaussian dependence of normal scores, which changes with the incident energy."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.kept import KeepsRows

__all__ = ["GaussianCopula"]

RIDGE = 1e-6  # of correlations, so that they have an inverse
TINY = 1e-30


class GaussianCopula(KeepsRows):
    """z = C(E) x of independent standard normal x, with C C^T the correlations of z at E.

    Correlations are weighted means over rows at nodes in log E. Between nodes the lower triangular
    factors C are interpolated, and their rows normalised.

    A score that is known only to lie below a border, as of an empty layer, is sampled from its
    distribution given all other scores (Hoff, Annals of Applied Statistics 1, 2007, 265): at
    random below the border it would know nothing of its neighbours, and weaken their dependence.

    Args:
        columns: number of scores.
        nodes: energies at which correlations are taken, equally far apart in log E.
        width: standard deviation of the weights of rows around a node, in log E.
        sweeps: times that all censored scores are sampled.

    Attributes:
        place: log E of the nodes, shape (nodes,).
        factors: C at the nodes, shape (nodes, columns, columns).
    """

    kept = ("place", "factors")
    place: Tensor
    factors: Tensor

    def __init__(self, columns: int, nodes: int, width: float, sweeps: int) -> None:
        super().__init__()
        self.columns, self.nodes, self.width, self.sweeps = columns, nodes, width, sweeps
        for name in self.kept:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def fit(self, log_energy: Tensor, scores: Tensor, border: Tensor, rng: torch.Generator) -> None:
        """Take correlations, and censored scores anew, in turn.

        Args:
            log_energy: log E, shape (n,).
            scores: shape (n, columns); those below the border are censored.
            border: shape (n, columns).
            rng: of the censored scores.
        """
        at = log_energy.double()
        ends = float(at.min()), float(at.max())
        self.place = torch.linspace(*ends, self.nodes, dtype=at.dtype).to(at.device)
        scores = scores.double()
        self.factors = self._factors(scores, at)
        for _ in range(self.sweeps):
            scores = self.impute(log_energy, scores, border, rng)
            self.factors = self._factors(scores, at)

    def check_kept(self) -> None:
        shape = (len(self.place), self.columns, self.columns)
        if len(self.place) < 2 or self.factors.shape != shape:
            raise ValueError(
                f"a copula of {self.columns} scores has factors of the shape "
                f"{tuple(self.factors.shape)} at {len(self.place)} energies: train it again"
            )
        rises = bool((self.place.diff() >= 0).all())
        if not rises or bool((self.factors.diagonal(dim1=1, dim2=2) <= 0).any()):
            raise ValueError("a copula has factors that are none: train it again")

    def forward(self, log_energy: Tensor, x: Tensor) -> Tensor:
        """Scores z of independent standard normal numbers x, shape (n, columns)."""
        return (self.factor(log_energy) * x.double()[:, None]).sum(2)

    def whitened(self, log_energy: Tensor, scores: Tensor) -> Tensor:
        """Inverse of `forward`, shape (n, columns)."""
        factor, z = self.factor(log_energy), scores.double()[..., None]
        return torch.linalg.solve_triangular(factor, z, upper=False)[..., 0]

    def factor(self, log_energy: Tensor) -> Tensor:
        """C at energies, shape (n, columns, columns)."""
        at = self._position(log_energy)
        low = at.floor().clamp(0, len(self.place) - 2).long()
        part = (at - low).clamp(0, 1)[:, None, None]
        mixed = torch.lerp(self.factors[low].double(), self.factors[low + 1].double(), part)
        return mixed / mixed.square().sum(2, keepdim=True).sqrt()

    @torch.no_grad()
    def impute(
        self, log_energy: Tensor, scores: Tensor, border: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Scores of which the censored ones are sampled, each given all others, one after another.

        Args:
            log_energy: log E, shape (n,).
            scores: shape (n, columns); those below the border are censored.
            border: shape (n, columns).
            rng: of the samples.
        """
        z, censored = scores.double().clone(), scores < border
        node = self._position(log_energy).round().clamp(0, len(self.place) - 1).long()
        precision = torch.cholesky_inverse(self.factors.double())
        u = torch.rand(z.shape, generator=rng, device=z.device).double()
        for column in range(self.columns):
            weights = precision[:, column]
            own = weights[:, column][node]
            mean = z[:, column] - (weights[node] * z).sum(1) / own
            most = torch.special.ndtr((border[:, column] - mean) * own.sqrt())
            sampled = torch.special.ndtri((u[:, column] * most).clamp_min(TINY))
            imputed = torch.minimum(mean + sampled / own.sqrt(), border[:, column])
            z[:, column] = torch.where(censored[:, column], imputed, z[:, column])
        return z

    def _position(self, log_energy: Tensor) -> Tensor:
        """Where energies lie among the nodes, 0 the first."""
        if len(self.place) < 2:
            raise RuntimeError("GaussianCopula is not fitted: call fit on the training split first")
        step = (self.place[1] - self.place[0]).clamp_min(TINY)
        return (log_energy.double() - self.place[0]) / step

    def _factors(self, scores: Tensor, at: Tensor) -> Tensor:
        found = []
        for node in self.place:
            weight = (-0.5 * ((at - node) / self.width).square()).exp()
            moments = (scores * weight[:, None]).T @ scores
            spread = moments.diagonal().sqrt().clamp_min(TINY)
            found.append(moments / torch.outer(spread, spread))
        eye = torch.eye(self.columns, dtype=scores.dtype, device=scores.device)
        return torch.linalg.cholesky((torch.stack(found) + RIDGE * eye) / (1 + RIDGE))
