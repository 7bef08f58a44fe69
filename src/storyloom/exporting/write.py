"""`export`: a trained model, written in a format that does not need the run any more."""

import os
from collections.abc import Callable
from pathlib import Path

from storyloom.errors import ConfigError, RunError, nearest
from storyloom.exporting.card import card_of
from storyloom.paths import named_path
from storyloom.runs.model_folder import DTYPES, write_model_folder
from storyloom.runs.opening import Model, open_model


def to_folder(model: Model, out: Path, *, dtype: str, checkpoint: str) -> None:
    """A model folder of our own; see `storyloom.runs.model_folder`."""
    if dtype not in DTYPES:
        raise ConfigError(f"`dtype` = {dtype} is not one of its choices: {nearest(str(dtype), DTYPES)}")
    weights, card = model.read_weights(checkpoint), card_of(model, dtype, checkpoint)
    tokens = {"start": model.start, "end": model.end}
    write_model_folder(out, model.model_config, weights, model.tokenizer, **tokens, dtype=dtype, card=card)


EXPORTERS: dict[str, Callable[..., None]] = {"folder": to_folder}


def export(
    run: str | os.PathLike[str] | Model,
    out: str | os.PathLike[str],
    *,
    to: str = "folder",
    dtype: str = "float32",
    checkpoint: str = "best",
) -> Path:
    """Write a trained model in another format, wholly or not at all.

    Args:
        run: a run or a model folder, or its path.
        out: what to make; must not exist, or be an empty folder.
        to: a key of `EXPORTERS`. `folder`: a model folder, which `load`, `evaluate` and `train(init=...)` take as they
            take a run.
        dtype: of the weights: `float32`, `bf16`, or `int8` with a scale for each row.
        checkpoint: `best` or `last`.

    Returns:
        The path of what was made.

    Raises:
        RunError: the run is missing or damaged, or `out` exists or is being made by another process.
        CheckpointError: the checkpoint is missing or damaged.
        ConfigError: the format, its dtype or the checkpoint is unknown.
    """
    if not isinstance(to, str) or to not in EXPORTERS:
        raise ConfigError(f"`to` = {to} is no format: {nearest(str(to), EXPORTERS)}")
    model, place = open_model(run), named_path("out", out, RunError)
    try:
        EXPORTERS[to](model, place, dtype=dtype, checkpoint=checkpoint)
    except NotADirectoryError:
        raise RunError(f"{place} lies below a file: choose another `out`") from None
    except FileExistsError:
        raise RunError(f"{place} exists already: choose another `out`, or remove it first") from None
    except BlockingIOError:
        raise RunError(f"{place} is being made by another process: wait for it, or choose another `out`") from None
    return place
