"""What a run did, made visible. Drawn by the caller after training, never by the trainer."""

from storyloom.reporting.plots import plot_losses
from storyloom.reporting.report import write_report

__all__ = ["plot_losses", "write_report"]
