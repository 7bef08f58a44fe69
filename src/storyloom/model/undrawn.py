"""Models whose weights are read from a file: drawing them first would only take time and others' random numbers."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

DRAWING = {"normal_", "uniform_", "kaiming_uniform_"}  # what linear maps, embeddings and our own models begin with


class Undrawn(TorchFunctionMode):
    """Leave random weights undrawn in this thread, for the block: they are whatever lay in memory.

    PyTorch has one generator of random numbers for a process. A model that is made while another thread trains would
    take numbers of it, and the training would go another way.

    >>> import torch
    >>> before = torch.get_rng_state()
    >>> with Undrawn():
    ...     _ = torch.nn.Linear(3, 5)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """PyTorch asks this before every function of its own."""
        given = kwargs or {}
        if getattr(func, "__name__", "") in DRAWING:
            return args[0] if args else given["tensor"]
        return func(*args, **given)
