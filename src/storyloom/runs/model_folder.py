"""A model folder: a trained model on its own, without the run and the data that it came from.

    config.json         the model's settings, its start and end token, the dtype of the weights; format and checksum
    model.safetensors   the weights: float32, bf16, or int8 with a scale for each row
    tokenizer.json      card.md (for people)   manifest.json (SHA-256 of all but the card)

A sequence is `[start] + ids + [end]`. If `dtype` is `int8`, every matrix W is kept as integers Q from -127 to 127 and a
float32 tensor `NAME.scale` with a number s for each row: W = s Q, to within s / 2.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from storyloom.config import ModelConfig
from storyloom.config.formats import FORMAT, check_content, check_format, content_checksum, settings_of
from storyloom.data.tokenization import Tokenizer, load_tokenizer
from storyloom.errors import CheckpointError, ConfigError, RunError
from storyloom.files import building_folder, find_damage, seal, write_json, write_text
from storyloom.runs.layout import CARD, MODEL_CONFIG, TOKENIZER, WEIGHTS

if TYPE_CHECKING:
    import torch

    from storyloom.model import GPT
    from storyloom.runs.weights import Weights

SCALE = ".scale"  # behind the name of an int8 matrix
Dtype = Literal["float32", "bf16", "int8"]
DTYPES: tuple[str, ...] = get_args(Dtype)


class ModelFolder:
    """A model folder, opened for reading.

    Args:
        path: the folder.

    Raises:
        RunError: it is missing, or a file of it is missing, cut short or altered.
        ConfigError: its settings are not as they were written, or of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        damage = find_damage(path, of=(MODEL_CONFIG, WEIGHTS, TOKENIZER))
        if damage is not None:
            raise RunError(f"{path}/{damage}: put it back from a copy, or export the model again")
        file = path / MODEL_CONFIG
        try:
            content: Any = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = None
        if not isinstance(content, dict):
            raise RunError(f"{file} cannot be read as a model's settings: put it back from a copy")
        written, checksum = check_format(content.pop("format", None), str(file)), content.pop("sha256", None)
        check_content(content, checksum, str(file))
        model = settings_of(ModelConfig, content.get("model"), written, f"{file}: model")
        self.model_config = ModelConfig(**model)
        self.start: int = content.get("start_token", -1)
        self.end: int = content.get("end_token", -1)
        self.dtype: str = content.get("dtype", "")
        tokens = range(self.model_config.vocab_size or 0)
        if self.dtype not in DTYPES or self.start not in tokens or self.end not in tokens:
            raise RunError(f"{file} names no start and end token, or no dtype of {', '.join(DTYPES)}: put it back")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the model was trained with."""
        tokenizer = load_tokenizer(self.path / TOKENIZER)
        if tokenizer.vocab_size != self.model_config.vocab_size:
            raise RunError(
                f"{self.path / TOKENIZER} has {tokenizer.vocab_size} tokens, the model {self.model_config.vocab_size}: "
                "put it back from a copy"
            )
        return tokenizer

    @property
    def weights_file(self) -> Path:
        """Where the weights lie."""
        return self.path / WEIGHTS

    def read_weights(self, checkpoint: str = "best") -> "Weights":
        """The weights by name, in float32. Raises `ConfigError` for another checkpoint: a model folder has one."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        if checkpoint != "best":
            raise ConfigError(f"`checkpoint` = {checkpoint}, but {self.path} is a model folder: leave it out")
        try:
            kept = load(self.weights_file.read_bytes())
        except (OSError, SafetensorError):
            raise CheckpointError(f"{self.weights_file} cannot be read: put it back from a copy") from None
        self._check(kept)
        return dequantized(kept)

    def _check(self, kept: "Weights") -> None:
        """Every tensor is of the dtype that the folder names, and has its scale; raises `CheckpointError`."""
        import torch

        for name, tensor in kept.items():
            owner = kept.get(name.removesuffix(SCALE)) if name.endswith(SCALE) else None
            expected = torch.bfloat16 if self.dtype == "bf16" else torch.float32
            if self.dtype == "int8" and tensor.dim() == 2:
                expected = torch.int8
            is_right = tensor.dtype == expected and bool(torch.isfinite(tensor.float()).all())
            if name.endswith(SCALE):
                is_right &= owner is not None and tensor.shape == owner.shape[:1]
            elif tensor.dtype == torch.int8:
                is_right &= name + SCALE in kept
            if not is_right:
                raise CheckpointError(
                    f"{self.weights_file} holds {name} not as {self.dtype} is kept: put it back from a copy, "
                    "or export the model again"
                )

    def load_model(self, checkpoint: str = "best", device: "str | torch.device | None" = None) -> "GPT":
        """The model, in evaluation mode; `device` as `choose_device` takes it."""
        from storyloom.runs.weights import built_model

        return built_model(self.model_config, self.read_weights(checkpoint), self.path, device)


