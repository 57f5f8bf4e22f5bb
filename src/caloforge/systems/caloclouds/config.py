"""Configuration of CaloClouds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict

from caloforge.cascade.recipe import Recipe
from caloforge.diffusion import NoiseLevels

__all__ = [
    "CaloCloudsConfig",
    "CloudFit",
    "Clusters",
    "Distillation",
    "EncoderConfig",
    "LatentFlowConfig",
    "PointsConfig",
    "ShowerFlowConfig",
]


@dataclass(frozen=True)
class ShowerFlowConfig:
    """The Shower Flow: visible energy and points in each layer (CaloClouds, section 3.3).

    Args:
        recipe: training.
        totals: the numbers that it samples. "plain" are N, E_sum and the counts of all layers, as
            published; "relative" takes roots and leaves out N, see `RelativeTotals`; "layers" has
            the energies of all layers, see `LayerTotals`.
        kind: "affine" couplings with a spline in each block, as published, or "masked"
            autoregressive blocks of splines.
        blocks: of couplings, or masked ones (section 3.3).
        couplings: affine couplings of a block, besides which it has one spline (section 3.3).
        hidden: width of the hidden layers of affine couplings, or of masked blocks; that of
            couplings is the authors' code's.
        spline_hidden: width of the hidden layers that set the splines of affine blocks; that of
            the authors' code.
        bins: of the splines, of linear order in affine blocks; those of the authors' code.
        bound: beyond which splines are the identity.
    """

    recipe: Recipe
    totals: Literal["plain", "relative", "layers"] = "plain"
    kind: Literal["affine", "masked"] = "affine"
    blocks: int = 10
    couplings: int = 6
    hidden: int = 320
    spline_hidden: int = 128
    bins: int = 8
    bound: float = 5.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class LatentFlowConfig:
    """The Latent Flow: the latent vector of a shower (CaloClouds, section 3.2).

    Args:
        recipe: training.
        blocks: coupling blocks (section 3.2).
        hidden: width of their networks (section 3.2).
        bins: of the splines; those of the authors' code.
        bound: beyond which splines are the identity; that of the authors' code.
        depth: whether it sees how deep a shower is, by the points in its layers. The paper samples
            both on their own.
    """

    recipe: Recipe
    blocks: int = 10
    hidden: int = 128
    bins: int = 10
    bound: float = 10.0
    depth: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class EncoderConfig:
    """The EPiC encoder of showers, trained with the network of points (CaloClouds, section 3.2).

    Args:
        latent: size of the latent space (section 3.2).
        hidden: features of a point and of a shower (section 3.2).
        layers: EPiC layers (section 3.2).
        divergence_weight: w_KLD of the Kullback-Leibler divergence (equation 3.7).
        divergence_floor: m_KLD, below which the divergence costs no less (equation 3.7).
    """

    latent: int = 256
    hidden: int = 128
    layers: int = 3
    divergence_weight: float = 1e-3
    divergence_floor: float = 1.0

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class PointsConfig:
    """The diffusion of points and the encoder of showers (CaloClouds, sections 3.1 and 3.2).

    Args:
        recipe: training of both.
        encoder: the encoder.
        hidden: widths of PointWise Net (figure 3).
        process: "chain" of Markov steps (equation 3.1), or "edm", noise of any level
            (arXiv:2206.00364), of which few steps make points. The paper has the chain.
        energy: scale of point energies, "linear" as published, or "log", on which the lowest ones
            are not lost.
        core: radius [mm] outside which places are on a logarithmic scale, see `PointFrame`; None
            for none, as published.
        steps: T of the chain (section 3.1).
        variances: beta_1 and beta_T of the chain (section 3.1).
        levels: of the noise of "edm", in units of the standard deviation of each feature.
        solver: how points are sampled where the user names none.
        max_points: points of each shower that a step of training sees, sampled at random, as the
            loss is a mean over them; None for all, as published.
        draws: levels of noise that a step sees a shower at, each with its fraction of `max_points`.
            The paper has one.

    Raises:
        ValueError: for settings that contradict each other.
    """

    recipe: Recipe
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    hidden: tuple[int, ...] = (128, 256, 512, 256, 128)
    process: Literal["chain", "edm"] = "chain"
    energy: Literal["linear", "log"] = "linear"
    core: float | None = None
    steps: int = 100
    variances: tuple[float, float] = (1e-4, 0.02)
    levels: NoiseLevels = field(default_factory=NoiseLevels)
    solver: str = "ddpm-100"
    max_points: int | None = None
    draws: int = 1

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.core is not None and not self.core > 0:
            raise ValueError(f"core must be a radius [mm] above 0, or None, got {self.core}")
        if self.max_points is None:
            if self.draws != 1:
                raise ValueError(
                    f"all points of a shower are seen at one level of noise, got {self.draws} draws"
                )
        else:
            _check_shares(self.max_points, self.draws)


@dataclass(frozen=True)
class Distillation:
    """A copy of the network of points that samples in one step (arXiv:2303.01469).

    Args:
        recipe: training.
        intervals: between the levels of noise that it is taught at.
        target: decay a step of the moving average of its weights that it is taught to agree with.
        max_points: points of each shower that a step of training sees.
        draws: levels of noise that a step sees a shower at.
    """

    recipe: Recipe
    intervals: int = 18
    target: float = 0.95
    max_points: int = 1024
    draws: int = 8

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        _check_shares(self.max_points, self.draws)
        if self.intervals < 1 or not 0 <= self.target < 1:
            raise ValueError(
                "expected 1 interval or more and a target's decay in [0, 1), got "
                f"{self.intervals} and {self.target}"
            )


@dataclass(frozen=True)
class CloudFit:
    """How sampled clouds are corrected, see `CloudCalibration` (CaloClouds, section 3.3).

    Args:
        showers: most showers to sample, and to take of the training sample.
        geometry: name of the geometry whose hits are counted; None for the system's own.
        rounds: how often showers are sampled; from the second round on with the corrections found
            so far, as fewer points of the same energy are more often above the threshold. The
            paper has one.

    Raises:
        ValueError: for numbers below 1.
    """

    showers: int = 2000
    geometry: str | None = None
    rounds: int = 1

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.showers < 1 or self.rounds < 1:
            raise ValueError(
                "a calibration needs 1 shower or more and 1 round or more, got "
                f"{self.showers} and {self.rounds}"
            )


@dataclass(frozen=True)
class Clusters:
    """Points that one particle leaves together are sampled as one, see `clustered`.

    Args:
        reach: largest distance between points of one cluster in a layer [mm].
        largest: number of points of a cluster at most; larger ones are split.
        library: most clusters whose members are kept for sampled ones, see `MemberLibrary`.

    Raises:
        ValueError: for numbers that are not above 0.
    """

    reach: float
    largest: int
    library: int = 50_000

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if not (self.reach > 0 and self.largest > 0 and self.library > 0):
            raise ValueError(
                "clusters need a reach above 0 [mm], 1 point or more and a library of 1 or more, "
                f"got {self.reach}, {self.largest} and {self.library}"
            )


@dataclass(frozen=True)
class CaloCloudsConfig:
    """CaloClouds: counts and visible energy, the latent vector, then the points (section 3).

    Args:
        shower: the Shower Flow.
        latent: the Latent Flow.
        points: PointWise Net with the encoder.
        distillation: of PointWise Net into one step; None for none, as published.
        calibration: of the number of points and of their centre; None for none.
        clusters: what the points are that all stages sample; None for those of the sample, as
            published.
        half_width: of the box around the showers along x and y [mm] (section 2).
        directed: whether all networks see the direction of the particle. The paper has one.

    Raises:
        ValueError: if there is nothing to distil.
    """

    shower: ShowerFlowConfig
    latent: LatentFlowConfig
    points: PointsConfig
    distillation: Distillation | None = None
    calibration: CloudFit | None = None
    clusters: Clusters | None = None
    half_width: float = 200.0
    directed: bool = False

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        if self.distillation is not None and self.points.process != "edm":
            raise ValueError(
                'only noise of any level is distilled into one step: expected points.process "edm"'
                f", got {self.points.process!r}"
            )


def _check_shares(max_points: int, draws: int) -> None:
    """Refuse points that levels of noise cannot share."""
    if draws < 1 or max_points < 1 or max_points % draws:
        raise ValueError(
            "every level of noise has its share of the points: expected max_points to be a "
            f"multiple of draws, got {max_points} and {draws}"
        )
