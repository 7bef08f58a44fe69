"""What `generate` returns."""

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Story:
    """A generated story. It is made again by the same call with this `seed`, on the same machine and PyTorch.

    >>> story = Story("Hi.", (5, 0), (-0.5, -0.25), "stop", seed=7)
    >>> sum(story.log_probabilities)
    -0.75
    """

    text: str
    """The prompt and what follows it."""
    ids: tuple[int, ...]
    """The generated tokens, without the prompt's; where the story ends by itself the end-of-text is the last one."""
    log_probabilities: tuple[float, ...]
    """The natural log-probability of each of `ids`: the model's own, before any penalty, temperature or filter."""
    finish_reason: FinishReason
    """`stop`: the model ended it; `length`: `max_new_tokens` did."""
    seed: int
    """Of the call, drawn where none was given; story number n of several is again number n with this seed."""
    prompt_tokens_dropped: int = 0
    """How many tokens at the prompt's start the model has not seen, since the prompt was longer than its block."""
