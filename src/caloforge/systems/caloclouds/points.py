"""The points of showers by diffusion, and the encoder of their latent vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from caloforge.cascade.arguments import SamplingOptions
from caloforge.cascade.choices import MEMORY_BUDGET, POSTPROCESS, PRECISION, Choice, named
from caloforge.cascade.draw import Draw
from caloforge.cascade.quantities import Quantities, ShowerQuantities
from caloforge.cascade.seeds import Noise, Seeds
from caloforge.cascade.stage import Batch, Learned, Upstream
from caloforge.geometry import Geometry
from caloforge.names import did_you_mean
from caloforge.nets import EPiCEncoder, counted, divergence
from caloforge.preprocessing import Standardise
from caloforge.systems.caloclouds.conditions import CloudConditions
from caloforge.systems.caloclouds.config import CaloCloudsConfig
from caloforge.systems.caloclouds.frame import PointFrame, boxed, clouds, smeared
from caloforge.systems.caloclouds.networks import POINT, PointNetwork
from caloforge.systems.caloclouds.postdiffusion import calibrated, uncalibrated
from caloforge.systems.caloclouds.processes import Sampler, make_process
from caloforge.upload import upload

__all__ = ["PointsStage", "some_points"]

COPIES = 4  # of the widest layer, of 4 bytes a number, that a pass through the network holds


class PointsStage(Learned):
    """Points that are correlated through a latent vector alone (sections 3.1 and 3.2).

    Encoder and network are trained together (equation 3.7), with the mean over the points of each
    shower, over their four features and then over the showers.

    Args:
        config: that of the system.
        geometry: the layers.
        conditions: those of all networks, of which the size is taken.

    Attributes:
        box: half width of the box that no point lies outside [mm]; None where clusters are sampled.
        context_size: numbers that the network sees of a shower.
        trained_solvers: samplers with networks of their own, by name; the system adds them.
    """

    needs = ("conditions",)
    optional = ("layer_energies", "n_points", "shift")
    writes = ("points", "n_points")
    trained_solvers: Mapping[str, Sampler] = {}
    settings = {"PointFrame": "half_width"}  # noqa: RUF012 (read only)

    def __init__(
        self, config: CaloCloudsConfig, geometry: Geometry, conditions: CloudConditions
    ) -> None:
        super().__init__()
        self.config, self.half_width = config.points, config.half_width
        self.recipe = config.points.recipe
        self.reads = (*conditions.particle, "layer_counts", "visible_energy", "latent")
        self.learns = (*conditions.particle, "n_points", "points")
        self.frame = PointFrame(
            geometry.n_layers, config.half_width, self.config.energy, self.config.core
        )
        self.process = make_process(config.points)
        self.features = Standardise((POINT,)) if self.process.is_standardised else None
        encoder = config.points.encoder
        self.encoder = EPiCEncoder(
            POINT, conditions.size, encoder.latent, encoder.hidden, encoder.layers
        )
        self.context_size = conditions.size + encoder.latent
        self.network = PointNetwork(self.context_size, config.points.hidden)
        self.box = config.half_width if config.clusters is None else None

    def fit(
        self,
        sample: ShowerQuantities,
        upstream: Upstream,
        rng: torch.Generator,
        draw: Draw | None = None,
    ) -> None:
        self.frame.fit(lambda: (q["points"] for q in sample.batches()))
        if self.features is not None:
            self.features.fit(
                lambda: (self.frame(smeared(q["points"], rng)) for q in sample.batches())
            )

    def limits(self, quantities: Quantities) -> Mapping[str, Tensor]:
        place = quantities["points"][:, :2]
        return {"half_width": (place.abs() > self.half_width).any(1)}

    def scaled(self, points: Tensor, rng: torch.Generator) -> Tensor:
        """Points as the networks see them, at random depths of their layers, shape (..., 4)."""
        x: Tensor = self.frame(smeared(points, rng))
        return x if self.features is None else self.features(x)

    def context(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Shape (n, context_size)."""
        return CloudConditions.of(upstream, "conditions").all(quantities)

    # ------------------------------------------------------------ training

    def batch(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Batch:
        """Scaled points for the network and for the encoder, and the conditions of their showers.

        Where not all points are seen, the encoder sees others than the network, so that it learns
        what a shower is like and not which points were sampled of it.
        """
        x, cloud = self.seen(quantities, rng)
        encoded = x if cloud is not None else self.seen(quantities, rng)[0]
        batch = {"x": x, "encoded": encoded, "conditions": self._filled(quantities, upstream)}
        return batch if cloud is None else {**batch, "cloud": cloud}

    def seen(self, quantities: Quantities, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Scaled points that a step of training sees, and which cloud each belongs to.

        All of them, shape (points, 4); or `max_points` of each cloud that has any, side by side,
        shape (clouds, max_points, 4), and None.
        """
        points, n_points = quantities["points"], quantities["n_points"]
        most = self.config.max_points
        if most is None:
            return self.scaled(points, rng), clouds(n_points, len(points))
        return self.scaled(some_points(points, n_points, most, rng), rng), None

    def _filled(self, quantities: Quantities, upstream: Upstream) -> Tensor:
        """Conditions of the clouds that `seen` has."""
        conditions = CloudConditions.of(upstream, "conditions").both(quantities)
        if self.config.max_points is None:
            return conditions
        return conditions[quantities["n_points"].nonzero()[:, 0]]

    def loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """w max(D_KL, m) + <|error|^2> (equation 3.7), the divergence that of a shower's latent.

        The square error is the mean over the points of each shower, over their features and over
        the showers; each shower has a level of noise of its own, or several.
        """
        encoder, conditions = self.config.encoder, batch["conditions"]
        mean, log_variance = self.encoded(batch["encoded"], conditions, batch.get("cloud"))
        kld = divergence(mean, log_variance).sum(1).mean()
        latent = sampled_latent(mean, log_variance, rng)
        error = self.error(batch["x"], torch.cat([conditions, latent], 1), batch.get("cloud"), rng)
        return encoder.divergence_weight * kld.clamp_min(encoder.divergence_floor) + error

    def encoded(self, x: Tensor, conditions: Tensor, cloud: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent of each shower, shape (n, latent) each.

        Args:
            x: scaled points, side by side (n, points, 4) or all in one tensor (points, 4).
            conditions: of each shower, shape (n, conditions.size).
            cloud: which shower each point of the one tensor belongs to; None where side by side.
        """
        if cloud is None:
            cloud = torch.arange(len(x), device=x.device).repeat_interleave(x.shape[1])
        mean, log_variance = self.encoder(x.reshape(-1, POINT), conditions, cloud)
        return mean.float(), log_variance.float()

    def error(
        self, x: Tensor, context: Tensor, cloud: Tensor | None, rng: torch.Generator
    ) -> Tensor:
        """Mean square error of the network, see `loss`."""
        draws = self.config.draws
        if cloud is None:
            x = x.reshape(len(x) * draws, -1, POINT)
            context = context.repeat_interleave(draws, 0)
        network = partial(self.network.at, context=context, cloud=cloud)
        error = self.process.error(network, x, len(context), cloud, rng)
        if cloud is None:
            return error.mean()
        of_clouds = error.new_zeros(len(context)).index_add(0, cloud, error.mean(1))
        return (of_clouds / counted(cloud, len(context)).clamp_min(1)).mean()

    @torch.no_grad()
    def encode(self, quantities: Quantities, upstream: Upstream, rng: torch.Generator) -> Tensor:
        """Latent of showers, sampled from the encoder's distribution, shape (n, latent).

        Args:
            quantities: incident energies, numbers of points and points.
            upstream: the stages of `needs`.
            rng: source of randomness.
        """
        x, cloud = self.seen(quantities, rng)
        latent = sampled_latent(*self.encoded(x, self._filled(quantities, upstream), cloud), rng)
        if cloud is not None:
            return latent
        # clouds without points are not seen, and say as little as a normal distribution
        n_points = quantities["n_points"]
        shape = (len(n_points), latent.shape[1])
        z = torch.randn(shape, generator=rng, device=latent.device, dtype=latent.dtype)
        return z.masked_scatter(n_points[:, None] > 0, latent)

    # ------------------------------------------------------------ sampling

    @property
    def choices(self) -> Mapping[str, Choice]:
        offered = (*self.process.solvers, *self.trained_solvers)
        return {
            "solver": named("how points are sampled", self.config.solver, self._solver, offered),
            "precision": PRECISION,
            "memory_budget": MEMORY_BUDGET,
            "postprocess": POSTPROCESS,
        }

    def solver(self, options: SamplingOptions) -> Sampler:
        """The sampler to sample with.

        Raises:
            ValueError: for an unknown name.
        """
        return self._solver(options.solver)

    def _solver(self, name: str) -> Sampler:
        found = self.trained_solvers.get(name) or self.process.sampler(name)
        if found is None:
            offered = (*self.process.solvers, *self.trained_solvers)
            raise ValueError(
                f"there is no solver {name!r} of these points{did_you_mean(name, offered)}: "
                f"there are {', '.join(offered)}"
            )
        return found

    def noise(self, given: Quantities, seeds: Seeds) -> Noise:
        """Of every point or cluster, and what says how to make more of it for its cloud.

        That are the keys of the clouds and how many points each has, both in main memory.
        """
        counts = given["layer_counts"].sum(1).round().long().cpu()
        return {
            "z": seeds.normal_rows(counts, POINT),
            "keys": seeds.as_tensor(),
            "counts": counts,
        }

    @torch.no_grad()
    def sampled(self, noise: Noise, context: Tensor, options: SamplingOptions) -> Tensor:
        """Points in mm, layers and fractions of them, and MeV, shape (sum of n_points, 4).

        They are made in pieces that keep to the memory budget, on a CPU of one cloud each.

        Args:
            noise: as `noise` makes it.
            context: of each cloud, see `context`.
            options: what a user chooses at generation.
        """
        sampler, device = self.solver(options), context.device
        network = sampler.network or self.network
        at_once = max(1, options.memory_budget // (COPIES * 4 * max(self.config.hidden)))
        counts = noise["counts"]
        ends = np.cumsum([0, *counts.tolist()])
        parts = []
        low = options.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            for some in _pieces(counts.tolist(), at_once if device.type != "cpu" else 1):
                x = noise["z"][ends[some.start] : ends[some.stop]]
                cloud = upload(clouds(counts[some]), device)
                seen = partial(network.at, context=context[some], cloud=cloud)
                seeds = Seeds.of_keys(noise["keys"][some], device)
                parts.append(sampler.sample(seen, x, _fresh(seeds, counts[some])))
        x = torch.cat(parts) if parts else noise["z"]
        return self.frame.inverse(x if self.features is None else self.features.inverse(x))

    @property
    def sequential_passes(self) -> int:
        return self.passes(self.chosen({}))

    def passes(self, options: SamplingOptions) -> int:
        return self.solver(options).n_evaluations

    def decode(
        self, noise: Noise, given: Quantities, upstream: Upstream, options: SamplingOptions
    ) -> Quantities:
        counts, energy = given["layer_counts"], given["visible_energy"]
        n_points = counts.sum(1).round().long()
        points = self.sampled(noise, self.context(given, upstream), options)
        if options.postprocess:
            shift, layers = given.get("shift"), given.get("layer_energies")
            points, n_points = calibrated(points, n_points, counts, energy, shift, layers)
        else:
            points = uncalibrated(points, self.frame.n_layers)
        points = points if self.box is None else boxed(points, self.box)
        return {"points": points, "n_points": n_points}


def some_points(points: Tensor, n_points: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """So many points of each cloud that has any, with replacement, shape (clouds, most, 4).

    Args:
        points: of all clouds, one after the other, shape (sum of n_points, 4).
        n_points: points of each cloud, shape (n,).
        most: points to sample of each.
        rng: source of randomness.
    """
    filled = n_points.nonzero()  # once: an accelerator is waited for
    first = (n_points.cumsum(0) - n_points)[filled]
    n_points = n_points[filled]
    u = torch.rand(len(n_points), most, generator=rng, device=points.device)
    # u is below 1, but its product with an integer may be rounded up to it
    return points[first + torch.minimum((u * n_points).long(), n_points - 1)]


def _pieces(counts: Sequence[int], most: int) -> Iterator[slice]:
    """Runs of clouds with so many points at most, or of one cloud that has more.

    On a CPU a piece is of one cloud, whose points all have the same gates: they go into the
    weights. An accelerator wants many points at once instead.
    """
    start, held = 0, 0
    for number, count in enumerate(counts):
        if held and held + count > most:
            yield slice(start, number)
            held = 0
        if not held:
            start = number
        held += count
    if held:
        yield slice(start, len(counts))


def _fresh(seeds: Seeds, n_points: Tensor) -> Callable[[int], Tensor]:
    """Normal numbers of the steps of a sampler, the same for a cloud in whatever piece it is."""
    return lambda step: seeds.branch(step).normal_rows(n_points, POINT)


def sampled_latent(mean: Tensor, log_variance: Tensor, rng: torch.Generator) -> Tensor:
    """mu + sigma z, z standard normal, the shape of both."""
    z = torch.randn(mean.shape, generator=rng, device=mean.device, dtype=mean.dtype)
    return mean + (log_variance / 2).exp() * z
