"""Forked children. Knows no model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_IMPORTED_BY = os.getpid()  # a child made by os.fork() inherits this number and has another one


def is_forked() -> bool:
    """Whether this process is a child that os.fork() made after this module was imported."""
    return os.getpid() != _IMPORTED_BY


@contextmanager
def fork_safe() -> Iterator[None]:
    """Use one thread in a child that os.fork() made; the thread count is put back afterwards.

    A forked child has one thread, but the OpenMP library still counts on those of its parent: work for several of them
    would wait for ever. A child that was spawned, and the process itself, are left alone. A child that imports this
    module only after the fork is not known as one: import storyloom before.
    """
    if not is_forked():
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
