"""Figures and the page that compare generated showers with Geant4's."""

from caloforge.report.event import draw_showers
from caloforge.report.page import save_page

__all__ = ["draw_showers", "save_page"]
