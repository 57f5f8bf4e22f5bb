"""Gaussian dependence of normal scores, which changes with the incident energy."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.kept import KeepsRows

__all__ = ["GaussianCopula"]

RIDGE = 1e-6  # of correlations, so that they have an inverse
TINY = 1e-30


class GaussianCopula(KeepsRows):
    """z = C(E) x of independent standard normal x, with C C^T the correlations R of z at E.

    Correlations are weighted means over rows at nodes in log E, with the weights

        exp(-((a - b) n^(1/3) / width)^2 / 2)

    of rows of which a share a has less energy than the row, and b less than the node: of more rows
    fewer of the nearest are enough. With the columns of V the principal
    components of their mean, the largest first, and L lower triangular,

        C = V L,   L L^T = V^T R V,

    so that the first of x are what rows differ in most. Between nodes L is interpolated, and the
    rows of C are normalised.

    A score that is known only to lie below a border, as of an empty layer, is sampled from its
    distribution given all other scores (Hoff, Annals of Applied Statistics 1, 2007, 265): at
    random below the border it would know nothing of its neighbours, and weaken their dependence.

    Args:
        columns: number of scores.
        nodes: energies at which correlations are taken, equally far apart in log E.
        width: of the weights of rows around a node.
        sweeps: times that all censored scores are sampled.

    Attributes:
        place: log E of the nodes, shape (nodes,).
        basis: V, shape (columns, columns).
        factors: L at the nodes, shape (nodes, columns, columns).
    """

    kept = ("place", "basis", "factors")
    basis: Tensor
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
        self._factorise(self._correlations(scores, at))
        for _ in range(self.sweeps):
            scores = self.impute(log_energy, scores, border, rng)
            self._factorise(self._correlations(scores, at))

    def check_kept(self) -> None:
        square = (self.columns, self.columns)
        shapes = (len(self.place), *square), square
        if len(self.place) < 2 or (self.factors.shape, self.basis.shape) != shapes:
            raise ValueError(
                f"a copula of {self.columns} scores has factors of the shape "
                f"{tuple(self.factors.shape)} at {len(self.place)} energies: train it again"
            )
        rises = bool((self.place.diff() >= 0).all())
        if not rises or bool((self.factors.diagonal(dim1=1, dim2=2) <= 0).any()):
            raise ValueError("a copula has factors that are none: train it again")

    def forward(self, log_energy: Tensor, x: Tensor) -> Tensor:
        """Scores z of independent standard normal numbers x, shape (n, columns)."""
        triangle, norm = self._triangle(log_energy)
        rotated = (triangle * x.double()[:, None]).sum(2)
        return (self.basis.double() * rotated[:, None]).sum(2) / norm

    def whitened(self, log_energy: Tensor, scores: Tensor) -> Tensor:
        """Inverse of `forward`, shape (n, columns)."""
        triangle, norm = self._triangle(log_energy)
        rotated = (scores.double() * norm) @ self.basis.double()
        x: Tensor = torch.linalg.solve_triangular(triangle, rotated[..., None], upper=False)[..., 0]
        return x

    def correlations(self, log_energy: Tensor) -> Tensor:
        """R at energies, shape (n, columns, columns)."""
        triangle, norm = self._triangle(log_energy)
        factor = self.basis.double() @ triangle / norm[..., None]
        return factor @ factor.mT

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
        basis = self.basis.double()
        precision = basis @ torch.cholesky_inverse(self.factors.double()) @ basis.mT
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

    def _triangle(self, log_energy: Tensor) -> tuple[Tensor, Tensor]:
        """L at energies and the norms of the rows of V L, shape (n, columns)."""
        at = self._position(log_energy)
        low = at.floor().clamp(0, len(self.place) - 2).long()
        part = (at - low).clamp(0, 1)[:, None, None]
        triangle = torch.lerp(self.factors[low].double(), self.factors[low + 1].double(), part)
        return triangle, (self.basis.double() @ triangle).square().sum(2).sqrt()

    def _correlations(self, scores: Tensor, at: Tensor) -> Tensor:
        """R at the nodes, shape (nodes, columns, columns)."""
        found, rising = [], at.sort().values
        share, nodes = (torch.searchsorted(rising, e) / len(at) for e in (at, self.place))
        for node in nodes:
            apart = (share - node) * len(at) ** (1 / 3) / self.width
            weight = (-0.5 * apart.square()).exp().double()
            moments = (scores * weight[:, None]).T @ scores
            spread = moments.diagonal().sqrt().clamp_min(TINY)
            found.append(moments / torch.outer(spread, spread))
        eye = torch.eye(self.columns, dtype=scores.dtype, device=scores.device)
        return (torch.stack(found) + RIDGE * eye) / (1 + RIDGE)

    def _factorise(self, correlations: Tensor) -> None:
        self.basis = torch.linalg.eigh(correlations.mean(0)).eigenvectors.flip(1).contiguous()
        self.factors = torch.linalg.cholesky(self.basis.mT @ correlations @ self.basis)
