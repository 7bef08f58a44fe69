"""How many parameters a model has and how much arithmetic a training token costs, from its configuration alone."""

from storyloom.config import ModelConfig


def count_parameters(config: ModelConfig) -> int:
    """All trained numbers of a model; tied embeddings count once.

    >>> count_parameters(ModelConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=32, mlp="gelu"))
    12736
    """
    assert config.vocab_size is not None, "vocab_size comes from the data"
    c = config.n_embd
    embedding = config.vocab_size * c * (1 if config.tie_embeddings else 2)
    places = config.block_size * c if config.position == "learned" else 0
    norm = c * (2 if config.bias and config.norm == "layernorm" else 1)
    norms = norm * (2 * config.n_layer + (config.norm_placement == "pre"))
    qk_norms = 2 * config.head_size * config.n_layer if config.qk_norm else 0
    biases = _biases_per_block(config) * config.n_layer if config.bias else 0
    return embedding + places + norms + qk_norms + biases + _matrices_per_block(config) * config.n_layer


def count_flops_per_token(config: ModelConfig, tokens: int | None = None) -> int:
    """Floating point operations of one training token, forward and backward.

    6 for each parameter of a matrix, the head included, and 6 n_layer H D T for causal attention over T tokens, as in
    Chowdhery et al., "PaLM", 2022 (arXiv 2204.02311, appendix B), with half of the window seen on average.

    Args:
        config: with `vocab_size`.
        tokens: the window, T; the block by default.
    """
    assert config.vocab_size is not None, "vocab_size comes from the data"
    matrices = _matrices_per_block(config) * config.n_layer + config.vocab_size * config.n_embd
    attended = config.n_head * config.head_size * (tokens or config.block_size)
    return 6 * matrices + 6 * config.n_layer * attended


def _matrices_per_block(config: ModelConfig) -> int:
    c, width, kv_width = config.n_embd, config.n_head * config.head_size, config.kv_heads * config.head_size
    attention = c * (width + 2 * kv_width) + width * c
    return attention + c * config.mlp_width * (3 if config.mlp == "swiglu" else 2)


def _biases_per_block(config: ModelConfig) -> int:
    c, width, kv_width = config.n_embd, config.n_head * config.head_size, config.kv_heads * config.head_size
    return (width + 2 * kv_width) + c + (0 if config.mlp == "swiglu" else config.mlp_width + c)
