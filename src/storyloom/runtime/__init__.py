"""Where a model runs and how it is kept: device, precision, threads; checkpoints; run folders."""

from storyloom.runtime.checkpoint import load_checkpoint, save_checkpoint
from storyloom.runtime.device import Runtime, choose_runtime
from storyloom.runtime.machine import Machine, info
from storyloom.runtime.run import Run

__all__ = ["Machine", "Run", "Runtime", "choose_runtime", "info", "load_checkpoint", "save_checkpoint"]
