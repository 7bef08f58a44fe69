"""Strategies by name and by options: defaults, what combines and what contradicts."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from storyloom.errors import ConfigError
from storyloom.generation import STRATEGIES, Strategy, make_strategy


def test_defaults_and_options() -> None:
    assert make_strategy() == Strategy("top-p", temperature=0.8, top_p=0.95)
    assert make_strategy(top_k=7) == Strategy("top-k", temperature=0.7, top_k=7)
    assert make_strategy(temperature=0.5, top_p=None) == Strategy("top-p", temperature=0.5, top_p=0.95)
    assert make_strategy("temperature", temperature=1.3) == Strategy("temperature", temperature=1.3)
    assert make_strategy(min_p=0.2) == Strategy("min-p", temperature=1.0, min_p=0.2)
    assert make_strategy(top_p=0.5) == Strategy("top-p", temperature=0.8, top_p=0.5)
    assert make_strategy(beams=7) == Strategy("beam", beams=7, length_penalty=1.0)
    assert make_strategy(length_penalty=0) == Strategy("beam", beams=4, length_penalty=0)
    assert make_strategy("beam").most_stories == 4
    assert make_strategy(length_penalty=0.3, beams=3) == Strategy("beam", beams=3, length_penalty=0.3)
    # filters combine: of several the given ones alone, of a named strategy its defaults as well
    assert make_strategy(top_k=7, min_p=0.1) == Strategy("top-k+min-p", temperature=0.8, top_k=7, min_p=0.1)
    assert make_strategy(top_p=0.5, top_k=7, temperature=1.1) == Strategy(
        "top-k+top-p", temperature=1.1, top_k=7, top_p=0.5
    )
    assert make_strategy("top-k", top_p=0.5) == Strategy("top-k", temperature=0.7, top_k=50, top_p=0.5)
    assert make_strategy("multinomial", temperature=2) == Strategy("multinomial", temperature=2.0)
    assert make_strategy("temperature", min_p=0.2) == Strategy("temperature", temperature=0.8, min_p=0.2)
    for name in STRATEGIES:
        assert make_strategy(name, repetition_penalty=1.3).repetition_penalty == 1.3
    assert all(make_strategy(name) == strategy for name, strategy in STRATEGIES.items())


ERRORS = [
    ("top-q", {}, r"^unknown strategy 'top-q': did you mean 'top-p'\? Known: beam, greedy, min-p, "),
    ("gredy", {}, r"^unknown strategy 'gredy': did you mean 'greedy'\?"),
    ("xyz", {}, r"^unknown strategy 'xyz': known: beam, greedy, min-p, multinomial, temperature, top-k, top-p$"),
    (None, {"topk": 5}, r"^unknown option 'topk' of a strategy: did you mean 'top_k'\? Known: beams, length_penalty, "),
    ("greedy", {"temperature": 0.5}, r"^temperature = 0.5 contradicts the strategy greedy, which takes repetition_pen"),
    ("greedy", {"top_k": 5}, r"^top_k = 5 contradicts the strategy greedy"),
    ("greedy", {"top_p": 0.5}, r"^top_p = 0.5 contradicts the strategy greedy"),
    ("greedy", {"min_p": 0.5}, r"^min_p = 0.5 contradicts the strategy greedy"),
    ("beam", {"temperature": 1.0}, r"^temperature = 1.0 contradicts the strategy beam, which takes beams, length_pena"),
    ("beam", {"top_k": 5}, r"^top_k = 5 contradicts the strategy beam"),
    ("beam", {"top_p": 0.5}, r"^top_p = 0.5 contradicts the strategy beam"),
    ("beam", {"min_p": 0.5}, r"^min_p = 0.5 contradicts the strategy beam"),
    ("top-p", {"beams": 3}, r"^beams = 3 contradicts the strategy top-p"),
    ("min-p", {"length_penalty": 1}, r"^length_penalty = 1 contradicts the strategy min-p"),
    (None, {"beams": 3, "min_p": 0.1}, r"^min_p = 0.1 contradicts the strategy beam"),
    (None, {"top_k": 5, "length_penalty": 0.3}, r"^top_k = 5 contradicts the strategy beam"),
    (None, {"temperature": "x"}, r"^temperature = 'x' must be a number$"),
    (None, {"temperature": True}, r"^temperature = True must be a number$"),
    (None, {"temperature": 10**400}, r"^temperature = inf must be above 0 and finite"),
    (None, {"top_k": -(10**400)}, r"^top_k = -1000"),
    (None, {"top_k": 2.5}, r"^top_k = 2.5 must be a whole number$"),
    (None, {"top_k": "5"}, r"^top_k = '5' must be a whole number$"),
    (None, {"beams": True}, r"^beams = True must be a whole number$"),
    (None, {"repetition_penalty": b"1"}, r"^repetition_penalty = b'1' must be a number$"),
    (3, {}, r"^strategy = 3 must be a Strategy or its name: greedy, multinomial, "),
    (["top-k"], {}, r"^strategy = \['top-k'\] must be a Strategy or its name"),
    (None, {"temperature": 0}, r"^temperature = 0 must be above 0 and finite: 1 leaves .* greedy takes none$"),
    (None, {"temperature": -1.5}, r"^temperature = -1.5 must be above 0"),
    (None, {"temperature": math.nan}, r"^temperature = nan must be above 0"),
    (None, {"temperature": math.inf}, r"^temperature = inf must be above 0 and finite"),
    (None, {"top_k": 0}, r"^top_k = 0 must be at least 1, the number of tokens to draw among$"),
    (None, {"top_p": 0.0}, r"^top_p = 0 must be above 0 and at most 1, a probability$"),
    (None, {"top_p": 1.01}, r"^top_p = 1.01 must be above 0 and at most 1"),
    (None, {"top_p": math.nan}, r"^top_p = nan must be above 0"),
    (None, {"min_p": 0.0}, r"^min_p = 0 must be above 0 and at most 1, a share of the largest probability$"),
    (None, {"min_p": 1.01}, r"^min_p = 1.01 must be above 0 and at most 1"),
    (None, {"min_p": math.nan}, r"^min_p = nan must be above 0"),
    (None, {"beams": 0}, r"^beams = 0 must be at least 1, the number of beginnings to follow$"),
    (None, {"length_penalty": -0.1}, r"^length_penalty = -0.1 must be from 0, which ranks by .* to 10$"),
    (None, {"length_penalty": 10.1}, r"^length_penalty = 10.1 must be from 0"),
    (None, {"length_penalty": math.nan}, r"^length_penalty = nan must be from 0"),
    (None, {"repetition_penalty": 0.0}, r"^repetition_penalty = 0 must be above 0 and finite; 1 is none$"),
    (None, {"repetition_penalty": -1.2}, r"^repetition_penalty = -1.2 must be above 0"),
    (None, {"repetition_penalty": math.inf}, r"^repetition_penalty = inf must be above 0"),
    (None, {"repetition_penalty": math.nan}, r"^repetition_penalty = nan must be above 0"),
]


@pytest.mark.parametrize(("name", "options", "message"), ERRORS)
def test_mistakes_are_named(name: Any, options: dict[str, Any], message: str) -> None:
    """Caught: an option with a typo ended in an AttributeError, one of a wrong type in a TypeError."""
    with pytest.raises(ConfigError, match=message):
        make_strategy(name, **options)


@pytest.mark.parametrize(("name", "beams"), [("beam", None), ("multinomial", 3), ("greedy", 1)])
def test_beams_go_with_the_strategy_beam_and_no_other(name: str, beams: int | None) -> None:
    """A finished Strategy is built without make_strategy's checks."""
    with pytest.raises(ConfigError, match=rf"^a Strategy '{name}' with beams = {beams}: the strategy beam needs them"):
        Strategy(name, beams=beams)


