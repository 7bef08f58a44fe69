"""What a training does to its process, and that it is as before in the end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from storyloom.errors import RunError

_TRAINING = threading.Lock()  # PyTorch has one generator of random numbers and one thread count a process


@contextmanager
def only_training() -> Iterator[None]:
    """Refuse a second training while one runs; raises `RunError`."""
    if not _TRAINING.acquire(blocking=False):
        raise RunError("a training is running in this process: wait for it, or train in another process")
    try:
        yield
    finally:
        _TRAINING.release()


@contextmanager
def process_as_found() -> Iterator[None]:
    """Put random generators and thread count back when the block is over."""
    threads = torch.get_num_threads()
    on_mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            if on_mps is not None:
                torch.mps.set_rng_state(on_mps)
