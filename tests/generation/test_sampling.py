"""Processors and draws against exact probabilities."""

import math

import pytest
import torch
from torch import Tensor

from storyloom.generation import STRATEGIES, Strategy, make_strategy
from storyloom.generation.sampling import keep_min_p, keep_top_k, keep_top_p, pick

DRAWS = 20_011
LOGITS = [1.5, -0.3, 0.2, 2.1, -1.7, 0.9, -4.0, 0.0, 1.1, -0.8, 0.5]
# Chi-squared exceeds these with probability 0.001, by degrees of freedom: NIST/SEMATECH e-Handbook of Statistical
# Methods, 1.3.6.7.4, https://www.itl.nist.gov/div898/handbook/eda/section3/eda3674.htm
CRITICAL = {
    1: 10.828,
    2: 13.816,
    3: 16.266,
    4: 18.467,
    5: 20.515,
    6: 22.458,
    7: 24.322,
    8: 26.125,
    9: 27.877,
    10: 29.588,
}


def uniforms(n: int, seed: int = 5) -> Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def softmax(values: dict[int, float], temperature: float = 1.0) -> dict[int, float]:
    """Exact probabilities of the tokens that are left, in plain Python."""
    powers = {token: math.exp(value / temperature) for token, value in values.items()}
    return {token: power / sum(powers.values()) for token, power in powers.items()}


def top(count: int) -> dict[int, float]:
    """The largest logits, by token."""
    return dict(sorted(enumerate(LOGITS), key=lambda pair: -pair[1])[:count])


EXPECTED = {
    "multinomial": (Strategy("multinomial"), softmax(top(11))),
    "cold": (Strategy("temperature", temperature=0.7), softmax(top(11), 0.7)),
    "hot": (Strategy("temperature", temperature=1.9), softmax(top(11), 1.9)),
    "top-k": (Strategy("top-k", temperature=0.7, top_k=5), softmax(top(5), 0.7)),
    # at temperature 0.8 the probabilities are 0.427, 0.202, 0.122, 0.095, ...: the fourth crosses 0.8
    "top-p": (Strategy("top-p", temperature=0.8, top_p=0.8), softmax(top(4), 0.8)),
    # at temperature 0.9 the chances over the largest are 1, 0.51, 0.33, 0.26, 0.17, 0.12, ...
    "min-p": (Strategy("min-p", temperature=0.9, min_p=0.15), softmax(top(5), 0.9)),
}
# Tokens that the story holds, and the logits that a penalty of 1.6 leaves: 2.1 / 1.6, -0.3 x 1.6, 1.1 / 1.6, 0 x 1.6.
SEEN = [1, 3, 7, 8]
PENALISED = {**dict(enumerate(LOGITS)), 1: -0.48, 3: 1.3125, 7: 0.0, 8: 0.6875}
BEST_PENALISED = {0: 1.5, 3: 1.3125, 5: 0.9, 8: 0.6875}
WITH_PENALTY = {
    "multinomial": (Strategy("multinomial", repetition_penalty=1.6), softmax(PENALISED)),
    "hot": (Strategy("temperature", temperature=1.9, repetition_penalty=1.6), softmax(PENALISED, 1.9)),
    "top-k": (Strategy("top-k", temperature=0.7, top_k=4, repetition_penalty=1.6), softmax(BEST_PENALISED, 0.7)),
    # the chances over the largest: 1, 0.83, 0.55, 0.44, 0.37 (token 10), 0.27, ...
    "min-p": (Strategy("min-p", min_p=0.4, repetition_penalty=1.6), softmax(BEST_PENALISED)),
    # at temperature 0.5 the probabilities are 0.406, 0.279, 0.122, 0.080, ...: the fourth crosses 0.85
    "top-p": (Strategy("top-p", temperature=0.5, top_p=0.85, repetition_penalty=1.6), softmax(BEST_PENALISED, 0.5)),
}


def check_draws(tokens: Tensor, exact: dict[int, float]) -> None:
    """Nothing but these tokens, as often as chi-squared allows."""
    counts = tokens.bincount(minlength=len(LOGITS)).tolist()
    assert sum(counts[token] for token in exact) == DRAWS
    statistic = sum((counts[token] - DRAWS * p) ** 2 / (DRAWS * p) for token, p in exact.items())
    assert statistic < CRITICAL[len(exact) - 1]


@pytest.mark.parametrize("name", EXPECTED)
def test_draws_follow_the_exact_probabilities(name: str) -> None:
    strategy, exact = EXPECTED[name]
    check_draws(strategy.choose(torch.tensor([LOGITS]).expand(DRAWS, -1), uniforms(DRAWS)), exact)


@pytest.mark.parametrize("name", WITH_PENALTY)
def test_draws_follow_the_exact_probabilities_with_a_repetition_penalty(name: str) -> None:
    strategy, exact = WITH_PENALTY[name]
    seen = torch.zeros(DRAWS, len(LOGITS), dtype=torch.bool)
    seen[:, SEEN] = True
    check_draws(strategy.choose(torch.tensor([LOGITS]).expand(DRAWS, -1), uniforms(DRAWS), seen), exact)


