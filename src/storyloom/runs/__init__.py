"""What training leaves on disk: names of files, rows, checkpoints, model folders, and a run opened for reading.

Only what reads or writes weights imports torch, and only when it is used: rows are read without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storyloom.runs.checkpoint import load_checkpoint, save_checkpoint
    from storyloom.runs.model_folder import ModelFolder
    from storyloom.runs.opening import open_model
    from storyloom.runs.run import Run

__all__ = ["ModelFolder", "Run", "load_checkpoint", "open_model", "save_checkpoint"]

_HOMES = {
    "ModelFolder": "model_folder",
    "Run": "run",
    "load_checkpoint": "checkpoint",
    "open_model": "opening",
    "save_checkpoint": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'storyloom.runs' has no attribute {name!r}")
    return getattr(import_module(f"storyloom.runs.{_HOMES[name]}"), name)
