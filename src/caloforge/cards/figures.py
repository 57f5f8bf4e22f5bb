"""Which figure of an evaluation shows what a score compares."""

from __future__ import annotations

from pathlib import Path

__all__ = ["figure_of"]

_OTHERWISE = {"occupancy": "n_hits", "sparsity_by_layer": "hits_by_layer"}  # where hits are counted
_BY_AXIS = {
    "mean": "centre_{}_by_layer",
    "std": "width_{}_by_layer",
    "profile": "profile_{}",
}

_FIGURES: dict[tuple[str, str], str] = {
    ("worth", "response"): "response",
    ("worth", "depth"): "centre_depth",
    ("worth", "width"): "width_depth",
    ("worth", "radius"): "profile_r",
    ("worth", "hits"): "occupancy",
    ("worth", "points"): "n_points",
    ("wasserstein", "energy_ratio"): "response",
    ("wasserstein", "occupancy"): "occupancy",
    ("wasserstein", "spectrum"): "voxel_spectrum",
    ("wasserstein", "z_profile"): "profile_longitudinal",
    ("wasserstein", "z_mean"): "centre_depth",
    ("wasserstein", "z_std"): "width_depth",
    **{
        ("wasserstein", f"{axis}_{moment}"): figure.format(axis)
        for axis in "rxy"
        for moment, figure in _BY_AXIS.items()
        if axis != "r" or moment == "profile"
    },
    ("separation", "E_tot"): "response",
    ("separation", "E_layer"): "profile_longitudinal",
    ("separation", "voxel"): "voxel_spectrum",
    ("separation", "sparsity"): "sparsity_by_layer",
    **{
        ("separation", f"{moment}_{name}"): figure.format(axis)
        for name, axis in (("eta", "x"), ("phi", "y"), ("r", "r"))
        for moment, figure in (("EC", _BY_AXIS["mean"]), ("width", _BY_AXIS["std"]))
    },
    ("caloclouds", "sampling_fraction"): "response",
    ("caloclouds", "n_hits"): "n_hits",
    ("caloclouds", "spectrum"): "voxel_spectrum",
    ("caloclouds", "longitudinal"): "profile_longitudinal",
    ("caloclouds", "radial"): "profile_r",
    **{("caloclouds", f"cog_{axis}"): f"cog_{axis}" for axis in "xyz"},
    ("points", "visible_energy"): "points_response",
    ("points", "n_points"): "n_points",
    ("points", "spectrum"): "point_spectrum",
    ("points", "ring_energies"): "points_radial",
    **{("points", f"cog_{axis}"): f"points_cog_{axis}" for axis in "xyz"},
}


def figure_of(metric: str, observable: str, folder: Path) -> Path | None:
    """The figure that shows an observable, None where there is none or it was not written.

    Args:
        metric: of the score.
        observable: of the score.
        folder: where `caloforge evaluate --figures png` wrote.
    """
    name = _FIGURES.get((metric, observable))
    if name is None:
        return None
    paths = (folder / f"{each}.png" for each in (name, _OTHERWISE.get(name, name)))
    return next((path for path in paths if path.is_file()), None)
