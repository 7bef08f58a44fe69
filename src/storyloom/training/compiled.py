"""The loss of a micro-batch as one function, eager or compiled. The rest of an update is eager: see `update.py`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType

import torch
from torch import Tensor

from storyloom.model import GPT
from storyloom.runtime import Runtime

LEAST_SHARE = 2**15  # elements for each thread: with less work they would rather wait for one another than do it

SummedLoss = Callable[[GPT, Tensor, Tensor], Tensor]  # model, ids (B, T), targets (B, T) -> nats, a float32 scalar


def summed_loss(model: GPT, ids: Tensor, targets: Tensor) -> Tensor:
    """The model's cross-entropy of a micro-batch, summed over its targets, in nats."""
    return model.nats(ids, targets)


class CompiledStep:
    """`summed_loss`, compiled at its first call and again for models and batches of other shapes.

    PyTorch keeps what it compiles with a function's code, for at most eight shapes, and then runs it eager without a
    word. So each of these has a copy of the code: what others in this process have compiled is neither used nor lost.

    Args:
        device: where it runs. On a CPU random numbers are PyTorch's own: dropout is the eager step's, and takes less
            time. Shapes are static: one compilation serves a whole run.
    """

    def __init__(self, device: torch.device) -> None:
        own = FunctionType(summed_loss.__code__.replace(), summed_loss.__globals__)
        options = {"fallback_random": True, "cpp.min_chunk_size": LEAST_SHARE} if device.type == "cpu" else {}
        self._compiled = torch.compile(own, dynamic=False, options=options)

    def __call__(self, model: GPT, ids: Tensor, targets: Tensor) -> Tensor:
        """A float32 scalar."""
        return self._compiled(model, ids, targets)


@contextmanager
def deterministic(runtime: Runtime) -> Iterator[None]:
    """Let the compiled step on a CPU give the same bits each time; put back what was set before.

    What is compiled adds up the gradient of the embedding by atomic additions otherwise, in an order that the threads
    decide.
    """
    if not (runtime.compile and runtime.device.type == "cpu"):
        yield
        return
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
