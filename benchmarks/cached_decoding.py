"""How much faster telling is with the key-value cache than without: medians of alternating runs, as JSON.

Run with `python benchmarks/cached_decoding.py [PRESET]`; the weights are random, as speed does not ask what is told.
Without the cache every token costs a full forward pass over all tokens so far, as in the plainest generate loop.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch

from storyloom.config import load_preset
from storyloom.generation.decoding import Decoding, telling
from storyloom.model import GPT

NEW_TOKENS = 256
ROUNDS = 5
EOT = 0


def tell_cached(model: GPT, n: int) -> list[int]:
    """Greedy, one step a token."""
    with telling(model):
        decoding = Decoding(model, torch.tensor([[EOT]]))
        tokens = []
        for _ in range(n):
            token = decoding.logits.argmax(dim=-1)
            tokens.append(int(token))
            decoding.step(token)
    return tokens


def tell_recomputed(model: GPT, n: int) -> list[int]:
    """Greedy, a full forward a token; the window slides once it is full."""
    with telling(model):
        ids = torch.tensor([[EOT]])
        for _ in range(n):
            logits = model(ids[:, -model.config.block_size :])[:, -1]
            ids = torch.cat([ids, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return ids[0, 1:].tolist()


def seconds(action: Callable[[GPT, int], list[int]], model: GPT) -> float:
    start = time.perf_counter()
    action(model, NEW_TOKENS)
    return time.perf_counter() - start


def measure(preset: str) -> dict[str, object]:
    """Median tokens/s of both ways, and the median of the rounds' ratios."""
    torch.manual_seed(0)
    settings = load_preset(preset)
    config = settings.model.with_(vocab_size=settings.data.vocab_size)
    model = GPT(config).eval()
    within_block = min(NEW_TOKENS, config.block_size - 1)
    assert tell_cached(model, within_block) == tell_recomputed(model, within_block)
    cached, recomputed = [], []
    for _ in range(ROUNDS):
        cached.append(seconds(tell_cached, model))
        recomputed.append(seconds(tell_recomputed, model))
    return {
        "preset": preset,
        "threads": torch.get_num_threads(),
        "new_tokens": NEW_TOKENS,
        "cached_tokens_per_second": round(NEW_TOKENS / statistics.median(cached)),
        "recomputed_tokens_per_second": round(NEW_TOKENS / statistics.median(recomputed)),
        "median_ratio": round(statistics.median(b / a for a, b in zip(cached, recomputed, strict=True)), 2),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1] if len(sys.argv) > 1 else "laptop"), indent=2))
