"""Training: optimisers, schedules, budgets, the loop, and what it leaves in the run folder."""

from storyloom.training.train import train

__all__ = ["train"]
