"""Geometry of the read-out: layers of polar bins or cartesian cells, frozen and comparable."""

from caloforge.geometry.calochallenge import read_calochallenge_xml
from caloforge.geometry.coarse import Coarsening
from caloforge.geometry.layers import CartesianLayer, Layer, PolarLayer, SensorLayer
from caloforge.geometry.official import OfficialSample, official_sample
from caloforge.geometry.presets import (
    geometry_preset,
    geometry_presets,
    ild_ecal,
    ild_silicon_depths,
    impact_of,
    preset_of,
)
from caloforge.geometry.readout import Geometry
from caloforge.geometry.symmetries import symmetry_matrices, voxel_images

__all__ = [
    "CartesianLayer",
    "Coarsening",
    "Geometry",
    "Layer",
    "OfficialSample",
    "PolarLayer",
    "SensorLayer",
    "geometry_preset",
    "geometry_presets",
    "ild_ecal",
    "ild_silicon_depths",
    "impact_of",
    "official_sample",
    "preset_of",
    "read_calochallenge_xml",
    "symmetry_matrices",
    "voxel_images",
]
