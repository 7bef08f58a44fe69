"""A run against a text: likelihood, and for storybook text the distance to the exact limit."""

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from storyloom.data import Data, EncodedStory, storybook
from storyloom.data.sources import join_stories, read_stories
from storyloom.errors import ConfigError, DataError
from storyloom.evaluation.likelihood import Likelihood, as_dict, measure_likelihood, ratio_stderr
from storyloom.runtime import Run


def evaluate(
    run: str | os.PathLike[str] | Run,
    *,
    data: str | os.PathLike[str] | Data | None = None,
    text: str | os.PathLike[str] | None = None,
    checkpoint: str = "best",
) -> dict[str, Any]:
    """Measure a trained run on validation stories.

    Args:
        run: the run, or its folder.
        data: a data folder whose validation stories are taken; by default the one the run was trained on.
        text: a `.txt` file of stories instead.
        checkpoint: `best` or `last`.

    Returns:
        `nats_per_token`, `perplexity`, `bits_per_byte`, `bits_per_byte_stderr` (over stories), `tokens`, `bytes`,
        `stories`, `comparable` (whether bits/byte may be compared with other tokenizers'), `text_sha256`; where every
        story is the storybook's also `limit_bits_per_byte`, `gap_bits_per_byte` and `gap_bits_per_byte_stderr`.

    Raises:
        DataError: the data is missing, or was made with another tokenizer.
        RunError: the run is missing or damaged.
    """
    opened = run if isinstance(run, Run) else Run(run)
    if data is not None and text is not None:
        raise ConfigError("--data and --text contradict each other: name one of them")
    tokenizer = opened.tokenizer
    if text is not None:
        texts = read_stories(Path(text))
        stories = [
            EncodedStory(story, np.array(ids, np.int64))
            for story, ids in zip(texts, tokenizer.encode_all(texts), strict=True)
        ]
    else:
        stories = _val_stories(opened, data)
    likelihood = measure_likelihood(opened.load_model(checkpoint), stories, tokenizer.eot)
    return {
        **as_dict(likelihood),
        "comparable": not any(tokenizer.unknown_characters(story.text) for story in stories),
        "text_sha256": hashlib.sha256(join_stories(story.text for story in stories).encode("utf-8")).hexdigest(),
        **compare_with_limit(likelihood, stories),
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


def _val_stories(run: Run, data: str | os.PathLike[str] | Data | None) -> list[EncodedStory]:
    if data is None:
        folder = Path(run.origin["data"])
        if not folder.exists():
            raise DataError(f"the data this run was trained on is no longer at {folder}: name it with --data or --text")
        data = folder
    opened = data if isinstance(data, Data) else Data(data)
    if opened.tokenizer.fingerprint != run.tokenizer.fingerprint:
        raise DataError(
            f"{opened.path} was prepared with another tokenizer than {run.path}: give its stories with --text instead"
        )
    return opened.val_stories()
