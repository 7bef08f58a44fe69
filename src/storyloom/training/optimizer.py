"""Which parameters are updated how, and the optimizer state as tensors by the parameters' names."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from storyloom.config import TrainConfig
from storyloom.errors import CheckpointError
from storyloom.model import GPT
from storyloom.training.muon import Muon

ADAM_BETA2, ADAMW_BETA2 = 0.999, 0.95  # small models move fast early on: a shorter memory (as GPT-3 chose)


class Optimizer:
    """PyTorch's optimizers side by side, each with parameters of its own.

    Args:
        parts: the optimizers.
    """

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for part in self.parts:
            part.step()


def adam(model: GPT, settings: TrainConfig) -> Optimizer:
    """Adam as it was first published (Kingma and Ba, 2014, arXiv 1412.6980).

    Weight decay is added to the gradient, and so divided by its size like the rest of it.
    """
    options = _adam_options(settings, ADAM_BETA2)
    return Optimizer(torch.optim.Adam(_decay_groups(model, settings), lr=settings.learning_rate, **options))


def adamw(model: GPT, settings: TrainConfig) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2017, arXiv 1711.05101); only the blocks' matrices decay."""
    options = _adam_options(settings, ADAMW_BETA2)
    return Optimizer(torch.optim.AdamW(_decay_groups(model, settings), lr=settings.learning_rate, **options))


def muon(model: GPT, settings: TrainConfig) -> Optimizer:
    """Muon for the blocks' matrices, AdamW for embeddings, head and gains, at one learning rate."""
    matrices, others = split_parameters(model)
    rate, options = settings.learning_rate, _adam_options(settings, ADAMW_BETA2)
    return Optimizer(
        Muon(matrices, lr=rate, weight_decay=settings.weight_decay, momentum=settings.muon_momentum),
        torch.optim.AdamW(others, lr=rate, weight_decay=0.0, **options),
    )


OPTIMIZERS: dict[str, Callable[[GPT, TrainConfig], Optimizer]] = {"adam": adam, "adamw": adamw, "muon": muon}


def split_parameters(model: GPT) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices of the blocks' linear layers, and all other parameters, each in the model's order.

    Matrices are weights that multiply: they may decay, and Muon may make their updates orthogonal. Embeddings and the
    head look single rows up or compare with them; gains and biases are vectors.
    """
    layers = [module for module in model.blocks.modules() if isinstance(module, nn.Linear)]
    is_matrix = {id(layer.weight) for layer in layers}
    matrices = [parameter for parameter in model.parameters() if id(parameter) in is_matrix]
    return matrices, [parameter for parameter in model.parameters() if id(parameter) not in is_matrix]


def optimizer_tensors(optimizer: Optimizer, model: GPT) -> dict[str, Tensor]:
    """The optimizer state on the CPU, as `parameter.key` -> tensor, such as `head.weight.exp_avg`.

    It is empty before the first update. What the settings say is not in it.
    """
    return {
        f"{name}.{key}": value.cpu()
        for part, names in _named_parts(optimizer, model)
        for name, values in zip(names, _states(part), strict=True)
        for key, value in values.items()
    }


def restore_optimizer(optimizer: Optimizer, model: GPT, tensors: dict[str, Tensor], source: Path) -> None:
    """Put back what `optimizer_tensors` took out.

    Args:
        optimizer, model: new ones of the same settings.
        tensors: by parameter and key.
        source: where they were read, for the message.

    Raises:
        CheckpointError: they are another model's or another optimizer's.
    """
    left = dict(tensors)
    for part, names in _named_parts(optimizer, model):
        parameters = [parameter for group in part.param_groups for parameter in group["params"]]
        state = {}
        for index, (name, parameter) in enumerate(zip(names, parameters, strict=True)):
            own = {key: left.pop(f"{name}.{key}") for key in STATE_OF[type(part)] if f"{name}.{key}" in left}
            is_whole = own.keys() == set(STATE_OF[type(part)])
            if tensors and not (is_whole and all(value.numel() in (1, parameter.numel()) for value in own.values())):
                raise CheckpointError(f"the optimizer state in {source} does not fit {name}: put the checkpoint back")
            if own:
                state[index] = own
        part.load_state_dict({**part.state_dict(), "state": state})
    if left:
        raise CheckpointError(
            f"the optimizer state in {source} has {next(iter(left))}, which belongs to no parameter of this run: "
            "put the checkpoint back"
        )


# What each optimizer keeps of a parameter.
STATE_OF: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
    Muon: ("momentum_buffer",),
}


def _named_parts(optimizer: Optimizer, model: GPT) -> Iterator[tuple[torch.optim.Optimizer, Sequence[str]]]:
    """Each part, and the names of its parameters in its own order."""
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    for part in optimizer.parts:
        yield part, [name_of[id(parameter)] for group in part.param_groups for parameter in group["params"]]


def _states(part: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    return [part.state.get(parameter, {}) for group in part.param_groups for parameter in group["params"]]


def _adam_options(settings: TrainConfig, beta2: float) -> dict[str, Any]:
    betas = (settings.beta1, beta2 if settings.beta2 is None else settings.beta2)
    return {"betas": betas, "eps": settings.adam_eps, "fused": True}


def _decay_groups(model: GPT, settings: TrainConfig) -> list[dict[str, Any]]:
    matrices, others = split_parameters(model)
    return [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
