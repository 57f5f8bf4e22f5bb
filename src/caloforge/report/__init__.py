"""Figures and the page that compare generated showers with Geant4's."""

from caloforge.report.page import save_page

__all__ = ["save_page"]
