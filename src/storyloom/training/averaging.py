"""An exponential moving average of the weights: what a run evaluates, samples and keeps when `train.ema` is set.

Polyak and Juditsky, 1992 (doi 10.1137/0330046), with recent updates weighing more, as is usual since Szegedy et al.,
2015 (arXiv 1512.00567).
"""

import copy

import torch

from storyloom.model import GPT


class WeightAverage:
    """A second model whose weights follow those of the one in training.

    Args:
        model: the one in training; its weights now are where the average starts.
        decay: how much of the average stays at each update, between 0 and 1.

    `model` is the average, in evaluation mode.
    """

    def __init__(self, model: GPT, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: GPT, step: int) -> None:
        """Move towards the weights after update number `step`, counted from 1.

        Early on the decay is (1 + step) / (10 + step): the first weights, which know nothing, are soon forgotten.
        """
        decay = min(self._decay, (1 + step) / (10 + step))
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
