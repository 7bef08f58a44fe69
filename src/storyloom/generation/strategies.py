"""Strategies by name and by options: which processors come before a draw; greedy and beam search, which do not draw.

Legend: n rows (one a story), V vocabulary.
"""

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from storyloom.errors import ConfigError, nearest
from storyloom.generation.arguments import real_number, whole_number
from storyloom.generation.sampling import PROCESSORS, penalise_repetition, pick


@dataclass(frozen=True)
class Strategy:
    """How the next token is chosen; with beams, how whole stories are.

    A strategy that draws is a list of processors and then a draw: repetition penalty, temperature, top-k, top-p, min-p,
    each where its option is set. A probability that top-p or min-p compares is what the processors before have left.

    >>> import torch
    >>> Strategy("top-k", top_k=1).choose(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([0.9]))
    tensor([1])
    """

    name: str
    temperature: float | None = None
    """Divides the logits: below 1 sharper, above 1 flatter. None leaves them."""
    top_k: int | None = None
    """Draw among this many of the most likely tokens."""
    top_p: float | None = None
    """Draw among the most likely tokens that reach this probability together."""
    min_p: float | None = None
    """Draw among the tokens at least this many times as likely as the likeliest."""
    beams: int | None = None
    """How many beginnings a beam search follows at once."""
    length_penalty: float | None = None
    """A beam search ranks stories by log-probability / tokens ** this. 0 favours short ones, 1 compares means."""
    repetition_penalty: float = 1.0
    """Divides the positive logits of tokens that the story already holds, multiplies the negative ones. 1 is none."""

    def __post_init__(self) -> None:
        for option, (is_possible, limit) in _LIMITS.items():
            value = getattr(self, option)
            if value is None:
                continue
            number = whole_number(option, value) if option in _WHOLE else real_number(option, value)
            if not is_possible(number):
                shown = f"{number:g}" if isinstance(number, float) else number
                raise ConfigError(f"{option} = {shown} must be {limit}")
            object.__setattr__(self, option, number)  # a plain number, whatever kind of number was given
        if (self.name == "beam") != (self.beams is not None):
            raise ConfigError(
                f"a Strategy {self.name!r} with beams = {self.beams}: the strategy beam needs them, and no other takes "
                "them; make_strategy fills in what is left out"
            )
        for option in PROCESSORS:
            if getattr(self, option) is not None:
                self.check_takes(option, getattr(self, option))

    @property
    def options(self) -> list[str]:
        """The names of the options that it takes, those of all processors where it draws by them.

        A class with a `choose` of its own takes the options that it sets itself.
        """
        taken = {option for option, value in vars(self).items() if value is not None} - {"name"}
        if self.is_greedy or self.beams is not None:
            taken -= PROCESSORS.keys()
        elif type(self).choose is Strategy.choose:
            taken |= PROCESSORS.keys()
        return [option for option in vars(self) if option in taken]

    def check_takes(self, option: str, value: Any) -> None:
        """Raises `ConfigError` where an option contradicts the strategy."""
        if option not in self.options:
            raise ConfigError(
                f"{option} = {value} contradicts the strategy {self.name}, which takes {', '.join(self.options)}: "
                "leave it out, or choose another strategy"
            )

    @property
    def is_greedy(self) -> bool:
        """Whether each token is the likeliest one."""
        return self.name == "greedy"

    @property
    def most_stories(self) -> int | None:
        """How many different stories it can tell; None where chance sets no limit."""
        return 1 if self.is_greedy else self.beams

    def choose(self, logits: Tensor, uniforms: Tensor, seen: Tensor | None = None) -> Tensor:
        """The next token of each row.

        Args:
            logits: (n, V).
            uniforms: (n,), each in [0, 1).
            seen: bool (n, V), the tokens that each row holds; needed for a repetition penalty only.

        Returns:
            int64 (n,).
        """
        assert self.beams is None, "a beam search chooses among whole stories: see beam_search"
        logits = self.penalise(logits, seen)
        if self.is_greedy:
            return logits.argmax(dim=-1)
        for option, process in PROCESSORS.items():
            value = getattr(self, option)
            if value is not None:
                logits = process(logits, value)
        return pick(logits, uniforms)

    def penalise(self, logits: Tensor, seen: Tensor | None) -> Tensor:
        """The logits as the repetition penalty leaves them, (n, V)."""
        if self.repetition_penalty == 1:
            return logits
        assert seen is not None, "a repetition penalty needs the tokens that were seen"
        return penalise_repetition(logits, seen, self.repetition_penalty)


