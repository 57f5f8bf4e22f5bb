"""Training: the loop, the run folder, several stages side by side."""

from caloforge.training.cascade import train
from caloforge.training.progress import TrainingProgress
from caloforge.training.runfolder import RunFolder, load
from caloforge.training.stagefolder import StageFolder

__all__ = ["RunFolder", "StageFolder", "TrainingProgress", "load", "train"]
