"""What a run did, made visible. Drawn by the caller after training, never by the trainer."""

from storyloom.reporting.compare import Comparison, Figures, compare_runs
from storyloom.reporting.page import check_place
from storyloom.reporting.plots import plot_losses
from storyloom.reporting.report import write_report

__all__ = ["Comparison", "Figures", "check_place", "compare_runs", "plot_losses", "write_report"]
