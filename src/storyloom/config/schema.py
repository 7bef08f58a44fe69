"""The settings: three frozen groups, each field with its meaning and unit.

Knows what each value may be and which combinations are impossible; knows nothing of files (`loading.py`) nor of the
parts that the names choose. Each part of the house is handed its own group only.
"""

import re
from itertools import chain
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from storyloom.errors import ConfigError, nearest

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Rows = Literal["packed", "padded", "aligned"]
MOST_THREADS = 1024  # each has a stack of its own: a process that asks for tens of thousands is killed
DEVICE_NAMES = "auto, cpu, cuda, cuda:1 (or another index) or mps"


def is_device_name(name: str) -> bool:
    """Whether a name may be a device's on some machine; whether this one has it is asked when it is used.

    >>> is_device_name("cuda:1"), is_device_name("gpu")
    (True, False)
    """
    return re.fullmatch(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?", name) is not None


class Settings(BaseModel):
    """A frozen group of settings; unknown names and impossible values raise `ConfigError` in one line.

    >>> DataConfig(vocab_sice=512)
    Traceback (most recent call last):
    storyloom.errors.ConfigError: unknown setting data.vocab_sice: did you mean 'vocab_size'? Known: clean, column, ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_one_line(type(self), error)) from None

    @model_validator(mode="before")
    @classmethod
    def _no_flags_for_numbers(cls, values: Any) -> Any:
        """True would pass for 1."""
        for name, value in values.items() if isinstance(values, dict) else ():
            kind = cls.model_fields[name].annotation if name in cls.model_fields else None
            kinds = {kind, *get_args(kind)}
            if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
                raise ValueError(f"{_GROUPS[cls.__name__]}.{name} = {str(value).lower()} is a flag: give a number")
        return values

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated anew."""
        return type(self)(**{**self.model_dump(), **changes})


class DataConfig(Settings):
    """How stories become token ids."""

    tokenizer: str = "bpe"
    """`char`, `bpe` (both made from the stories), `gpt2`, or the path of a `tokenizer.json`."""
    vocab_size: int = Field(default=4096, ge=2, le=1_000_000)
    """Entries of a trained BPE vocabulary, the end-of-text token included; other tokenizers bring their own number."""
    column: str = "text"
    """The field of `.jsonl` lines, and the column of `.parquet` files and hub data sets, that holds the stories."""
    clean: bool = False
    """Repair broken characters and white space, and drop stories that are empty or stood before."""
    strict_characters: bool = False
    """With `clean`: keep only ASCII letters, digits, `.,!?;:'"` and white space, and no empty lines."""
    limit_mb: float | None = Field(default=None, gt=0)
    """Read only the first so many megabytes (1e6 UTF-8 bytes) of stories; none reads all."""
    val_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the stories held out for validation where no validation file is named."""
    rows: Rows = "packed"
    """`packed`: windows over the joined stories; `padded`: one story a row, cut or padded to the block; `aligned`:
    windows that begin at a story's start, one for each story, so that an epoch has T tokens for each.
    """

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.strict_characters and not self.clean:
            raise ValueError("strict_characters is a part of cleaning, but clean = False: set clean as well")
        return self


class ModelConfig(Settings):
    """The shape of the GPT, in GPT-2's names."""

    vocab_size: int | None = Field(default=None, ge=2)
    """Size of the vocabulary, V; comes from the data, so presets leave it out."""
    block_size: int = Field(default=256, ge=2, le=65_536)
    """The longest window the model sees, in tokens, T."""
    n_layer: int = Field(default=4, ge=1, le=256)
    """Number of blocks."""
    n_head: int = Field(default=4, ge=1)
    """Number of query heads, H."""
    n_kv_head: int | None = Field(default=None, ge=1)
    """Number of key and value heads (grouped queries); none means as many as query heads."""
    n_embd: int = Field(default=192, ge=2)
    """Width of the residual stream, C."""
    head_dim: int | None = Field(default=None, ge=1)
    """Width of one head, D; none means C / H."""
    n_mlp: int | None = Field(default=None, ge=1)
    """Hidden width of the MLP; none means 4 C, and for swiglu 8/3 C rounded up to a multiple of 32 (equal work)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability of zeroing an activation in training (embeddings, attention weights, both branches)."""
    bias: bool = False
    """Whether linear layers and LayerNorm carry biases; swiglu never does."""
    position: Literal["learned", "sinusoidal", "rope"] = "rope"
    """How the order of tokens enters: a learned or fixed vector added, or rotated queries and keys."""
    rope_theta: float = Field(default=10_000.0, gt=1)
    """Base of the angles of `rope` and `sinusoidal`: the slowest features turn once in about 2 pi theta tokens."""
    norm: Literal["layernorm", "rmsnorm"] = "rmsnorm"
    """The normalization."""
    norm_eps: float | None = Field(default=None, gt=0, lt=1)
    """Added to the variance, so that nothing is divided by 0; none means 1e-5 for layernorm and 1e-6 for rmsnorm."""
    norm_placement: Literal["pre", "post"] = "pre"
    """Before each branch (GPT-2), or after each residual sum (the first Transformer)."""
    mlp: Literal["relu", "gelu", "relu2", "swiglu"] = "swiglu"
    """The MLP's activation."""
    qk_norm: bool = False
    """RMSNorm with a gain over each head's queries and keys, before RoPE (as in Qwen3)."""
    tie_embeddings: bool = True
    """Whether the output head shares the token embedding's weights."""
    embedding_scale: bool = False
    """Multiply token embeddings by sqrt(C)."""
    residual_init: Literal["scaled", "zero"] = "scaled"
    """How the matrices that write into the residual stream start: smaller by sqrt(2 n_layer) (GPT-2), or at zero."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """PyTorch's fused kernel, or the written-out one: on CPUs in bf16 the faster for short windows."""

    @property
    def head_size(self) -> int:
        """Width of one head, D, with the default filled in."""
        return self.head_dim or self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads, with the default filled in."""
        return self.n_kv_head or self.n_head

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP, with the default filled in."""
        if self.n_mlp is not None:
            return self.n_mlp
        return -(-self.n_embd * 8 // (3 * 32)) * 32 if self.mlp == "swiglu" else 4 * self.n_embd

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.head_dim is None and self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd = {self.n_embd} is not divisible by n_head = {self.n_head}: choose a multiple, or set head_dim"
            )
        if self.n_head % self.kv_heads:
            raise ValueError(
                f"n_head = {self.n_head} is not divisible by n_kv_head = {self.kv_heads}: "
                "each key head serves the same number of query heads"
            )
        if self.position == "rope" and self.head_size % 2:
            raise ValueError(
                f"position = rope rotates halves, but head_dim = {self.head_size} is odd: choose an even head"
            )
        if self.position == "sinusoidal" and self.n_embd % 2:
            raise ValueError(f"position = sinusoidal pairs sines with cosines, but n_embd = {self.n_embd} is odd")
        return self


class TrainConfig(Settings):
    """How the model is trained. Losses are nats/token, learning rates per update."""

    max_steps: int | None = Field(default=None, ge=1)
    """Stop after so many optimiser updates. The smallest of all limits holds."""
    max_epochs: float | None = Field(default=None, gt=0)
    """Stop after so many passes over the rows of the training text."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Stop after so many training tokens."""
    minutes: float | None = Field(default=None, gt=0, le=1e6)
    """Stop after this many minutes of wall-clock time: probes, compilation, training and evaluations. The number of
    updates is planned again as the machine's speed changes, and the learning rate with it."""
    batch_size: int = Field(default=32, ge=1)
    """Rows in one micro-batch, B."""
    grad_accum_steps: int | Literal["auto"] = 1
    """Micro-batches whose gradients are summed before one update. `auto`: `batch_size` rows make an update, split into
    as many micro-batches as a short probe finds fastest."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """The peak learning rate."""
    min_lr: float = Field(default=0.0, ge=0)
    """The learning rate at the schedule's end."""
    warmup_steps: int = Field(default=50, ge=0)
    """Updates over which the learning rate rises linearly from 0 to its peak."""
    schedule: Literal["constant", "linear", "cosine", "wsd"] = "wsd"
    """The learning rate after the warm-up."""
    decay_fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of the updates after the warm-up over which `wsd` falls linearly to `min_lr` at the end."""
    optimizer: Literal["adam", "adamw", "muon"] = "adamw"
    """The optimizer; `muon` moves the blocks' matrices by Muon and all else by AdamW, at one learning rate."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """How much of Adam's mean of the gradients stays at each update."""
    beta2: float | None = Field(default=None, ge=0, lt=1)
    """The same of its mean of their squares; none means 0.999 for `adam`, and 0.95 for `adamw` and with `muon`: small
    models move fast early on (as GPT-3 chose)."""
    adam_eps: float = Field(default=1e-8, gt=0)
    """Added to the root of that mean, so that nothing is divided by 0."""
    muon_momentum: float = Field(default=0.95, ge=0, lt=1)
    """How much of Muon's momentum stays at each update."""
    weight_decay: float = Field(default=0.1, ge=0)
    """Weight decay of the blocks' matrices, decoupled but for `adam`; embeddings, head, gains and biases have none."""
    grad_clip: float | None = Field(default=1.0, gt=0)
    """Clip the gradient's global norm to this; none never clips. The norm before clipping is logged."""
    device: str = "auto"
    """Where the model is trained: `cpu`, `cuda`, `cuda:1` (by its index) or `mps`. `auto`: CUDA if there is one, else
    mps, else the CPU."""
    precision: Precision = "auto"
    """Arithmetic of the forward and backward pass; weights stay fp32. `auto`: on a CPU bf16 if the processor and
    PyTorch have it, else fp32; on CUDA bf16, or fp16 if it has none; on mps fp32."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the training step. `auto`: where a compiler is present and a probe says that it pays for this run."""
    threads: int | Literal["auto"] | None = None
    """CPU threads, at most 1,024; none: one for each physical core that this process may use, within its CPU quota.
    `auto`: these, halved for as long as a short probe finds that faster."""
    log_interval: int = Field(default=1, ge=1)
    """Updates between two rows of the metrics; a row holds the mean loss of the updates since the row before."""
    eval_interval: int = Field(default=250, ge=1)
    """Updates between two evaluations (and possible `best` checkpoints). Under `minutes` at most 60 seconds, and at
    least 20 times as long as one takes; so are samples and checkpoints."""
    eval_stories: int = Field(default=200, ge=1)
    """Validation stories evaluated on the way (spread evenly, always the same); at the end all are."""
    sample_interval: int = Field(default=500, ge=1)
    """Updates between two sample stories."""
    patience: int | None = Field(default=None, ge=1)
    """Stop early after so many evaluations in a row without a lower validation loss; none never does."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Evaluate and keep an exponential moving average of the weights, with this decay an update; none: the weights."""
    checkpoint_interval: int = Field(default=250, ge=1)
    """Updates between two `last` checkpoints."""
    seed: int = Field(default=1337, ge=0, lt=2**63)
    """Seed of the initial weights, the order of the data and dropout."""

    @property
    def micro_batches(self) -> int:
        """`grad_accum_steps`, once a probe has settled it."""
        assert self.grad_accum_steps != "auto", "the plan splits batches"
        return self.grad_accum_steps

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, value in (("grad_accum_steps", self.grad_accum_steps), ("threads", self.threads)):
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{name} = {value} must be at least 1, or auto")
        if isinstance(self.threads, int) and self.threads > MOST_THREADS:
            raise ValueError(f"threads = {self.threads} must be at most {MOST_THREADS}, or auto: lower it")
        if not is_device_name(self.device):
            raise ValueError(f"device = {self.device!r} is not a device: give {DEVICE_NAMES}")
        if self.min_lr > self.learning_rate:
            raise ValueError(
                f"min_lr = {self.min_lr:g} is above learning_rate = {self.learning_rate:g}: "
                "a schedule falls from learning_rate to min_lr, so lower min_lr"
            )
        return self


class Config(Settings):
    """All three groups."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()


def _one_line(model: type[BaseModel], error: ValidationError) -> str:
    """The first of pydantic's complaints as: what, got, limit, next step."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part not in ("bool", "int", "literal['auto']")]  # branches of a union
    owner, field = _owner(model, path)
    group = _GROUPS.get(owner.__name__)
    name = ".".join([group, *path[-1:]] if group and path else path) or (group or "settings")
    if first["type"] == "extra_forbidden":
        return f"unknown setting {name}: {nearest(path[-1], owner.model_fields)}"
    if first["type"] == "value_error":
        return f"impossible settings: {first.get('ctx', {}).get('error')}"  # our own validators, already in one line
    if choices := choices_of(owner.model_fields[field].annotation):
        return f"{name} = {first['input']!r} is not one of its choices: {nearest(str(first['input']), choices)}"
    message = first["msg"][0].lower() + first["msg"][1:]
    words = [choice for part in get_args(owner.model_fields[field].annotation) for choice in choices_of(part)]
    return f"{name} = {first['input']!r}: {' or '.join([message, *words])}"


_GROUPS = {"DataConfig": "data", "ModelConfig": "model", "TrainConfig": "train"}


def choices_of(annotation: Any) -> list[str]:
    """All values of a setting that has only so many, as they are written in TOML; none where it takes others.

    >>> choices_of(Rows), choices_of(bool | Literal["auto"]), choices_of(int | None)
    (['packed', 'padded', 'aligned'], ['true', 'false', 'auto'], [])
    """
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    parts = [choices_of(part) for part in get_args(annotation)]
    return list(chain.from_iterable(parts)) if all(parts) else []


def _owner(model: type[BaseModel], path: list[str]) -> tuple[type[BaseModel], str]:
    """Follow a path of field names to the settings group that owns the last one."""
    for part in path[:-1]:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return model, path[-1] if path else ""
