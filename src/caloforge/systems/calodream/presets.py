"""The presets of CaloDREAM: the published ones, small ones for any regular geometry."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

from caloforge.cascade.recipe import Recipe
from caloforge.cascade.sizes import check_preset
from caloforge.geometry import Geometry
from caloforge.stages.config import BespokeFit, EnergyNetwork, ShapeNetwork
from caloforge.stages.spectrum import SpectrumFit
from caloforge.systems.calodream.config import Autoencoder, CaloDREAMConfig, Distillation, Triple

__all__ = ["FIXED_GEOMETRIES", "SIZES", "preset"]

FIXED_GEOMETRIES = {
    "paper-calochallenge-2": "calochallenge-2",
    "paper-calochallenge-3": "calochallenge-3",
    "leaderboard-calochallenge-2": "calochallenge-2",
    "latent-calochallenge-2": "calochallenge-2",
    "latent-calochallenge-3": "calochallenge-3",
    "latent-fine-calochallenge-3": "calochallenge-3",
}
SIZES = ("small", "latent-small", "tiny", "latent-tiny", *FIXED_GEOMETRIES)

FEWER = 6  # times fewer pixels than voxels has the latent space of the small presets


def preset(size: str, geometry: Geometry) -> CaloDREAMConfig:
    """The configuration of a preset for any regular geometry.

    Raises:
        ValueError: for an unknown preset, or a geometry that it cannot take.
    """
    check_preset("calodream", size, geometry, sizes=SIZES, fixed_geometries=FIXED_GEOMETRIES)
    if size in FIXED_GEOMETRIES:
        return _paper(size)
    return _small(geometry, latent=size.startswith("latent"), tiny=size.endswith("tiny"))


def _paper(size: str) -> CaloDREAMConfig:
    """The published configurations, field by field."""
    second = size.endswith("2")
    # tables 1 and 4; the feed-forward networks of table 1 are the class's own
    energies = EnergyNetwork(
        Recipe(epochs=500, batch_size=4096, learning_rate=1e-3, schedule="cosine")
    )
    if size.startswith("leaderboard"):  # 2.843e7 parameters, see the CaloChallenge's table
        energies = replace(energies, feed_forward=512, hidden=512, layer_norm=True)
    solvers = (BespokeFit(8, "local"), BespokeFit(8, "global"))
    if not size.startswith("latent"):
        recipe = Recipe(
            epochs=800 if second else 600,  # table 2
            batch_size=64,
            learning_rate=1e-3,
            schedule="cosine",
        )
        if second:  # table 2; its sizes are the class's own
            shape = ShapeNetwork(recipe, patch=(3, 16, 1))
        else:
            shape = ShapeNetwork(recipe, patch=(3, 5, 2), dim=240, hidden=720)
        return CaloDREAMConfig(energies, shape, solvers=solvers)
    # table 4; it is silent about the size of a batch
    recipe = Recipe(epochs=200, batch_size=128, learning_rate=1e-3, schedule="one-cycle")
    if second:
        autoencoder = Autoencoder(recipe, kernel=(3, 2, 1), stride=(3, 2, 1), padding=(0, 1, 0))
    else:
        # Five layers make one in the bottleneck that the paper states; with the stride of table 4
        # two do, which is the reduction in its text.
        along_z = 2 if size.startswith("latent-fine") else 5
        autoencoder = Autoencoder(
            recipe, kernel=(5, 2, 3), stride=(along_z, 2, 1), padding=(0, 1, 0)
        )
    shape = ShapeNetwork(
        Recipe(
            epochs=800 if second else 400,  # table 2
            batch_size=128,
            learning_rate=1e-3,
            schedule="cosine",
        ),
        patch=(3, 1, 1) if second else (3, 2, 2),
        dim=240,
        hidden=960,
        blocks=10,
    )
    return CaloDREAMConfig(energies, shape, autoencoder, solvers=solvers)


def _small(geometry: Geometry, *, latent: bool, tiny: bool) -> CaloDREAMConfig:
    """Sizes and training for thousands of showers and two processors; not of the paper."""
    size = _TINY if tiny else _SMALL
    assert isinstance(size.energies, EnergyNetwork)
    energies = replace(size.energies, dim=_token_size(geometry.n_layers))
    cyclic = geometry.cyclic_axis is not None
    if not latent:
        most = (4 if tiny else 1) * size.shape.dim // 2
        patch = _patch(geometry.shape, most, cyclic=cyclic, whole=cyclic)
        shape = replace(size.shape, patch=patch)
        return CaloDREAMConfig(
            energies,
            shape,
            solvers=size.solvers,
            distillation=size.distillation,
            spectrum=size.spectrum,
        )
    step = _patch(geometry.shape, FEWER, cyclic=cyclic)
    assert size.autoencoder is not None
    autoencoder = replace(size.autoencoder, kernel=step, stride=step)
    latent_grid = tuple(n // p for n, p in zip(geometry.shape, step, strict=True))
    patch = _patch(latent_grid, 32 if tiny else 8, cyclic=cyclic)
    shape = replace(size.shape, patch=patch)
    return CaloDREAMConfig(energies, shape, autoencoder)


_TINY = CaloDREAMConfig(
    energies=EnergyNetwork(
        Recipe(epochs=12, batch_size=64, learning_rate=3e-3, gradient_clip=1.0, ema=0.99),
        layers=1,
        feed_forward=64,
        hidden=48,
        hidden_layers=3,
        snap=True,
        solver="midpoint-4",
    ),
    shape=ShapeNetwork(
        Recipe(epochs=6, batch_size=32, learning_rate=2e-3, gradient_clip=1.0, ema=0.99),
        patch=(1, 1, 1),  # by geometry
        dim=48,
        heads=2,
        hidden=144,
        blocks=2,
        pixels="hits",
        solver="midpoint-4",
        rescale="hits",
        rotation=True,
        reflection=True,
    ),
    autoencoder=Autoencoder(
        Recipe(epochs=1, batch_size=16, learning_rate=4e-3, gradient_clip=100.0),
        kernel=(1, 1, 1),  # by geometry
        stride=(1, 1, 1),
        padding=(0, 0, 0),
        channels=(4, 8),
        hit_showers=50,
        rotation=True,
        reflection=True,
    ),
)

_SMALL = CaloDREAMConfig(
    energies=EnergyNetwork(
        Recipe(epochs=60, batch_size=64, learning_rate=2e-3, gradient_clip=1.0, ema=0.999),
        layers=2,
        feed_forward=128,
        hidden=128,
        hidden_layers=5,
        snap=True,
        solver="midpoint-4",
    ),
    shape=ShapeNetwork(
        Recipe(epochs=14, batch_size=16, learning_rate=8e-4, gradient_clip=1.0, ema=0.999),
        patch=(1, 1, 1),  # by geometry
        dim=144,
        heads=3,
        hidden=432,
        blocks=4,
        pixels="hits",
        solver="midpoint-16",
        rescale="hits",
        rotation=True,
        reflection=True,
    ),
    autoencoder=Autoencoder(
        Recipe(epochs=6, batch_size=16, learning_rate=2e-3, gradient_clip=100.0),
        kernel=(1, 1, 1),  # by geometry
        stride=(1, 1, 1),
        padding=(0, 0, 0),
        channels=(8, 32),
        hit_showers=500,
        rotation=True,
        reflection=True,
    ),
    solvers=(BespokeFit(8, showers=120, batch_size=30, reference_steps=50),),
    distillation=Distillation(
        Recipe(epochs=1, batch_size=8, learning_rate=4e-4, gradient_clip=1.0, ema=0.995),
        steps=4,
        solver="midpoint-4",
        ending="drawn",
    ),
    spectrum=SpectrumFit(showers=1000, rescale=True),
)


def _token_size(n_layers: int) -> int:
    """Features of a token that holds the number of the layer, a multiple of 16."""
    return 16 * -(-(n_layers + 1) // 16)


def _patch(shape: tuple[int, ...], most: int, *, cyclic: bool, whole: bool = False) -> Triple:
    """The largest patch of so many voxels at most, which divides them along each axis.

    Noise has to pass through the features of a token, so that these should be as many as the
    entries of a patch. Of several the one of most equal sides, first across the layers where these
    are made of cells, and of most layers, as published for dataset 2.

    Args:
        shape: of the voxels.
        most: voxels of the patch.
        cyclic: whether the second axis wraps around.
        whole: take all of that axis, if that is not too much.
    """
    sides = [[p for p in range(1, size + 1) if size % p == 0] for size in shape]
    if whole and shape[1] <= most:
        sides[1] = [shape[1]]
    patches = [patch for patch in product(*sides) if math.prod(patch) <= most]
    largest = max(math.prod(patch) for patch in patches)

    def oblong(patch: tuple[int, ...]) -> tuple[int, int, int]:
        z, a, b = patch
        return max(patch), 0 if cyclic else abs(a - b), -z

    z, a, b = min((p for p in patches if math.prod(p) == largest), key=oblong)
    return z, a, b
