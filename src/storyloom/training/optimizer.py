"""Which parameters are updated how, and an optimiser's state as plain tensors."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from storyloom.config import TrainConfig
from storyloom.training.muon import Muon

BETAS = (0.9, 0.95)  # a shorter second memory than Adam's 0.999: small models move fast early on (as GPT-3 chose)


class Optimizer(Protocol):
    """What the trainer asks of an optimiser; PyTorch's own answer to it."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...  # noqa: D102

    def zero_grad(self, set_to_none: bool = True) -> None: ...  # noqa: D102

    def step(self) -> Any: ...  # noqa: D102

    def state_dict(self) -> dict[str, Any]: ...  # noqa: D102

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...  # noqa: D102


def adam(model: nn.Module, settings: TrainConfig) -> Optimizer:
    """Adam as it was first published (Kingma and Ba, 2014, arXiv 1412.6980), with its own betas of 0.9 and 0.999.

    Weight decay is added to the gradient, and so divided by its size like the rest of it.
    """
    return torch.optim.Adam(_groups(model, settings), lr=settings.learning_rate, fused=True)


def adamw(model: nn.Module, settings: TrainConfig) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2017, arXiv 1711.05101); only the blocks' matrices decay."""
    return torch.optim.AdamW(_groups(model, settings), lr=settings.learning_rate, betas=BETAS, fused=True)


class MuonWithAdamW:
    """Muon for the blocks' matrices, AdamW for embeddings, head and gains; one memory, one learning rate.

    Args:
        model: whose parameters are updated.
        settings: `learning_rate` and `weight_decay`.
    """

    def __init__(self, model: nn.Module, settings: TrainConfig) -> None:
        hidden, others = _split(model)
        self._muon = Muon(hidden, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self._adamw = torch.optim.AdamW(others, lr=settings.learning_rate, betas=BETAS, weight_decay=0.0, fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Both optimisers' groups."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        self._muon.zero_grad(set_to_none)
        self._adamw.zero_grad(set_to_none)

    def step(self) -> None:
        """Update all parameters."""
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Both memories under one count of parameters, Muon's first."""
        muon, adamw = self._muon.state_dict(), self._adamw.state_dict()
        first = len(muon["param_groups"][0]["params"])
        return {"state": muon["state"] | {first + index: values for index, values in adamw["state"].items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        muon, adamw = self._muon.state_dict(), self._adamw.state_dict()
        first = len(muon["param_groups"][0]["params"])
        state = state_dict["state"]
        self._muon.load_state_dict({**muon, "state": {i: v for i, v in state.items() if i < first}})
        self._adamw.load_state_dict({**adamw, "state": {i - first: v for i, v in state.items() if i >= first}})


OPTIMIZERS: dict[str, Callable[[nn.Module, TrainConfig], Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "muon": MuonWithAdamW,
}


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's memory as `index.name` -> tensor; its settings come from the configuration again."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value.cpu() for index, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took out."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _groups(model: nn.Module, settings: TrainConfig) -> list[dict[str, Any]]:
    decays, others = _split(model)
    return [{"params": decays, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The blocks' matrices, and all other parameters, each in the model's order."""
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (hidden if parameter.dim() >= 2 and name.startswith("blocks.") else others).append(parameter)
    return hidden, others
