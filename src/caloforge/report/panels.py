"""What the page shows: one panel an observable, with all samples in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from caloforge.evaluation.observables import Floats, alpha_layers
from caloforge.evaluation.sample import Sample
from caloforge.geometry import Geometry, PolarLayer
from caloforge.report.histograms import (
    Histograms,
    by_energy,
    distribution,
    of_bins,
    of_spectrum,
    per_bin,
    range_of,
)
from caloforge.units import GeV

__all__ = ["Panel", "Section", "sections"]

Samples = Mapping[str, Sample]  # Geant4 first, then the candidates
N_LAYERS_SHOWN = 6


@dataclass(frozen=True, eq=False)
class Panel:
    """One observable of all samples, with a ratio to Geant4 below.

    Args:
        name: name of its file.
        title: what it shows.
        y_label: label of the upper y axis.
        histograms: Geant4 first, then the candidates.
        log_x: logarithmic x axis.
        log_y: logarithmic y axis.
    """

    name: str
    title: str
    y_label: str
    histograms: Histograms
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, eq=False)
class Section:
    """Panels that belong together, with a few words on how to read them."""

    title: str
    text: str
    panels: tuple[Panel, ...]


def sections(samples: Samples) -> Iterator[Section]:
    """The sections of the page, in order.

    Args:
        samples: observables by name, Geant4 first.
    """
    yield Section(
        "Response",
        "Deposited over incident energy: all showers together, then its mean and relative width "
        "in bins of the incident energy.",
        tuple(_response(samples)),
    )
    yield Section(
        "Profiles",
        "Mean energy of a shower along and across its axis.",
        tuple(_profiles(samples)),
    )
    yield Section(
        "Layer energies",
        "Energy of single layers, in showers where the layer saw any; the legend gives the "
        "fraction of showers in which it saw none.",
        tuple(_layer_energies(samples)),
    )
    yield Section(
        "Voxels and occupancy",
        "Energies of single voxels, the fraction of all voxels with energy, and the same layer by "
        "layer. The band of the spectrum is the fluctuation between showers.",
        tuple(_voxels(samples)),
    )
    yield Section(
        "Centre",
        "Energy-weighted centre in the layer that takes most energy, its fluctuation from shower "
        "to shower in every layer, and the depth of the whole shower's centre.",
        tuple(_centres(samples)),
    )
    yield Section(
        "Width",
        "Energy-weighted standard deviation in the layer that takes most energy, its mean in every "
        "layer, and the length of the whole shower.",
        tuple(_widths(samples)),
    )


def _reference(samples: Samples) -> Sample:
    return next(iter(samples.values()))


def _distribution(
    samples: Samples,
    observable: Callable[[Sample], Floats],
    name: str,
    title: str,
    label: str,
    *,
    log_y: bool = False,
) -> Panel:
    edges = range_of(observable(_reference(samples)))
    unit = label.partition("[")[2].rstrip("]")
    return Panel(
        name,
        title,
        f"1/N dN/dx [1/{unit}]" if unit else "1/N dN/dx",
        {key: distribution(observable(s), edges, label) for key, s in samples.items()},
        log_y=log_y,
    )


def _by_layer(
    samples: Samples,
    feature: str,
    name: str,
    title: str,
    y_label: str,
    *,
    spread: bool = False,
) -> Panel:
    """A feature of all layers that have it, with a bin a layer."""
    geometry = _reference(samples).geometry
    layers = np.arange(geometry.n_layers)
    if feature.endswith(("_eta", "_phi")):
        layers = alpha_layers(geometry)
    in_a_row = bool((np.diff(layers) == 1).all())
    first = float(layers[0]) if in_a_row else 0.0
    positions = np.linspace(first - 0.5, first + len(layers) - 0.5, len(layers) + 1)
    return Panel(
        name,
        title,
        y_label,
        {
            key: per_bin(sample.features[feature], positions, "layer", spread=spread)
            for key, sample in samples.items()
        },
    )


def _response(samples: Samples) -> Iterator[Panel]:
    def response(sample: Sample) -> Floats:
        return sample.features["E_tot"] / sample.energy_inc

    yield _distribution(
        samples,
        response,
        "response",
        "Deposited over incident energy",
        r"$E_\mathrm{dep}\,/\,E_\mathrm{inc}$",
    )
    incident = _reference(samples).energy_inc
    low, high = float(incident.min()), float(incident.max())
    if high < 1.5 * low:
        return
    edges = np.geomspace(low, high * (1 + 1e-6), 9)
    label = r"$E_\mathrm{inc}$ [GeV]"
    for resolution, name, title, y_label in (
        (False, "linearity", "Mean response", r"$\langle E_\mathrm{dep} / E_\mathrm{inc} \rangle$"),
        (
            True,
            "resolution",
            "Energy resolution",
            r"$\sigma\,/\,$mean of $E_\mathrm{dep} / E_\mathrm{inc}$",
        ),
    ):
        histograms = {
            key: of_bins(edges / GeV, label, *by_energy(sample, edges, resolution=resolution))
            for key, sample in samples.items()
        }
        yield Panel(name, title, y_label, histograms, log_x=True)


def _profiles(samples: Samples) -> Iterator[Panel]:
    geometry = _reference(samples).geometry
    yield _by_layer(
        samples,
        "E_layer",
        "profile_longitudinal",
        "Longitudinal profile",
        r"$\langle E_\mathrm{layer} \rangle$ [MeV]",
    )
    for direction, title in (
        ("r", "Radial profile"),
        ("x", "Profile in x"),
        ("y", "Profile in y"),
    ):
        if direction not in _reference(samples).profiles:
            continue
        edges = _profile_edges(geometry, direction)
        histograms = {}
        for key, sample in samples.items():
            profile = sample.profiles[direction]
            bins = np.digitize(profile.position, edges) - 1
            energy = np.zeros((len(sample), len(edges) - 1))
            for i in range(len(edges) - 1):
                energy[:, i] = profile.energy[:, bins == i].sum(axis=1)
            density = energy / np.diff(edges)
            histograms[key] = per_bin(density, edges, f"{direction} [mm]")
        y_label = rf"$\langle dE/d{direction} \rangle$ [MeV/mm]"
        yield Panel(f"profile_{direction}", title, y_label, histograms, log_y=True)


def _profile_edges(geometry: Geometry, direction: str) -> Floats:
    """Borders of the bins that profiles are drawn in [mm]: the layers' own where all are equal."""
    first = geometry.layers[0]
    if geometry.is_regular and isinstance(first, PolarLayer):
        return np.asarray(first.r_edges)
    if geometry.is_regular and not isinstance(first, PolarLayer) and direction != "r":
        return np.asarray(first.x_edges if direction == "x" else first.y_edges)
    place: Floats = getattr(geometry, f"voxel_{direction}")
    outermost = float(np.abs(place).max()) * 1.001
    widest = (
        outermost / 30 if isinstance(first, PolarLayer) else first.x_edges[1] - first.x_edges[0]
    )
    n_bins = int(np.clip(np.ceil(outermost / widest), 10, 60))
    return np.linspace(0 if direction == "r" else -outermost, outermost, n_bins + 1)


