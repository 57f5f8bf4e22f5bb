"""Quilt: layer energies that are learned, with patterns of real Geant4 layers."""

from caloforge.systems.quilt.system import Quilt

__all__ = ["Quilt"]
