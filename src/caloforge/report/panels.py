"""The panels of the page: one an observable, with all samples in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caloforge.evaluation.observables import Floats
from caloforge.evaluation.sample import Profile, Sample
from caloforge.geometry import Geometry, PolarLayer
from caloforge.report.clouds import centre_of_gravity_panels, fixed_energy_panels, point_panels
from caloforge.report.histograms import by_energy, of_bins, of_spectrum, per_bin
from caloforge.report.layers import (
    by_layer,
    centre_panels,
    counts_hits,
    energy_panels,
    hit_panels,
    sparsity_panels,
    width_panels,
)
from caloforge.report.panel import Panel, Samples, distribution_panel, number_panel, reference_of
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
    if panels := tuple(fixed_energy_panels(samples)):
        yield Section(
            "At fixed energies",
            "Visible energy and number of hits of showers within 5 GeV of an incident energy, "
            "scaled to exactly that: energies in proportion, hits as its power of 2/3.",
            panels,
        )
    yield Section(
        "Profiles",
        "Mean energy of a shower along and across its axis.",
        tuple(_profiles(samples)),
    )
    yield Section(
        "Layer energies",
        "Energy of single layers, of the showers with energy there.",
        tuple(energy_panels(samples)),
    )
    yield Section(
        "Voxels",
        "Energies of single voxels, and how many voxels have energy. The band of the spectrum is "
        "the fluctuation between showers; where it is grey, voxels are below the read-out "
        "threshold, and no other observable counts them.",
        tuple(_voxels(samples)),
    )
    if counts_hits(reference_of(samples).geometry):
        yield Section(
            "Hits",
            "Number of voxels with energy in each layer, and how often a whole layer has none.",
            tuple(hit_panels(samples)),
        )
    else:
        yield Section(
            "Sparsity",
            "Fraction of a layer's voxels that have no energy, and how often a whole layer has "
            "none.",
            tuple(sparsity_panels(samples)),
        )
    yield Section(
        "Centre",
        "Energy-weighted centre in the layer that takes most energy, its fluctuation from shower "
        "to shower in every layer, and the depth of the whole shower's centre.",
        (*centre_of_gravity_panels(samples), *centre_panels(samples)),
    )
    yield Section(
        "Width",
        "Energy-weighted standard deviation in the layer that takes most energy, its mean in every "
        "layer, and the length of the whole shower.",
        tuple(width_panels(samples)),
    )
    if panels := tuple(point_panels(samples)):
        yield Section(
            "Points",
            "The point clouds themselves, before their projection into cells; what is lost there "
            "fell into gaps between sensors, or outside all of them.",
            panels,
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
        edges = _profile_edges(geometry, direction, reference_of(samples).profiles[direction])
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


def _profile_edges(geometry: Geometry, direction: str, profile: Profile) -> Floats:
    """Borders of the bins that profiles are drawn in [mm]: the layers' own where all are equal.

    Else they end where the reference has no more energy.
    """
    first = geometry.layers[0]
    if geometry.is_regular and isinstance(first, PolarLayer):
        return np.asarray(first.r_edges)
    if geometry.is_regular and not isinstance(first, PolarLayer) and direction != "r":
        return np.asarray(first.x_edges if direction == "x" else first.y_edges)
    seen = profile.position[profile.n_hits > 0]
    outermost = float(np.abs(seen).max()) * 1.001
    widest = (
        outermost / 30 if isinstance(first, PolarLayer) else first.x_edges[1] - first.x_edges[0]
    )
    n_bins = int(np.clip(np.ceil(outermost / widest), 10, 60))
    return np.linspace(0 if direction == "r" else -outermost, outermost, n_bins + 1)


def _voxels(samples: Samples) -> Iterator[Panel]:
    reference = reference_of(samples)
    has_soft_voxels = bool(reference.spectrum.below.any())
    yield Panel(
        "voxel_spectrum",
        "Voxel energy spectrum",
        "voxels of a shower in each bin",
        {
            key: of_spectrum(
                sample.spectrum, r"$E_\mathrm{voxel}$ [MeV]", with_below=has_soft_voxels
            )
            for key, sample in samples.items()
        },
        log_x=True,
        log_y=True,
        cut=reference.threshold if has_soft_voxels else None,
    )
    if counts_hits(reference.geometry):
        yield number_panel(samples, _n_hits, "n_hits", "Number of hits", "hits")
        return
    yield distribution_panel(
        samples,
        lambda sample: sample.moments["occupancy"],
        "occupancy",
        "Fraction of voxels with energy",
        "occupancy",
    )


def _n_hits(sample: Sample) -> Floats:
    return np.round(sample.moments["occupancy"] * sample.geometry.n_voxels)
