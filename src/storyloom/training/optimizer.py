"""Which parameters are updated how, and an optimiser's state as plain tensors."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from storyloom.config import TrainConfig

BETAS = (0.9, 0.95)  # a shorter second memory than Adam's 0.999: small models move fast early on (as GPT-3 chose)


def adamw(model: nn.Module, settings: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2017, arXiv 1711.05101); only the blocks' matrices decay."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    decays = [parameter for name, parameter in named if _decays(name, parameter)]
    others = [parameter for name, parameter in named if not _decays(name, parameter)]
    groups = [{"params": decays, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, fused=True)


OPTIMIZERS: dict[str, Callable[[nn.Module, TrainConfig], torch.optim.Optimizer]] = {"adamw": adamw}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's memory as `index.name` -> tensor; its settings come from the configuration again."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value.cpu() for index, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took out."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _decays(name: str, parameter: Tensor) -> bool:
    return parameter.dim() >= 2 and name.startswith("blocks.")
