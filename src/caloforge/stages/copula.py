"""Gaussian dependence of normal scores, which changes with the incident energy."""

from __future__ import annotations

import torch
from torch import Tensor

from caloforge.cascade.kept import KeepsRows

__all__ = ["GaussianCopula"]

RIDGE = 1e-6  # of correlations, so that they have an inverse
TINY = 1e-30
DEGREE = 3  # of the polynomials in log E that spreads of principal components follow
EVEN = 10.0  # rows, of a spread that does not change, that keep polynomials of few rows flat
STEPS = 20  # of the fit of spreads


class GaussianCopula(KeepsRows):
    """z = C(E) x of independent standard normal x, with C C^T the correlations R of z at E.

    What changes most with E is the spread of the principal components: that of the last falls as
    fluctuations average out. First it is fitted to each, over all energies, so that it is known at
    the ends of the range, too. Correlations of the components in units of their spreads are then
    weighted means over rows at nodes in log E, with the weights

        exp(-((a - b) n^(1/3) / width)^2 / 2)

    of rows of which a share a has less energy than the row, and b less than the node: of more rows
    fewer of the nearest are enough. With the columns of V the principal components of the mean R
    of the nodes, the largest first, and L lower triangular,

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
            self.register_buffer(name, torch.zeros(0))

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
        for name in self.kept:  # single precision is enough to keep them in
            setattr(self, name, self.get_buffer(name).float())

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
        place = self.place.double()
        step = ((place[-1] - place[0]) / (len(place) - 1)).clamp_min(TINY)
        return (log_energy.double() - place[0]) / step

    def _triangle(self, log_energy: Tensor) -> tuple[Tensor, Tensor]:
        """L at energies and the norms of the rows of V L, shape (n, columns)."""
        at = self._position(log_energy)
        low = at.floor().clamp(0, len(self.place) - 2).long()
        part = (at - low).clamp(0, 1)[:, None, None]
        triangle = torch.lerp(self.factors[low].double(), self.factors[low + 1].double(), part)
        return triangle, (self.basis.double() @ triangle).square().sum(2).sqrt()

    def _correlations(self, scores: Tensor, at: Tensor) -> Tensor:
        """R at the nodes, shape (nodes, columns, columns)."""
        basis = torch.linalg.eigh(_normalised(scores.T @ scores)).eigenvectors
        components = scores @ basis
        spreads, at_nodes = _spreads(components, at, self.place)
        components = components / spreads
        rising = at.sort().values
        share, nodes = (torch.searchsorted(rising, e) / len(at) for e in (at, self.place))
        found = []
        for node, spread in zip(nodes, at_nodes, strict=True):
            apart = (share - node) * len(at) ** (1 / 3) / self.width
            weight = (-0.5 * apart.square()).exp().double()
            moments = (components * weight[:, None]).T @ components
            back = basis * spread
            found.append(_normalised(back @ moments @ back.T))
        eye = torch.eye(self.columns, dtype=scores.dtype, device=scores.device)
        return (torch.stack(found) + RIDGE * eye) / (1 + RIDGE)

    def _factorise(self, correlations: Tensor) -> None:
        self.basis = torch.linalg.eigh(correlations.mean(0)).eigenvectors.flip(1).contiguous()
        self.factors = torch.linalg.cholesky(self.basis.mT @ correlations @ self.basis)


def _normalised(moments: Tensor) -> Tensor:
    """Correlations of second moments."""
    spread = moments.diagonal().sqrt().clamp_min(TINY)
    return moments / torch.outer(spread, spread)


def _spreads(y: Tensor, at: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations of columns of mean 0, whose logarithm is a polynomial in log E.

    The likelihood of y² as a gamma variable is maximised by Fisher scoring (McCullagh and Nelder,
    Generalized Linear Models, 1989, chapter 8), with some rows more whose spread does not change.

    Args:
        y: shape (n, columns).
        at: log E, shape (n,).
        nodes: log E of the nodes, shape (nodes,).

    Returns:
        Of the rows and at the nodes, shapes (n, columns) and (nodes, columns).
    """
    middle, half = (nodes[0] + nodes[-1]) / 2, ((nodes[-1] - nodes[0]) / 2).clamp_min(TINY)
    powers = torch.arange(DEGREE + 1, device=at.device)
    terms, terms_at_nodes = (((e - middle) / half)[:, None] ** powers for e in (at, nodes))
    square = y.square() + RIDGE
    logarithm = torch.zeros(DEGREE + 1, y.shape[1], dtype=y.dtype, device=y.device)
    logarithm[0] = square.mean(0).log()
    held = EVEN * (powers > 0).to(y.dtype)
    information = terms.T @ terms + held.diag()
    for _ in range(STEPS):
        score = terms.T @ (square * (-terms @ logarithm).exp() - 1) - held[:, None] * logarithm
        logarithm += torch.linalg.solve(information, score).clamp(-1, 1)
    return (0.5 * terms @ logarithm).exp(), (0.5 * terms_at_nodes @ logarithm).exp()
