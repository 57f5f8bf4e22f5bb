"""The presets of L2LFlows: small and masked ones for any geometry, the published ones."""

from __future__ import annotations

from typing import Any

from caloforge.cascade.recipe import Recipe
from caloforge.cascade.sizes import check_preset
from caloforge.geometry import Geometry
from caloforge.stages.energies import EnergyFlow
from caloforge.stages.spectrum import SpectrumFit
from caloforge.systems.l2lflows.config import (
    ConvolutionalFlow,
    L2LFlowsConfig,
    MaskedFlow,
)

__all__ = ["FIXED_GEOMETRIES", "SIZES", "preset"]

FIXED_GEOMETRIES = {
    "paper-ild": "ild-30",
    "paper-calochallenge-3": "calochallenge-3",
    "paper-calochallenge-2": "calochallenge-2",
}
SIZES = ("small", "tiny", "maf", *FIXED_GEOMETRIES)

# Down-sampling of the published U-Nets (table 6). That of dataset 2, which the paper does not
# treat, is chosen here: squeezing by 2 cannot act on 9 radial bins, so that they are padded to 12.
_SCALES: dict[str, dict[str, Any]] = {
    "paper-ild": {"down_sampling": ((3, 3), (5, 5))},
    "paper-calochallenge-3": {"down_sampling": ((5, 3), (5, 3))},
    "paper-calochallenge-2": {"down_sampling": ((2, 1), (4, 3)), "padding": (0, 3)},
}

FEW_VOXELS = 256  # in a layer: two couplings do for so many

_SMALL_ENERGIES = EnergyFlow(recipe=Recipe(epochs=50, batch_size=64, learning_rate=1e-3, ema=0.99))


def preset(size: str, geometry: Geometry) -> L2LFlowsConfig:
    """The configuration of a preset for any regular geometry.

    Raises:
        ValueError: for an unknown preset or an irregular geometry.
    """
    check_preset("l2lflows", size, geometry, sizes=SIZES, fixed_geometries=FIXED_GEOMETRIES)
    if size in FIXED_GEOMETRIES:
        return _paper(size)
    if size == "maf":
        return _masked(*geometry.shape[1:])
    a, b = geometry.shape[1:]
    squeeze, down_sampling = _scales(a, b)
    if size == "tiny":
        return L2LFlowsConfig(
            energies=EnergyFlow(
                recipe=Recipe(epochs=40, batch_size=256, learning_rate=3e-3), blocks=4, hidden=48
            ),
            layers=ConvolutionalFlow(
                recipe=Recipe(epochs=3, batch_size=64, learning_rate=8e-3, gradient_clip=100.0),
                squeeze=squeeze,
                down_sampling=down_sampling[:1],
                channels=(8, 16),
                blocks=4,
                bins=8,
                embedding_channels=4,
                warm_start=True,
                first_epochs=6,
            ),
            rescale="hits",
        )
    return L2LFlowsConfig(
        energies=_SMALL_ENERGIES,
        layers=ConvolutionalFlow(
            recipe=Recipe(
                epochs=3, batch_size=32, learning_rate=2e-3, gradient_clip=100.0, ema=0.98
            ),
            squeeze=squeeze,
            # A third scale and a last convolution of 3 x 3 make the likelihood of a layer no
            # better, and twice the work.
            down_sampling=down_sampling[:1],
            channels=(16, 32),
            last_kernel=1,
            # the middle of polar bins is a border, which convolutions see; that of cells is not
            position=geometry.cyclic_axis is None,
            decode_kernel=1,
            embed_tiles=True,
            blocks=2 if a * b <= FEW_VOXELS else 3,
            bins=8,
            bound=8.0,  # the paper's 15 leaves most bins where no data are
            warm_start=True,
            first_epochs=20,
        ),
        rescale="hits",
        spectrum=SpectrumFit(rescale=True),
    )


def _masked(a: int, b: int) -> L2LFlowsConfig:
    """The masked autoregressive flows of the first L2LFlows; their sizes are not published.

    Every hidden unit sets the splines of all voxels, so that larger layers get fewer units.
    """
    return L2LFlowsConfig(
        energies=_SMALL_ENERGIES,
        layers=MaskedFlow(
            # talk of T. Buss, 2023: training upscaled flows is unstable without a limit to the
            # gradient, and gains from a schedule of the learning rate
            recipe=Recipe(
                epochs=12, batch_size=64, learning_rate=5e-3, gradient_clip=2.0, ema=0.98
            ),
            blocks=4,
            bins=8,
            bound=6.0,
            hidden=128 if a * b <= 256 else 64,
            reflection=True,
            warm_start=True,
            first_epochs=30,
        ),
        rescale="hits",
        spectrum=None,  # the talk has it, but it is fitted on thousands of sampled showers
    )


def _paper(size: str) -> L2LFlowsConfig:
    """The published configurations, field by field."""
    is_ild = size == "paper-ild"
    energies = EnergyFlow(  # its architecture, table 3, is the class's own
        recipe=Recipe(
            epochs=200 if is_ild else 2000,  # table 4
            batch_size=1024,  # table 4
            learning_rate=1e-3,  # table 4
            schedule="exponential",  # table 4
            final_learning_rate=1e-6,  # table 4
        ),
        largest_ratio=None if is_ild else 2.6,  # section 3.1
    )
    recipe = Recipe(
        epochs=200 if is_ild else 800,  # table 8
        batch_size=1024,  # table 8
        learning_rate=1e-4 if is_ild else 6e-4,  # table 8
        schedule="one-cycle",  # table 8
        gradient_clip=800.0 if is_ild else 100.0,  # table 8
        weight_decay=0.1 if is_ild else 0.0,  # table 8
    )
    return L2LFlowsConfig(
        energies=energies,
        layers=ConvolutionalFlow(recipe, squeeze=(2, 2), rotation=not is_ild, **_SCALES[size]),
        rescale="voxels" if is_ild else "none",  # section 3.4
        spectrum=SpectrumFit() if is_ild else None,  # appendix C
    )


def _scales(a: int, b: int) -> tuple[tuple[int, int], tuple[tuple[int, int], ...]]:
    """Squeeze and two down-samplings that divide a layer of a x b voxels.

    The squeeze makes 4 channels where it can: 2 x 2, else 4 or 2 along one axis.
    """
    tiles = ((2, 2), (4, 1), (1, 4), (2, 1), (1, 2))
    fitting = [tile for tile in tiles if a % tile[0] == 0 and b % tile[1] == 0]
    if not fitting:
        raise ValueError(
            f"l2lflows squeezes layers by 2 or 4, which divides neither axis of {a} x {b}: "
            "choose a read-out with an even number of bins along one axis"
        )
    squeeze = fitting[0]
    size = [a // squeeze[0], b // squeeze[1]]
    steps = []
    for _ in range(2):
        step = (_smallest_factor(size[0]), _smallest_factor(size[1]))
        size = [size[0] // step[0], size[1] // step[1]]
        steps.append(step)
    return squeeze, tuple(steps)


def _smallest_factor(number: int) -> int:
    return next((factor for factor in range(2, number + 1) if number % factor == 0), 1)