def by_hand(
    logits: list[float], *, seen: list[int], penalty: float, temperature: float, **filters: float
) -> list[float]:
    """The probabilities that are left of one row, in plain Python: penalty, temperature, top-k, top-p, min-p."""
    changed = [
        (value / penalty if value > 0 else value * penalty) if token in seen else value
        for token, value in enumerate(logits)
    ]
    powers = [math.exp((value - max(changed)) / temperature) for value in changed]
    order = sorted(range(len(powers)), key=lambda token: (-powers[token], token))
    if "top_k" in filters:
        order = order[: int(filters["top_k"])]
    if "top_p" in filters:
        total = sum(powers[token] for token in order)
        reached = list(itertools.accumulate(powers[token] / total for token in order))
        order = order[: 1 + sum(value < filters["top_p"] for value in reached[:-1])]
    if "min_p" in filters:
        order = [token for token in order if powers[token] >= filters["min_p"] * powers[order[0]]]
    total = sum(powers[token] for token in order)
    return [powers[token] / total if token in order else 0.0 for token in range(len(powers))]


FILTERS = {"top_k": 6, "top_p": 0.83, "min_p": 0.11}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_all_filters_combine(count: int) -> None:
    """`top_k` beside `top_p` was refused. Each combination against the same by hand; each filter bites in some."""
    dice = torch.Generator().manual_seed(11)
    logits, seen = torch.randn(31, 23, generator=dice).double() * 2, torch.rand(31, 23, generator=dice) < 0.3
    grid = (torch.arange(997, dtype=torch.double) + 0.5) / 997
    kept: dict[tuple[str, ...], list[int]] = {}
    for names in itertools.combinations(FILTERS, count):
        options = {name: FILTERS[name] for name in names} | {"temperature": 0.7, "repetition_penalty": 1.2}
        strategy, kept[names] = make_strategy(**options), []
        for row, held in zip(logits, seen, strict=True):
            tokens = strategy.choose(row.expand(997, -1), grid, held.expand(997, -1))
            found = tokens.bincount(minlength=23).double() / 997
            chosen = {name: FILTERS[name] for name in names}
            exact = by_hand(
                row.tolist(), seen=held.nonzero().flatten().tolist(), penalty=1.2, temperature=0.7, **chosen
            )
            torch.testing.assert_close(found, torch.tensor(exact, dtype=torch.double), rtol=0, atol=2.5 / 997)
            kept[names].append(sum(p > 0 for p in exact))
    assert len({tuple(counts) for counts in kept.values()}) == len(kept)


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"greedy", "beam"}))
def test_a_named_strategy_takes_every_filter(name: str) -> None:
    strategy = make_strategy(name, **FILTERS, temperature=0.7, repetition_penalty=1.2)
    assert strategy == Strategy(name, temperature=0.7, repetition_penalty=1.2, **FILTERS)
    assert strategy.options == ["temperature", "top_k", "top_p", "min_p", "repetition_penalty"]


@pytest.mark.parametrize(("name", "beams"), [("greedy", None), ("beam", 3)])
@pytest.mark.parametrize("option", ["temperature", *FILTERS])
def test_a_finished_strategy_contradicts_nothing_either(name: str, beams: int | None, option: str) -> None:
    """A Strategy that was built by hand ignored what it could not use."""
    with pytest.raises(ConfigError, match=rf"^{option} = 1(\.0)? contradicts the strategy {name}, which takes "):
        Strategy(name, beams=beams, **{option: 1})


def test_numbers_of_all_kinds_are_numbers() -> None:
    """NumPy's and fractions; kept as plain ones, so that a strategy prints and compares as it was meant."""
    strategy = make_strategy(top_k=np.int64(5), top_p=np.float32(0.5), temperature=Fraction(3, 2))
    assert strategy == Strategy("top-k+top-p", temperature=1.5, top_k=5, top_p=0.5)
    assert (type(strategy.top_k), type(strategy.top_p), type(strategy.temperature)) == (int, float, float)
