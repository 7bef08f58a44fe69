"""Published losses on TinyStories in bits/byte, with where each comes from, to place a run among them.

bits/byte = nats per token / (ln 2 x UTF-8 bytes per token): the tokenizers differ, so nats/token cannot be compared.
The sources give nats/token; the bytes per token are those of their tokenizers on TinyStories: about 4.0 for GPT-2's
BPE, 3.7 for Llama-2's, 4.1 for one of 10,000 tokens.
"""

from dataclasses import dataclass

PAPER = "Eldan and Li, 2023, arXiv 2305.07759"
LLAMA2_C = "karpathy/llama2.c, README"
CS336 = "Stanford CS336, assignment 1"
REPORTED = "its description; rebuilt as the preset"


@dataclass(frozen=True)
class Published:
    """One published loss."""

    model: str
    bits_per_byte: float
    """The middle, where only a range is known."""
    nats_per_token: str
    """As published."""
    source: str
    is_training_loss: bool = False
    """Else on validation stories."""


# By the presets that rebuild the models.
DESCRIBED = {
    "gpt-2layer": Published("TinyStories GPT, 13M", 1.40, "3.88", f"{REPORTED} gpt-2layer", is_training_loss=True),
    "gpt2-small": Published("Tiny Tales, 162M", 0.84, "2.32", f"{REPORTED} gpt2-small", is_training_loss=True),
    "slm-30m": Published("Small Language Model, 30M", 0.83, "2.3", f"{REPORTED} slm-30m"),
    "gpt-5m": Published("TinyStories LLM, 4.8M, if on characters", 2.02, "1.4", f"{REPORTED} gpt-5m"),
}
TINYSTORIES_LOSSES = (
    *DESCRIBED.values(),
    Published("llama2.c stories260K (0.85 to 0.93)", 0.89, "1.297", LLAMA2_C),
    Published("TinyStories paper, width 64", 0.73, "2.02", PAPER),
    Published("22.7M, 41M tokens (a target)", 0.70, "2.00", CS336),
    Published("22.7M, 328M tokens (a target)", 0.51, "1.45", CS336),
    Published("TinyStories paper, width 256", 0.50, "1.38", PAPER),
    Published("TinyStories paper, width 512", 0.44, "1.23", PAPER),
    Published("TinyStories paper, width 768", 0.42, "1.18", PAPER),
    Published("llama2.c stories15M", 0.42, "1.072", LLAMA2_C),
    Published("llama2.c stories42M", 0.33, "0.847", LLAMA2_C),
    Published("llama2.c stories110M", 0.30, "0.760", LLAMA2_C),
)
