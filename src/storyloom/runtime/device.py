"""The machine: which device, which arithmetic, how many threads. Knows no model."""

import os
import time
from dataclasses import dataclass

import torch

from storyloom.config import TrainConfig


@dataclass(frozen=True)
class Runtime:
    """Choices about the machine, made once before training and kept in the run's configuration."""

    device: torch.device
    precision: str
    """`fp32` or `bf16`."""
    threads: int
    """CPU threads."""

    def autocast(self) -> torch.autocast:
        """Arithmetic of the forward pass: bf16 matrix products over fp32 weights, or plain fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def choose_device() -> torch.device:
    """CUDA where there is one, else Apple's mps, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def choose_runtime(settings: TrainConfig) -> Runtime:
    """Fill in what the settings leave open, by looking at and briefly timing the machine; sets the thread count."""
    threads = settings.threads or count_cores()
    torch.set_num_threads(threads)
    device = choose_device()
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if _bf16_is_faster(device) else "fp32"
    return Runtime(device, precision, threads)


def count_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _bf16_is_faster(device: torch.device) -> bool:
    """Whether a bf16 matrix product takes at most 0.7 of the fp32 one's time; a machine without bf16 emulates it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return False
    return _product_seconds(torch.bfloat16) < 0.7 * _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype, n: int = 512) -> float:
    """The fastest of a few n x n products."""
    a = torch.ones(n, n, dtype=dtype)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        seconds.append(time.perf_counter() - start)
    return min(seconds)
