"""The panels of the page: one an observable, with all samples in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Sample
from caloforge.geometry import Geometry, PolarLayer
from caloforge.report.histograms import by_energy, of_bins, of_spectrum, per_bin
from caloforge.report.layers import (
    by_layer,
    centre_panels,
    energy_panels,
    sparsity_panels,
    width_panels,
)
from caloforge.report.panel import Panel, Samples, distribution_panel, reference_of
from caloforge.units import GeV

__all__ = ["Section", "sections"]


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
        "Energy of single layers, in showers where the layer saw any.",
        tuple(energy_panels(samples)),
    )
    yield Section(
        "Voxels",
        "Energies of single voxels, and the fraction of all voxels with energy. The band of the "
        "spectrum is the fluctuation between showers.",
        tuple(_voxels(samples)),
    )
    yield Section(
        "Sparsity",
        "Fraction of a layer's voxels that have no energy, and how often a whole layer has none.",
        tuple(sparsity_panels(samples)),
    )
    yield Section(
        "Centre",
        "Energy-weighted centre in the layer that takes most energy, its fluctuation from shower "
        "to shower in every layer, and the depth of the whole shower's centre.",
        tuple(centre_panels(samples)),
    )
    yield Section(
        "Width",
        "Energy-weighted standard deviation in the layer that takes most energy, its mean in every "
        "layer, and the length of the whole shower.",
        tuple(width_panels(samples)),
    )


def _response(samples: Samples) -> Iterator[Panel]:
    def response(sample: Sample) -> Floats:
        return sample.features["E_tot"] / sample.energy_inc

    yield distribution_panel(
        samples,
        response,
        "response",
        "Deposited over incident energy",
        r"$E_\mathrm{dep}\,/\,E_\mathrm{inc}$",
    )
    incident = reference_of(samples).energy_inc
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
    geometry = reference_of(samples).geometry
    yield by_layer(
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
        if direction not in reference_of(samples).profiles:
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


def _voxels(samples: Samples) -> Iterator[Panel]:
    edges = reference_of(samples).spectrum.coarse_edges
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
    yield distribution_panel(
        samples,
        lambda sample: sample.moments["occupancy"],
        "occupancy",
        "Fraction of voxels with energy",
        "occupancy",
    )
