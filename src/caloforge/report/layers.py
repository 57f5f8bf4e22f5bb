"""Panels of single layers of a shower, and of its development from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caloforge.evaluation.observables import Floats, alpha_layers
from caloforge.evaluation.sample import Sample
from caloforge.geometry import Geometry
from caloforge.report.histograms import count_edges, distribution, per_bin, range_of
from caloforge.report.panel import PER_BIN, Panel, Samples, distribution_panel, reference_of

__all__ = [
    "LAYER_FEATURES",
    "LayerFeature",
    "by_layer",
    "centre_panels",
    "counts_hits",
    "energy_panels",
    "features_shown",
    "hit_panels",
    "layer_panel",
    "layers_of",
    "layers_shown",
    "sparsity_panels",
    "width_panels",
]


@dataclass(frozen=True)
class LayerFeature:
    """A number that each shower has in each layer.

    Args:
        slug: name of its files.
        title: what it is.
        symbol: the same on an axis.
        unit: "MeV", "mm" or none.
    """

    slug: str
    title: str
    symbol: str
    unit: str = ""


MANY_VOXELS = 100_000  # from here on nearly all are empty: hits are counted, not empty voxels

LAYER_FEATURES = {
    "E_layer": LayerFeature("layer_energy", "Energy", "$E$", "MeV"),
    "hits": LayerFeature("hits", "Hits", "hits"),
    "sparsity": LayerFeature("sparsity", "Sparsity", "sparsity"),
    "EC_eta": LayerFeature("centre_x", "Centre in x", r"$\langle x \rangle$", "mm"),
    "EC_phi": LayerFeature("centre_y", "Centre in y", r"$\langle y \rangle$", "mm"),
    "EC_r": LayerFeature("centre_r", "Distance from the axis", r"$\langle r \rangle$", "mm"),
    "width_eta": LayerFeature("width_x", "Width in x", r"$\sigma_x$", "mm"),
    "width_phi": LayerFeature("width_y", "Width in y", r"$\sigma_y$", "mm"),
    "width_r": LayerFeature("width_r", "Width in r", r"$\sigma_r$", "mm"),
}


def counts_hits(geometry: Geometry) -> bool:
    """Whether the voxels with energy are counted, rather than those without."""
    return geometry.n_voxels > MANY_VOXELS


def features_shown(geometry: Geometry) -> dict[str, LayerFeature]:
    """The features that are meaningful for layers with so many voxels."""
    left_out = "sparsity" if counts_hits(geometry) else "hits"
    return {name: feature for name, feature in LAYER_FEATURES.items() if name != left_out}


def _of_layers(sample: Sample, feature: str) -> Floats:
    """A feature in the layers that have it, shape (n, layers)."""
    if feature != "hits":
        return sample.features[feature]
    sizes = np.diff(sample.geometry.offsets)
    return np.round((1 - sample.features["sparsity"]) * sizes)


def layers_of(geometry: Geometry, feature: str) -> list[int]:
    """Numbers of the layers that have a feature, in the order of its columns."""
    if feature.endswith(("_eta", "_phi")):
        return [int(layer) for layer in alpha_layers(geometry)]
    return list(range(geometry.n_layers))


def layer_panel(samples: Samples, feature: str, layer: int) -> Panel:
    """Distribution of a feature in one layer, of the showers that have energy there.

    Fractions are those of all showers, so that their sum is the fraction that has energy there.
    Sparsity counts the other showers too.
    """
    kind = LAYER_FEATURES[feature]
    values = {name: _in_layer(sample, feature, layer) for name, sample in samples.items()}
    known = next(iter(values.values()))
    n_voxels = math.prod(reference_of(samples).geometry.layers[layer].shape)
    edges = _sparsity_edges(known, n_voxels) if feature == "sparsity" else _edges(feature, known)
    label = f"{kind.symbol} in layer {layer}" + (f" [{kind.unit}]" if kind.unit else "")
    return Panel(
        f"{kind.slug}_{layer:02d}",
        f"{kind.title} of layer {layer}",
        PER_BIN,
        {name: distribution(found, edges, label) for name, found in values.items()},
        log_x=feature == "E_layer",
    )


def _in_layer(sample: Sample, feature: str, layer: int) -> Floats:
    """A feature in one layer, NaN for showers without energy there."""
    column = layers_of(sample.geometry, feature).index(layer)
    values = _of_layers(sample, feature)[:, column]
    if feature == "sparsity":
        return values
    return np.where(sample.features["E_layer"][:, layer] > 0, values, np.nan)


def _edges(feature: str, values: Floats) -> Floats:
    """Borders of 30 bins around a feature of the reference, logarithmic for energies [MeV]."""
    seen = values[np.isfinite(values)]
    if feature == "E_layer" and len(seen):
        return np.geomspace(np.quantile(seen, 0.002) / 1.5, seen.max() * 1.2, 31)
    if feature == "E_layer":
        return np.geomspace(1e-3, 1.0, 31)
    if feature == "hits":
        return count_edges(seen)
    return range_of(seen, bins=30)


def _sparsity_edges(values: Floats, n_voxels: int) -> Floats:
    """Borders of up to 30 bins, each around as many of the sparsities k / n_voxels that exist."""
    lowest = int(np.floor(np.quantile(values, 0.001) * n_voxels))
    step = -(-(n_voxels - lowest + 1) // 30)
    n_bins = -(-(n_voxels - lowest + 1) // step)
    return (n_voxels + 0.5 - step * np.arange(n_bins, -1.0, -1)) / n_voxels


def by_layer(
    samples: Samples, feature: str, name: str, title: str, y_label: str, *, spread: bool = False
) -> Panel:
    """Mean of a feature in all layers that have it, or its standard deviation, a bin a layer."""
    layers = layers_of(reference_of(samples).geometry, feature)
    in_a_row = layers == list(range(layers[0], layers[0] + len(layers)))
    first = layers[0] if in_a_row else 0
    positions = np.linspace(first - 0.5, first + len(layers) - 0.5, len(layers) + 1)
    return Panel(
        name,
        title,
        y_label,
        {
            key: per_bin(_of_layers(sample, feature), positions, "layer", spread=spread)
            for key, sample in samples.items()
        },
    )


def layers_shown(sample: Sample, n: int) -> list[int]:
    """So many layers from the front to where 99 % of the energy lie in front."""
    mean = sample.features["E_layer"].mean(axis=0)
    last = int(np.searchsorted(np.cumsum(mean) / mean.sum(), 0.99))
    first = int(np.argmax(mean > 0))
    return sorted({round(i) for i in np.linspace(first, max(last, first), n)})


def _busiest_layer(sample: Sample) -> int:
    """Of the layers that resolve x and y the one with most energy."""
    layers = alpha_layers(sample.geometry)
    return int(layers[sample.features["E_layer"].mean(axis=0)[layers].argmax()])


def energy_panels(samples: Samples) -> Iterator[Panel]:
    """Energies of some layers."""
    for layer in layers_shown(reference_of(samples), 6):
        yield layer_panel(samples, "E_layer", layer)


def sparsity_panels(samples: Samples) -> Iterator[Panel]:
    """Mean sparsity of all layers, its distribution in some, and the fraction of empty layers."""
    yield by_layer(
        samples,
        "sparsity",
        "sparsity_by_layer",
        "Sparsity of layers",
        "mean sparsity",
    )
    yield _empty_layers(samples)
    for layer in layers_shown(reference_of(samples), 4):
        yield layer_panel(samples, "sparsity", layer)


def hit_panels(samples: Samples) -> Iterator[Panel]:
    """Mean number of hits in all layers, its distribution in some; the fraction of empty ones."""
    yield by_layer(samples, "hits", "hits_by_layer", "Hits of layers", "mean number of hits")
    yield _empty_layers(samples)
    for layer in layers_shown(reference_of(samples), 4):
        yield layer_panel(samples, "hits", layer)


def _empty_layers(samples: Samples) -> Panel:
    n_layers = reference_of(samples).geometry.n_layers
    positions = np.linspace(-0.5, n_layers - 0.5, n_layers + 1)
    return Panel(
        "empty_by_layer",
        "Empty layers",
        "fraction of showers",
        {
            key: per_bin((sample.features["E_layer"] == 0).astype(float), positions, "layer")
            for key, sample in samples.items()
        },
    )


def centre_panels(samples: Samples) -> Iterator[Panel]:
    """Centres in the busiest layer, in depth, and how they change from layer to layer."""
    layer = _busiest_layer(reference_of(samples))
    for feature in ("EC_eta", "EC_phi", "EC_r"):
        yield layer_panel(samples, feature, layer)
    yield distribution_panel(
        samples,
        lambda sample: sample.moments["z_mean"],
        "centre_depth",
        "Depth of the shower's centre",
        r"$\langle$layer$\rangle$",
    )
    for direction, feature in (("x", "EC_eta"), ("y", "EC_phi")):
        yield by_layer(
            samples,
            feature,
            f"centre_{direction}_by_layer",
            f"Fluctuation of the centre in {direction}",
            rf"std of $\langle {direction} \rangle$ over showers [mm]",
            spread=True,
        )
    yield by_layer(
        samples,
        "EC_r",
        "centre_r_by_layer",
        "Mean distance from the axis",
        r"mean of $\langle r \rangle$ [mm]",
    )


def width_panels(samples: Samples) -> Iterator[Panel]:
    """Widths in the busiest layer, the length, and the mean widths from layer to layer."""
    layer = _busiest_layer(reference_of(samples))
    for feature in ("width_eta", "width_phi", "width_r"):
        yield layer_panel(samples, feature, layer)
    yield distribution_panel(
        samples,
        lambda sample: sample.moments["z_std"],
        "width_depth",
        "Length of the shower",
        r"$\sigma_z$ [layers]",
    )
    for direction, feature in (("x", "width_eta"), ("y", "width_phi"), ("r", "width_r")):
        yield by_layer(
            samples,
            feature,
            f"width_{direction}_by_layer",
            f"Mean width in {direction}",
            rf"mean of $\sigma_{direction}$ [mm]",
        )