def _layers_shown(sample: Sample) -> list[int]:
    """Layers from the front to where 99 % of the energy lie in front."""
    mean = sample.features["E_layer"].mean(axis=0)
    last = int(np.searchsorted(np.cumsum(mean) / mean.sum(), 0.99))
    first = int(np.argmax(mean > 0))
    return sorted({round(i) for i in np.linspace(first, max(last, first), N_LAYERS_SHOWN)})


def _layer_energies(samples: Samples) -> Iterator[Panel]:
    reference = _reference(samples)
    for layer in _layers_shown(reference):
        seen = reference.features["E_layer"][:, layer]
        lowest = max(float(np.quantile(seen[seen > 0], 0.002)) / 1.5, 1e-6)
        edges = np.geomspace(lowest, float(seen.max()) * 1.2, 31)
        label = rf"$E_{{{layer}}}$ [MeV]"
        histograms = {}
        for key, sample in samples.items():
            energy = sample.features["E_layer"][:, layer]
            empty = f" ({(energy == 0).mean():.1%} empty)" if (seen == 0).any() else ""
            histograms[key + empty] = distribution(energy, edges, label, log=True)
        yield Panel(
            f"layer_energy_{layer:02d}",
            f"Energy of layer {layer}",
            r"1/N dN/d$\,\log_{10} E$",
            histograms,
            log_x=True,
        )


