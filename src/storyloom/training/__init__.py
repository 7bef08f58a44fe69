"""Training: optimizers, schedules, plans, the loop, and what it leaves in the run folder."""

from storyloom.training.dry_run import DryRun, dry_run
from storyloom.training.train import train

__all__ = ["DryRun", "dry_run", "train"]
