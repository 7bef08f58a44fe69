"""A run against a text: likelihood, and for storybook text the distance to the exact limit."""

import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from storyloom import storybook
from storyloom.data import Data, EncodedStory
from storyloom.data.sources import read_stories
from storyloom.data.textfile import join_stories
from storyloom.errors import ConfigError, DataError
from storyloom.evaluation.likelihood import Likelihood, as_dict, measure_likelihood, ratio_stderr
from storyloom.paths import named_path
from storyloom.runs.model_folder import ModelFolder
from storyloom.runs.opening import Model, open_model


def evaluate(
    run: str | os.PathLike[str] | Model,
    *,
    data: str | os.PathLike[str] | Data | None = None,
    text: str | os.PathLike[str] | None = None,
    checkpoint: str = "best",
    device: str | torch.device | None = None,
) -> dict[str, Any]:
    """Measure a trained run on validation stories.

    Args:
        run: the run, or its folder; or a model folder, which needs `data` or `text`.
        data: a data folder whose validation stories are taken; by default the one the run was trained on.
        text: a file of stories instead, or a folder of such, read as `prepare` reads them.
        checkpoint: `best` or `last`.
        device: `cpu`, `cuda`, `cuda:1` or `mps`; None or `auto`: CUDA if there is one, else mps, else the CPU.

    Returns:
        `nats_per_token`, `perplexity`, `bits_per_byte`, `bits_per_byte_stderr` (over stories), `tokens`, `bytes`,
        `stories`, `comparable` (whether bits/byte may be compared with other tokenizers'), `text_sha256`; where they
        may not be compared also `why_not_comparable`; where every story is the storybook's, and the data folder was not
        told by another version of its grammar, also `limit_bits_per_byte`, `gap_bits_per_byte` and
        `gap_bits_per_byte_stderr`.

    Raises:
        DataError: data or text is missing or not a path, or the data was made with another tokenizer.
        RunError: the run is missing, damaged, or not a path. The empty string is not a path.
        ConfigError: `data` and `text` are both named, or there is no such checkpoint or device.
    """
    opened = open_model(run)
    if data is not None and text is not None:
        raise ConfigError("`data` and `text` contradict each other: name one of them")
    stories, altered, grammar = _read_text(opened, text) if text is not None else _read_data(opened, data)
    tokenizer = opened.tokenizer
    why = why_not_comparable(sum(bool(tokenizer.unknown_characters(story.text)) for story in stories), altered)
    likelihood = measure_likelihood(opened.load_model(checkpoint, device), stories, opened.end, opened.start)
    return {
        **as_dict(likelihood),
        "comparable": why is None,
        **({"why_not_comparable": why} if why else {}),
        "text_sha256": hashlib.sha256(join_stories(story.text for story in stories).encode("utf-8")).hexdigest(),
        **(compare_with_limit(likelihood, stories) if grammar in (None, storybook.VERSION) else {}),
    }


def compare_with_limit(likelihood: Likelihood, stories: Sequence[EncodedStory]) -> dict[str, float]:
    """The exact limit of these stories and the gap to it, in bits/byte; empty unless all are the storybook's."""
    try:
        limits = -np.array([storybook.log2_probability(story.text) for story in stories])  # bits of each story
    except ValueError:
        return {}
    excess = likelihood.nats / math.log(2) - limits
    size = likelihood.bytes.sum()
    return {
        "limit_bits_per_byte": float(limits.sum() / size),
        "gap_bits_per_byte": float(excess.sum() / size),
        "gap_bits_per_byte_stderr": ratio_stderr(excess, likelihood.bytes),
    }


def why_not_comparable(unknown: int, altered: int) -> str | None:
    """Why bits/byte of these stories may not be compared with other tokenizers'; None where they may.

    Args:
        unknown: stories with characters that the tokenizer does not know.
        altered: stories that cleaning changed or dropped.

    >>> why_not_comparable(0, 1207)
    'cleaning changed or dropped 1,207 of its stories'
    """
    reasons = {
        "the text has characters the tokenizer does not know": unknown,
        f"cleaning changed or dropped {altered:,} of its stories": altered,
    }
    return ", and ".join(reason for reason, stories in reasons.items() if stories) or None


# Stories, how many of them cleaning has changed or dropped, and the version of the grammar that told them, if any did.
_Found = tuple[Sequence[EncodedStory], int, str | None]


def _read_text(run: Model, text: str | os.PathLike[str]) -> _Found:
    texts = read_stories(named_path("text", text, DataError))
    encoded = zip(texts, run.tokenizer.encode_all(texts), strict=True)
    return [EncodedStory(story, np.array(ids, np.int64)) for story, ids in encoded], 0, None


def _read_data(run: Model, data: str | os.PathLike[str] | Data | None) -> _Found:
    found = _open_data(run, data)
    altered = found.manifest.corpus.get("validation_altered", 0)
    return found.val_stories(), altered, found.manifest.storybook


def _open_data(run: Model, data: str | os.PathLike[str] | Data | None) -> Data:
    if data is None:
        if isinstance(run, ModelFolder):
            raise DataError(f"the model folder {run.path} has no data: name some as `data`, or stories as `text`")
        folder = run.data_folder
        if not folder.exists():
            raise DataError(
                f"the data this run was trained on is no longer at {folder}: name it as `data`, or stories as `text`"
            )
        data = folder
    opened = data if isinstance(data, Data) else Data(named_path("data", data, DataError))
    if opened.tokenizer.fingerprint != run.tokenizer.fingerprint:
        raise DataError(
            f"{opened.path} was prepared with another tokenizer than {run.path}: give its stories as `text` instead"
        )
    return opened
