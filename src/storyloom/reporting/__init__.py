"""What a run did, made visible. Drawn by the caller after training, never by the trainer."""

from storyloom.reporting.plots import plot_losses

__all__ = ["plot_losses"]