def test_the_statistic_would_notice() -> None:
    """The draws of one temperature against the probabilities of another that is a little off."""
    tokens = Strategy("temperature", temperature=0.7).choose(torch.tensor([LOGITS]).expand(DRAWS, -1), uniforms(DRAWS))
    counts, wrong = tokens.bincount(minlength=11).tolist(), softmax(top(11), 0.75)
    assert sum((counts[token] - DRAWS * p) ** 2 / (DRAWS * p) for token, p in wrong.items()) > CRITICAL[10]


def test_the_comments_hold() -> None:
    chances = list(softmax(top(11), 0.8).values())
    assert sum(chances[:3]) < 0.8 < sum(chances[:4])
    chances = list(softmax(top(11), 0.9).values())
    assert chances[4] / chances[0] > 0.15 > chances[5] / chances[0]
    chances = sorted(softmax(PENALISED).values(), reverse=True)
    assert chances[3] / chances[0] > 0.4 > chances[4] / chances[0]
    chances = sorted(softmax(PENALISED, 0.5).values(), reverse=True)
    assert sum(chances[:3]) < 0.85 < sum(chances[:4])


@pytest.mark.parametrize(
    "strategy",
    [
        Strategy("top-k", top_k=1),
        Strategy("top-k", temperature=1.9, top_k=1),
        Strategy("top-p", top_p=1e-9),
        Strategy("temperature", temperature=1e-3),
        Strategy("temperature", temperature=1e-39),
        Strategy("temperature", temperature=1e-300),
    ],
)
def test_without_room_for_chance_every_strategy_is_greedy(strategy: Strategy) -> None:
    """Caught: logits over a temperature below 1e-38 were infinite, and the token drawn was V, which does not exist."""
    logits = torch.randn(211, 53, generator=torch.Generator().manual_seed(3)) * 7
    greedy = make_strategy("greedy").choose(logits, uniforms(211))
    assert torch.equal(greedy, logits.argmax(-1))
    assert torch.equal(strategy.choose(logits, uniforms(211)), greedy)


def test_greedy_and_tiny_top_p_take_the_first_of_equal_tokens() -> None:
    """Caught: an unstable sort made top-p take any of them."""
    logits = torch.zeros(3, 4099)
    for name, options in (("greedy", {}), ("top-p", {"top_p": 1e-9})):
        assert make_strategy(name, **options).choose(logits, uniforms(3)).tolist() == [0, 0, 0]


def test_keep_top_k_keeps_k_also_of_equal_ones() -> None:
    kept = keep_top_k(torch.tensor([[0.0, 2.0, 1.0, 2.0, 1.0], [3.0, 3.0, 3.0, 3.0, 3.0]]), 3)
    assert torch.isfinite(kept).sum(-1).tolist() == [3, 3]
    assert kept[0, [1, 3]].tolist() == [2.0, 2.0]
    assert kept[0, 0] == -math.inf


def test_keep_top_k_beyond_the_vocabulary_keeps_all() -> None:
    logits = torch.tensor([LOGITS])
    assert torch.equal(keep_top_k(logits, 12), logits)


@pytest.mark.parametrize(
    ("p", "kept"),
    [
        (0.01, [3]),
        (0.49, [3]),
        (0.51, [3, 1]),
        (0.74, [3, 1]),
        (0.76, [3, 1, 0]),
        (0.88, [3, 1, 0, 2]),
        (1.0, [3, 1, 0, 2]),
    ],
)
def test_keep_top_p_keeps_the_token_that_crosses(p: float, kept: list[int]) -> None:
    """Of probabilities 1/8, 1/4, 1/8, 1/2 in this order."""
    logits = torch.tensor([[1 / 8, 1 / 4, 1 / 8, 1 / 2]]).log()
    result = keep_top_p(logits, p)
    assert torch.isfinite(result)[0].nonzero().flatten().tolist() == sorted(kept)
    assert torch.equal(result[0, kept], logits[0, kept])


def test_keep_top_p_treats_each_row_for_itself() -> None:
    logits = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]]).log()
    assert torch.isfinite(keep_top_p(logits, 0.8)).tolist() == [[True, True, False], [False, True, True]]


def test_top_p_of_1_keeps_all() -> None:
    """Caught: rounding made the tokens before an unlikely one add up to 1, and it was dropped."""
    assert torch.isfinite(keep_top_p(torch.tensor([[0.0, -50.0]]), 1.0)).all()


def slow_top_p(logits: Tensor, p: float) -> list[bool]:
    """Token by token, the likeliest first and of equal ones the first, until p is reached."""
    chances = (logits.double() - logits.double().logsumexp(-1)).exp().tolist()
    kept, reached = [False] * len(chances), 0.0
    for token in sorted(range(len(chances)), key=lambda token: (-float(logits[token]), token)):
        if reached >= p:
            break
        kept[token] = True
        reached += chances[token]
    return kept