def is_model_folder(path: Path) -> bool:
    """Whether a folder is to be read as a model folder, sound or not."""
    return (path / MODEL_CONFIG).is_file() or (path / CARD).is_file()


def write_model_folder(
    out: Path,
    config: ModelConfig,
    weights: "Weights",
    tokenizer: Tokenizer,
    *,
    start: int,
    end: int,
    dtype: str,
    card: str,
) -> None:
    """Write a model folder, wholly or not at all; `out` must not exist, or be empty.

    Args:
        out: the folder to make.
        config, weights, tokenizer: of the model; weights in float32.
        start, end: the tokens that a sequence begins and ends with.
        dtype: one of `DTYPES`.
        card: what `card.md` says, in Markdown.

    Raises:
        FileExistsError, BlockingIOError: as `building_folder` does.
    """
    from safetensors.torch import save

    content = {"model": config.model_dump(), "start_token": start, "end_token": end, "dtype": dtype}
    with building_folder(out) as partial:
        write_json(partial / MODEL_CONFIG, {"format": FORMAT, "sha256": content_checksum(content), **content})
        (partial / WEIGHTS).write_bytes(save(QUANTIZED[dtype](weights)))
        tokenizer.save(partial / TOKENIZER)
        seal(partial)
        write_text(partial / CARD, card)


def quantized_to_int8(weights: "Weights") -> "Weights":
    """Each matrix as int8 with a float32 scale per row, the largest element of a row 127; vectors as they are.

    >>> import torch
    >>> kept = quantized_to_int8({"w": torch.tensor([[1.27, -0.5], [0.0, 0.0]])})
    >>> kept["w"].tolist(), [round(scale, 4) for scale in kept["w.scale"].tolist()]
    ([[127, -50], [0, 0]], [0.01, 0.0])
    """
    import torch

    kept: Weights = {}
    for name, weight in weights.items():
        if weight.dim() != 2:
            kept[name] = weight
            continue
        scale = weight.abs().amax(dim=1) / 127  # (rows,)
        divisor = torch.where(scale > 0, scale, 1.0).unsqueeze(1)
        kept[name] = (weight / divisor).round().clamp(-127, 127).to(torch.int8)
        kept[name + SCALE] = scale
    return kept


def rounded_to_bf16(weights: "Weights") -> "Weights":
    """Every weight in bf16."""
    import torch

    return {name: weight.to(torch.bfloat16) for name, weight in weights.items()}


def dequantized(weights: "Weights") -> "Weights":
    """The weights in float32, whatever dtype they were kept in; scales are multiplied in."""
    return {
        name: weight.float() * weights[name + SCALE].unsqueeze(1) if name + SCALE in weights else weight.float()
        for name, weight in weights.items()
        if not name.endswith(SCALE)
    }


QUANTIZED: "dict[str, Callable[[Weights], Weights]]" = {
    "float32": lambda weights: weights,
    "bf16": rounded_to_bf16,
    "int8": quantized_to_int8,
}
