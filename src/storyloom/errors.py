"""What can go wrong, as one small tree of exceptions.

    StoryloomError            anything a user can mend; the command line prints it as one line and exits with 2
    ├── ConfigError           a setting is unknown, out of range, or contradicts another one
    ├── DataError             a text or a data folder cannot be used
    ├── TokenizerError        a tokenizer cannot be trained, read, or cannot spell a text
    ├── RunError              a run folder exists already, is missing, or belongs to something else
    │   └── CheckpointError   a checkpoint is missing, cut short or altered
    ├── PromptError           a prompt cannot be told on from
    └── TrainingDiverged      loss or gradients are no longer finite

A message says what is wrong, what was got, what is allowed, and what to do next. Our own mistakes are `assert`s and
ordinary exceptions; they are not in this tree.
"""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_LIST = 100  # characters; longer ones hide the word that is meant


class StoryloomError(Exception):
    """Anything that a user can mend."""


class ConfigError(StoryloomError):
    """A setting is unknown, out of range, or contradicts another one."""


class DataError(StoryloomError):
    """A text or a data folder cannot be used."""


class TokenizerError(StoryloomError):
    """A tokenizer cannot be trained or read, or cannot spell a text."""


class RunError(StoryloomError):
    """A run folder exists already, is missing, or belongs to something else."""


class CheckpointError(RunError):
    """A checkpoint is missing, cut short or altered."""


class PromptError(StoryloomError):
    """A prompt cannot be told on from."""


class TrainingDiverged(StoryloomError):
    """Loss or gradients are no longer finite; what was saved before is kept."""


def nearest(got: str, known: Iterable[str]) -> str:
    """Name the known word nearest to a mistyped one, and all of them; a long list only where none is near.

    >>> nearest("laptob", ["tiny", "laptop"])
    "did you mean 'laptop'? Known: laptop, tiny"
    >>> nearest("xyz", ["tiny", "laptop"])
    'known: laptop, tiny'
    """
    names = sorted(known)
    close = get_close_matches(got, names, n=1)
    listed = ", ".join(names)
    if not close:
        return f"known: {listed}"
    return f"did you mean {close[0]!r}?" + (f" Known: {listed}" if len(listed) <= LONGEST_LIST else "")
