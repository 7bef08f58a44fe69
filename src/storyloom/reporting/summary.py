"""A run in a sentence."""

from pathlib import Path

from storyloom.reporting.page import megabytes, rough, short
from storyloom.reporting.record import Record

MOST_NAMES = 3  # of the files that the text came from


def headline(record: Record) -> str:
    """What was trained on what, for how long, on which machine, in a sentence."""
    start = record.starts[-1]
    how = f"in {start.precision}" + (", the training step compiled" if start.compiled else "")
    return (
        f"A GPT of {short(start.parameters)} parameters, trained on {text_of(record)}. "
        f"It saw {short(record.last.tokens)} tokens, {rough(record.last.epoch)} epochs, "
        f"in {_time_of(record)}, on {_machine(start.device, start.threads)}, {how}."
    )


def text_of(record: Record) -> str:
    """The training text, with its size where the data is still there."""
    if record.data is None:
        return "a text that is no longer where it was"
    names = [Path(source).name or "a folder" for source in record.data.manifest.sources]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    train = record.data.manifest.train
    return (
        f"{', '.join(names[:MOST_NAMES])}{more} ({train.stories:,} stories, "
        f"{megabytes(train.bytes)}, {short(train.tokens)} tokens of a vocabulary of "
        f"{record.config.model.vocab_size:,})"
    )


def _time_of(record: Record) -> str:
    wall = record.wall_minutes
    return f"{_minutes(record.minutes)} of updates" if wall is None else f"{_minutes(wall)} with all evaluations"


def _minutes(minutes: float) -> str:
    return f"{minutes / 60:.1f} hours" if minutes >= 100 else f"{minutes:.1f} minutes"


def _machine(device: str, threads: int) -> str:
    if device == "cpu":
        return f"the CPU with {threads} thread{'s' if threads > 1 else ''}"
    return f"{'an' if device.startswith('mps') else 'a'} {device} device"
