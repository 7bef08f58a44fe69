"""Arguments of the Python API, as the command line spells them."""

import re

# What a library error may name in backquotes, and the option that gives it.
FLAGS = {"settings": "--set"} | {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("checkpoint", "column", "config", "data", "device", "dtype", "init", "minutes", "out", "preset", "repeat"),
        *("resume", "text", "to", "tokenizer", "val", "val_fraction"),
    )
}


def in_flags(message: str) -> str:
    """A library's message with options in place of the arguments that it names.

    >>> in_flags("`minutes` = 0 must be above 0: choose another, or see `storyloom train`")
    '--minutes 0 must be above 0: choose another, or see `storyloom train`'
    """
    return re.sub(r"`(\w+)`( =)?", lambda found: FLAGS.get(found[1], found[0]), message)
