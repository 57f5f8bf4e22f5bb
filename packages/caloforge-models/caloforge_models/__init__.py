"""Trained generators of calorimeter showers: a folder each, found by caloforge by name."""

__version__ = "0.1.0"
