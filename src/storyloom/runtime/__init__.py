"""The machine alone: device, precision, threads, compiler. Knows no model and no file of ours."""

from storyloom.runtime.device import Runtime, choose_runtime
from storyloom.runtime.machine import Machine, info

__all__ = ["Machine", "Runtime", "choose_runtime", "info"]