_WHOLE = ("top_k", "beams")  # the options that count something
# What each option may be, and how to say so.
_LIMITS: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (
        lambda value: 0 < value < math.inf,
        "above 0 and finite: 1 leaves the model's own chances, greedy takes none",
    ),
    "top_k": (lambda value: value >= 1, "at least 1, the number of tokens to draw among"),
    "top_p": (lambda value: 0 < value <= 1, "above 0 and at most 1, a probability"),
    "min_p": (lambda value: 0 < value <= 1, "above 0 and at most 1, a share of the largest probability"),
    "beams": (lambda value: value >= 1, "at least 1, the number of beginnings to follow"),
    "length_penalty": (lambda value: 0 <= value <= 10, "from 0, which ranks by log-probability alone, to 10"),
    "repetition_penalty": (lambda value: 0 < value < math.inf, "above 0 and finite; 1 is none"),
}

# Shortcuts for common lists of processors: each strategy with its defaults.
STRATEGIES: dict[str, Strategy] = {
    "greedy": Strategy("greedy"),
    "multinomial": Strategy("multinomial"),
    "temperature": Strategy("temperature", temperature=0.8),
    "top-k": Strategy("top-k", temperature=0.7, top_k=50),
    "top-p": Strategy("top-p", temperature=0.8, top_p=0.95),
    "min-p": Strategy("min-p", temperature=1.0, min_p=0.1),
    "beam": Strategy("beam", beams=4, length_penalty=1.0),
}
_DEFAULT = "top-p"
_FILTERS = {"top_k": "top-k", "top_p": "top-p", "min_p": "min-p"}  # each alone means its strategy


def make_strategy(name: str | None = None, **options: Any) -> Strategy:
    """A strategy by its name, with options added to its defaults or in their place.

    Without a name `beams` or `length_penalty` mean `beam`, and one of `top_k`, `top_p` and `min_p` means its own
    strategy. Several of those three are applied together, at temperature 0.8 unless one is given, and nothing else is.
    Without any of these it is `top-p`.

    Args:
        name: a key of `STRATEGIES`, or None.
        options: the fields of `Strategy`; None counts as not given.

    Raises:
        ConfigError: the name or an option is unknown, an option contradicts the strategy, or is out of range.

    >>> make_strategy(top_k=5) == Strategy("top-k", temperature=0.7, top_k=5)
    True
    >>> make_strategy(top_k=5, top_p=0.9) == Strategy("top-k+top-p", temperature=0.8, top_k=5, top_p=0.9)
    True
    >>> make_strategy("top-k", top_p=0.9) == Strategy("top-k", temperature=0.7, top_k=50, top_p=0.9)
    True
    """
    given = {option: value for option, value in options.items() if value is not None}
    base = _base(name, given)
    known = vars(base).keys() - {"name"}
    for option, value in given.items():
        if option not in known:
            raise ConfigError(f"unknown option {option!r} of a strategy: {nearest(option, known)}")
        base.check_takes(option, value)
    return replace(base, **given)


def _base(name: Any, given: Mapping[str, Any]) -> Strategy:
    """The strategy that is named, or else meant by the options given."""
    if name is None:
        filters = [meant for option, meant in _FILTERS.items() if option in given]
        if given.keys() & {"beams", "length_penalty"}:
            name = "beam"
        elif len(filters) > 1:
            return Strategy("+".join(filters), temperature=STRATEGIES[_DEFAULT].temperature)
        else:
            name = filters[0] if filters else _DEFAULT
    if not isinstance(name, str):
        raise ConfigError(f"strategy = {reprlib.repr(name)} must be a Strategy or its name: {', '.join(STRATEGIES)}")
    if name not in STRATEGIES:
        raise ConfigError(f"unknown strategy {name!r}: {nearest(name, STRATEGIES)}")
    return STRATEGIES[name]
