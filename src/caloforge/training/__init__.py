"""Training: the loop, the run folder, several stages side by side."""

from caloforge.training.progress import TrainingProgress
from caloforge.training.runfolder import RunFolder, StageFolder, load
from caloforge.training.cascade import default_device, train

__all__ = ["RunFolder", "StageFolder", "TrainingProgress", "default_device", "load", "train"]
