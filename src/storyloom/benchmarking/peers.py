"""Others who train a model of the same shape: `transformers`, where it is installed. Nothing else here needs it."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from storyloom.config import Config, ModelConfig
from storyloom.runtime import Runtime


def find_peers(config: Config, runtime: Runtime) -> dict[tuple[str, str], Callable[[], Any]]:
    """An update of each peer, by name and precision; none where nothing is installed, or where they lack a part."""
    if find_spec("transformers") is None or not _is_llama(config.model):
        return {}
    return {
        ("transformers", precision): TransformersUpdate(config, runtime, precision)
        for precision in dict.fromkeys(["fp32", runtime.precision])
    }


class TransformersUpdate:
    """One update of `transformers`' Llama (Qwen3 with qk_norm) as it comes, with PyTorch's AdamW.

    Args:
        config: whose shape and batch it takes.
        runtime: its device.
        precision: `fp32`, or what the forward pass is cast to.
    """

    def __init__(self, config: Config, runtime: Runtime, precision: str) -> None:
        from transformers import AutoModelForCausalLM  # pyright: ignore[reportMissingImports]

        torch.manual_seed(config.train.seed)
        self._model = AutoModelForCausalLM.from_config(_as_transformers(config.model)).to(runtime.device).train()
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=config.train.learning_rate)
        self._runtime = Runtime(runtime.device, precision, runtime.threads)
        shape = (config.train.batch_size, config.model.block_size)
        self._ids = torch.randint(config.model.vocab_size or 2, shape, device=runtime.device)
        self._micro_batches = config.train.micro_batches

    def __call__(self) -> None:
        """Forward, backward, clip, step, as its users write it."""
        self._optimizer.zero_grad()
        for _ in range(self._micro_batches):
            with self._runtime.autocast():
                loss = self._model(input_ids=self._ids, labels=self._ids).loss
            (loss / self._micro_batches).backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()


def _is_llama(model: ModelConfig) -> bool:
    parts = (model.position, model.norm, model.norm_placement, model.mlp, model.bias, model.embedding_scale)
    return parts == ("rope", "rmsnorm", "pre", "swiglu", False, False)


def _as_transformers(model: ModelConfig) -> Any:
    from transformers import LlamaConfig, Qwen3Config  # pyright: ignore[reportMissingImports]

    shape = {
        "vocab_size": model.vocab_size,
        "hidden_size": model.n_embd,
        "intermediate_size": model.mlp_width,
        "num_hidden_layers": model.n_layer,
        "num_attention_heads": model.n_head,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_size,
        "max_position_embeddings": model.block_size,
        "tie_word_embeddings": model.tie_embeddings,
    }
    return (Qwen3Config if model.qk_norm else LlamaConfig)(**shape)
