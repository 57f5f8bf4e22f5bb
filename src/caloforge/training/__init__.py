"""Training: the loop, the run folder, several stages in parallel, trained models by name."""

from caloforge.training.cascade import train
from caloforge.training.models import best_models, find_run, model_folders
from caloforge.training.packing import pack
from caloforge.training.progress import TrainingProgress
from caloforge.training.runfolder import RunFolder, load
from caloforge.training.stagefolder import StageFolder

__all__ = [
    "RunFolder",
    "StageFolder",
    "TrainingProgress",
    "best_models",
    "find_run",
    "load",
    "model_folders",
    "pack",
    "train",
]