def _voxels(samples: Samples) -> Iterator[Panel]:
    edges = _reference(samples).spectrum.coarse_edges
    yield Panel(
        "voxel_spectrum",
        "Voxel energy spectrum",
        "voxels of a shower in each bin",
        {
            key: of_spectrum(sample.spectrum, edges, r"$E_\mathrm{voxel}$ [MeV]")
            for key, sample in samples.items()
        },
        log_x=True,
        log_y=True,
    )
    yield _distribution(
        samples,
        lambda sample: sample.moments["occupancy"],
        "occupancy",
        "Fraction of voxels with energy",
        "occupancy",
    )
    n_layers = _reference(samples).geometry.n_layers
    layers = np.linspace(-0.5, n_layers - 0.5, n_layers + 1)
    yield Panel(
        "occupancy_by_layer",
        "Occupancy of layers",
        "mean fraction of voxels with energy",
        {
            key: per_bin(1 - sample.features["sparsity"], layers, "layer")
            for key, sample in samples.items()
        },
    )


def _busiest_layer(sample: Sample) -> tuple[int, int]:
    """Of the layers that resolve x and y the one with most energy: its number, its column."""
    layers = alpha_layers(sample.geometry)
    column = int(sample.features["E_layer"].mean(axis=0)[layers].argmax())
    return int(layers[column]), column


def _column(sample: Sample, *, feature: str, column: int) -> Floats:
    return sample.features[feature][:, column]


def _centres(samples: Samples) -> Iterator[Panel]:
    layer, column = _busiest_layer(_reference(samples))
    for direction, feature in (("x", "EC_eta"), ("y", "EC_phi")):
        yield _distribution(
            samples,
            partial(_column, feature=feature, column=column),
            f"centre_{direction}",
            f"Centre in {direction} of layer {layer}",
            rf"$\langle {direction} \rangle$ in layer {layer} [mm]",
        )
    yield _distribution(
        samples,
        lambda sample: sample.moments["z_mean"],
        "centre_depth",
        "Depth of the shower's centre",
        r"$\langle$layer$\rangle$",
    )
    for direction, feature in (("x", "EC_eta"), ("y", "EC_phi")):
        yield _by_layer(
            samples,
            feature,
            f"centre_{direction}_by_layer",
            f"Fluctuation of the centre in {direction}",
            rf"std of $\langle {direction} \rangle$ over showers [mm]",
            spread=True,
        )
    yield _by_layer(
        samples,
        "EC_r",
        "centre_r_by_layer",
        "Mean distance from the axis",
        r"mean of $\langle r \rangle$ [mm]",
    )


def _widths(samples: Samples) -> Iterator[Panel]:
    layer, column = _busiest_layer(_reference(samples))
    for direction, feature in (("x", "width_eta"), ("y", "width_phi")):
        yield _distribution(
            samples,
            partial(_column, feature=feature, column=column),
            f"width_{direction}",
            f"Width in {direction} of layer {layer}",
            rf"$\sigma_{direction}$ in layer {layer} [mm]",
        )
    yield _distribution(
        samples,
        lambda sample: sample.moments["z_std"],
        "width_depth",
        "Length of the shower",
        r"$\sigma_z$ [layers]",
    )
    for direction, feature in (("x", "width_eta"), ("y", "width_phi"), ("r", "width_r")):
        yield _by_layer(
            samples,
            feature,
            f"width_{direction}_by_layer",
            f"Mean width in {direction}",
            rf"mean of $\sigma_{direction}$ [mm]",
        )
