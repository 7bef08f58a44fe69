"""What training leaves on disk: names of files, rows, checkpoints, and the run folder opened for reading."""

from storyloom.runs.checkpoint import load_checkpoint, save_checkpoint
from storyloom.runs.run import Run

__all__ = ["Run", "load_checkpoint", "save_checkpoint"]
