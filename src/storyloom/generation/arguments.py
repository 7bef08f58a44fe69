"""Checks of arguments: a wrong type or an impossible number ends in one line that names the argument and the value."""

import math
import operator
import reprlib
import secrets
from numbers import Real
from typing import Any

from storyloom.errors import ConfigError, PromptError

SEED_BITS = 32  # of a seed that is drawn: short enough to be copied by hand, and two calls hardly ever share one


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """An `int` from anything that is a whole number to Python (`__index__`), NumPy's integers included.

    Args:
        name: the argument's, for the message.
        value: what was given.
        least: the smallest value allowed; None sets no limit.

    Raises:
        ConfigError: it is of another type (bool, float and str included), or too small.

    >>> whole_number("num_stories", 3, least=1)
    3
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ConfigError(f"{name} = {reprlib.repr(value)} must be a whole number") from None
    if least is not None and number < least:
        raise ConfigError(f"{name} = {number} must be at least {least}")
    return number


def real_number(name: str, value: Any) -> float:
    """A `float` from any real number, NumPy's included; one that is too large becomes infinite.

    Raises:
        ConfigError: it is of another type, bool and str included.

    >>> real_number("temperature", 1)
    1.0
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{name} = {reprlib.repr(value)} must be a number")
    number: Any = value  # Real promises no comparison
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def given_or_drawn_seed(seed: Any) -> int:
    """The seed itself as an `int`; for None one that the operating system draws, from 0 to 2^32 - 1.

    No generator of the process is asked, so that none is moved.

    Raises:
        ConfigError: the seed is neither None nor a whole number.

    >>> given_or_drawn_seed(7)
    7
    """
    return secrets.randbits(SEED_BITS) if seed is None else whole_number("seed", seed)


def checked_prompt(prompt: Any) -> str:
    """The prompt itself. Raises `PromptError` where it is no string."""
    if not isinstance(prompt, str):
        hint = ": decode it first" if isinstance(prompt, bytes) else ': for no prompt give ""'
        raise PromptError(f"prompt = {reprlib.repr(prompt)} must be a string{hint}")
    return prompt
