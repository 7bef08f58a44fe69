"""Token ids to logits: a GPT from PyTorch primitives. Knows no text, no files and no optimiser."""

from storyloom.model.counting import count_flops_per_token, count_parameters
from storyloom.model.gpt import GPT
from storyloom.model.kv_cache import KVCache

__all__ = ["GPT", "KVCache", "count_flops_per_token", "count_parameters"]
