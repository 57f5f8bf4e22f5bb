"""Panels of CaloClouds' figures: showers of fixed energy, centres of gravity, point clouds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from caloforge.evaluation.observables import POINT_RINGS, Floats, fixed_energy, is_ild
from caloforge.evaluation.sample import Sample
from caloforge.report.histograms import of_spectrum, per_bin
from caloforge.report.panel import Panel, Samples, distribution_panel, number_panel, reference_of
from caloforge.units import GeV

__all__ = ["centre_of_gravity_panels", "fixed_energy_panels", "point_panels"]

FEWEST = 20  # showers of the reference around an energy, without which it has no panel
AXES = {"x": "x", "y": "y", "z": "depth"}


def fixed_energy_panels(samples: Samples) -> Iterator[Panel]:
    """Visible energy and number of hits at 10, 50 and 90 GeV, in the layers of the ILD.

    Source: CaloClouds (arXiv:2305.04847), figure 7.
    """
    reference = reference_of(samples)
    if not is_ild(reference.geometry):
        return
    labels = {
        "visible": ("Visible energy", r"$E_\mathrm{vis}$ [MeV]"),
        "hits": ("Number of hits", "hits"),
    }
    for name, energy in fixed_energy(reference.caloclouds, reference.energy_inc):
        title, label = labels[name]
        if (n := len(_fixed((name, energy), reference))) >= FEWEST:
            yield distribution_panel(
                samples,
                partial(_fixed, (name, energy)),
                f"{name}_{energy / GeV:g}",
                f"{title} at {energy / GeV:g} GeV",
                label,
                bins=int(np.clip(1.5 * np.sqrt(n), 10, 40)),
            )


def _fixed(key: tuple[str, float], sample: Sample) -> Floats:
    """A number of the showers around an incident energy."""
    values = fixed_energy(sample.caloclouds, sample.energy_inc)[key]
    return values[np.isfinite(values)]


def centre_of_gravity_panels(samples: Samples) -> Iterator[Panel]:
    """Centres of gravity of whole showers [mm], in the layers of the ILD.

    Source: CaloClouds (arXiv:2305.04847), figure 6.
    """
    if not is_ild(reference_of(samples).geometry):
        return
    for axis, name in AXES.items():
        yield distribution_panel(
            samples,
            partial(_cog, axis=axis),
            f"cog_{axis}",
            f"Centre of gravity in {name}",
            f"centre of gravity in {name} [mm]",
        )


def _cog(sample: Sample, axis: str) -> Floats:
    return sample.caloclouds[f"cog_{axis}"]


def point_panels(samples: Samples) -> Iterator[Panel]:
    """The observables of point clouds; nothing where a sample is given in voxels."""
    if any(sample.clouds is None for sample in samples.values()):
        return
    yield number_panel(
        samples, partial(_point, "n_points"), "n_points", "Number of points", "points"
    )
    yield distribution_panel(
        samples,
        lambda sample: _point("visible_energy", sample) / sample.energy_inc,
        "points_response",
        "Visible over incident energy of the points",
        r"$E_\mathrm{vis}\,/\,E_\mathrm{inc}$",
    )
    yield Panel(
        "point_spectrum",
        "Point energies",
        "points of a shower in each bin",
        {
            name: of_spectrum(sample.clouds.spectrum, r"$E_\mathrm{point}$ [MeV]")
            for name, sample in samples.items()
            if sample.clouds is not None
        },
        log_x=True,
        log_y=True,
    )
    yield _by_layer(samples, "layer_counts", "Points of layers", "mean number of points")
    yield _by_layer(
        samples, "layer_energies", "Longitudinal profile of the points", "mean energy [MeV]"
    )
    yield _radial(samples)
    for axis, name in AXES.items():
        yield distribution_panel(
            samples,
            partial(_point, f"cog_{axis}"),
            f"points_cog_{axis}",
            f"Centre of gravity of the points in {name}",
            f"centre of gravity in {name} [mm]",
        )
    yield distribution_panel(
        samples,
        partial(_point, "lost"),
        "points_lost",
        "Lost in the projection",
        "fraction of the energy that no cell holds",
    )


def _point(name: str, sample: Sample) -> Floats:
    assert sample.clouds is not None
    return np.asarray(sample.clouds.features[name], np.float64)


def _by_layer(samples: Samples, feature: str, title: str, y_label: str) -> Panel:
    n_layers = reference_of(samples).geometry.n_layers
    edges = np.linspace(-0.5, n_layers - 0.5, n_layers + 1)
    return Panel(
        f"points_{feature}",
        title,
        y_label,
        {name: per_bin(_point(feature, s), edges, "layer") for name, s in samples.items()},
    )


def _rings(sample: Sample) -> Floats:
    """Energy per length [MeV/mm] in the rings that end."""
    return np.asarray(_point("ring_energies", sample)[:, :-1] / np.diff(POINT_RINGS[:-1]))


def _radial(samples: Samples) -> Panel:
    edges = POINT_RINGS[:-1]  # the last ring has no end
    return Panel(
        "points_radial",
        "Radial profile of the points",
        r"$\langle dE/dr \rangle$ [MeV/mm]",
        {name: per_bin(_rings(s), edges, "r [mm]") for name, s in samples.items()},
        log_y=True,
    )