DICE = torch.Generator().manual_seed(7)
HARD = {
    "flat": torch.zeros(1, 4099),
    "two levels": torch.tensor([[0.0] * 1021 + [1.0] * 61 + [0.0] * 3017]),
    "ties across the preselection": torch.randint(5, (3, 4099), generator=DICE) * 1.0,
    "ties at its edge": torch.cat([torch.full((1, 1021), 2.0), torch.full((1, 7), 1.0), torch.zeros(1, 2003)], 1),
    "nearly flat": torch.randn(3, 4099, generator=DICE) * 0.01,
    "peaked": torch.randn(3, 4099, generator=DICE) * 5,
    "one row of each": torch.stack([torch.zeros(4099), torch.randn(4099, generator=DICE) * 9]),
    "just the preselection": torch.randn(2, 1024, generator=DICE),
    "one more": torch.zeros(2, 1025),
    "small": torch.randint(3, (5, 13), generator=DICE) * 1.0,
    "mostly hidden": torch.full((1, 4099), -math.inf).index_fill(1, torch.tensor([11, 4001]), 0.5),
}


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.249, 0.5, 0.901, 0.9987, 1 - 2**-40])
@pytest.mark.parametrize("name", HARD)
def test_keep_top_p_equals_the_slow_definition(name: str, p: float) -> None:
    """The preselection must not show: ties go to the first tokens, flat distributions need the full sort."""
    logits = HARD[name].double()
    result = keep_top_p(logits, p)
    visible = torch.isfinite(logits)
    assert (torch.isfinite(result) == visible & torch.tensor([slow_top_p(row, p) for row in logits])).all()
    assert torch.equal(result, logits.where(torch.isfinite(result), -math.inf))


@pytest.mark.parametrize("seed", range(7))
def test_a_top_p_that_rounding_never_reaches_keeps_nearly_all(seed: int) -> None:
    """In float32 the probabilities of many tokens add up to a little less or more than 1."""
    logits = torch.randn(3, 4099, generator=torch.Generator().manual_seed(seed))
    kept = torch.isfinite(keep_top_p(logits, 1 - 2**-53))
    assert (logits.double().softmax(-1) * kept).sum(-1).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


@pytest.mark.parametrize(("min_p", "kept"), [(1.0, [3]), (0.51, [3]), (0.49, [1, 3]), (0.24, [0, 1, 2, 3])])
def test_keep_min_p_by_hand(min_p: float, kept: list[int]) -> None:
    """Of probabilities 1/8, 1/4, 1/8, 1/2 in this order: 1/4, 1/2, 1/4 and 1 of the largest."""
    logits = torch.tensor([[1 / 8, 1 / 4, 1 / 8, 1 / 2], [1 / 2, 1 / 8, 1 / 4, 1 / 8]]).log()
    result = keep_min_p(logits, min_p)
    assert torch.isfinite(result)[0].nonzero().flatten().tolist() == kept
    assert torch.isfinite(result[1]).sum() == len(kept)
    assert torch.equal(result[0, kept], logits[0, kept])


def test_keep_min_p_of_1_keeps_all_of_the_largest() -> None:
    assert torch.isfinite(keep_min_p(torch.tensor([[1.0, 2.0, 2.0, -5.0]]), 1.0)).tolist() == [
        [False, True, True, False]
    ]


@pytest.mark.parametrize("penalty", [1e-308, 1e308])
@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"beam"}))
def test_no_penalty_is_too_extreme(name: str, penalty: float) -> None:
    """An infinite logit makes nan of a softmax, and of the token drawn one that does not exist."""
    logits, seen = torch.tensor([[3.0, 0.0, -2.0, 7.0, -50.0]]), torch.tensor([[True, True, True, False, True]])
    token = make_strategy(name, repetition_penalty=penalty).choose(logits, uniforms(1), seen)
    assert token.item() == (0 if penalty < 1 else 3)


def test_pick_inverts_the_distribution_function() -> None:
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log().expand(7, -1)
    places = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71, 0.99, 1 - 2**-53], dtype=torch.double)
    assert pick(logits, places).tolist() == [0, 0, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("u", [0.0, 2.0**-53, 0.5, 1 - 2.0**-53])
def test_pick_never_draws_a_token_at_minus_infinity(u: float) -> None:
    dice = torch.Generator().manual_seed(7)
    logits = torch.randn(2003, 53, generator=dice) * 5
    hidden = torch.rand(2003, 53, generator=dice) < 0.9
    hidden[:, [0, 52]] = True  # the first and the last are what rounding would hit
    hidden[:, 29] = False
    tokens = pick(logits.masked_fill(hidden, -math.inf), torch.full((2003,), u, dtype=torch.double))
    assert not hidden.gather(1, tokens.unsqueeze(1)).any()


def test_pick_draws_the_first_and_last_token_that_is_left() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]]).expand(2, -1)
    assert pick(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.double)).tolist() == [1, 3]


def test_choosing_leaves_the_logits_alone() -> None:
    logits = torch.tensor([LOGITS])
    for name in set(STRATEGIES) - {"beam"}:
        seen = torch.ones(1, 11, dtype=torch.bool)
        make_strategy(name, repetition_penalty=1.3).choose(logits, uniforms(1), seen)
    assert logits.tolist()[0] == pytest.approx(LOGITS)
