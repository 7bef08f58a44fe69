"""Decoding equals full forwards over the right window, leaves model and caller alone, and keeps stories apart."""

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
import torch

from storyloom.generation import Strategy, make_strategy
from storyloom.generation.decoding import Decoding, Drawn, decode, first_window, telling
from storyloom.model import GPT

POSITIONS = pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope"])
EOT = 52


def draw_ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(EOT, (rows, length), generator=torch.Generator().manual_seed(7))


def start(model: GPT, **changes: object) -> Iterator[list[Drawn]]:
    """Tell on from three tokens by plain chance."""
    options = {"eot": EOT, "max_new_tokens": 31, "num_stories": 1, "seed": 5, **changes}
    return decode(model, [EOT, 3, 5], make_strategy("multinomial"), **options)


def stories_of(steps: Iterator[list[Drawn]], count: int, eot: int = EOT) -> list[list[int]]:
    """The tokens of each story, without its end-of-text."""
    stories: list[list[int]] = [[] for _ in range(count)]
    for drawn in itertools.chain.from_iterable(steps):
        if drawn.token != eot:
            stories[drawn.story].append(drawn.token)
    return stories


@torch.no_grad()
@POSITIONS
@pytest.mark.parametrize("prompt", [1, 7, 22, 23, 24, 29, 61])
@pytest.mark.parametrize(("block", "half"), [(23, 11), (14, 7), (3, 1), (2, 1)])
def test_logits_equal_the_full_forward_over_the_window(
    position: str, prompt: int, block: int, half: int, make_model: Callable
) -> None:
    """The window grows to the block; the token that does not fit leaves the last half of it, which grows again."""
    model = make_model(vocab_size=53, block_size=block, position=position, qk_norm=True, n_kv_head=1)
    ids = draw_ids(3, prompt + 2 * block)
    decoding = Decoding(model, ids[:, :prompt])
    first = 0 if prompt <= block else prompt - half
    for end in range(prompt, ids.size(1) + 1):
        if end > prompt:
            decoding.step(ids[:, end - 1])
        if end - first > block:
            first = end - half
        torch.testing.assert_close(decoding.logits, model(ids[:, first:end])[:, -1], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_rows_can_be_kept_in_another_order_while_telling(make_model: Callable) -> None:
    """Of 39 tokens in a block of 23: the 24th leaves a window from 13 on, the 37th one from 26 on."""
    model, ids = make_model(vocab_size=53, block_size=23), draw_ids(5, 39)
    decoding, rows = Decoding(model, ids[:, :7]), torch.tensor([4, 1, 4])
    decoding.keep(rows)
    torch.testing.assert_close(decoding.logits, model(ids[rows, :7])[:, -1], rtol=1e-9, atol=1e-9)
    for place in range(7, 39):
        decoding.step(ids[rows, place])
    torch.testing.assert_close(decoding.logits, model(ids[rows, 26:])[:, -1], rtol=1e-9, atol=1e-9)


def penalised(model: GPT, ids: list[int], window: list[int], penalty: float) -> list[float]:
    """The logits after a window, where all of `ids` but the end-of-text count as seen; in plain Python."""
    seen = set(ids) - {EOT}
    logits = model(torch.tensor([window]))[0, -1].tolist()
    return [
        (value / penalty if value > 0 else value * penalty) if token in seen else value
        for token, value in enumerate(logits)
    ]


@torch.no_grad()
@pytest.mark.parametrize("penalty", [0.6, 1.4, 3.0])
@pytest.mark.parametrize("prompt", [[EOT, 43, 5, 43], [EOT, 2, 46, 10, 28, 45, 32, 43]])
def test_a_repetition_penalty_remembers_more_than_the_window(
    prompt: list[int], penalty: float, make_model: Callable
) -> None:
    """Greedy, by one full forward a token: windows of 5 tokens at most, but all of the story is held against it."""
    model, ids, first, told = make_model(vocab_size=53, block_size=5), list(prompt), 0, []
    for _ in range(31):
        first = len(ids) - 2 if len(ids) - first > 5 else first
        logits = penalised(model, ids, ids[first:], penalty)
        told.append(max(range(53), key=logits.__getitem__))
        ids.append(told[-1])
    expected = list(itertools.takewhile(lambda token: token != EOT, told))
    strategy = make_strategy("greedy", repetition_penalty=penalty)
    steps = decode(model, prompt, strategy, eot=EOT, max_new_tokens=31, num_stories=1, seed=5)
    assert stories_of(steps, 1) == [expected]
    assert len(expected) > 11


def test_under_a_huge_penalty_no_story_says_a_token_twice(make_model: Callable) -> None:
    """Each row holds its own tokens against itself, also after another one has ended and across windows."""
    model = make_model(vocab_size=53, block_size=5)
    biased = torch.nn.Linear(28, 53, dtype=torch.double)
    with torch.no_grad():
        biased.weight.copy_(model.head.weight)
        biased.bias.fill_(-1e4)  # all logits are negative, so that a penalised one is out of reach
    model.head, strategy = biased, make_strategy("multinomial", repetition_penalty=1e9)
    steps = decode(model, [EOT, 3, 5], strategy, eot=EOT, max_new_tokens=43, num_stories=11, seed=5)
    stories = stories_of(steps, 11)
    assert len({len(story) for story in stories}) > 3
    for story in stories:
        assert len({3, 5, *story}) == 2 + len(story)


@torch.no_grad()
def test_stories_begin_as_often_as_the_exact_probabilities_say(make_model: Callable) -> None:
    """Chi-squared with 7 tokens, 6 degrees of freedom: above 22.458 with probability 0.001.

    The end-of-text stands before the prompt and is not held against itself: if it were, the statistic would notice.
    """
    model, eot, count = make_model(vocab_size=7, block_size=23), 6, 5003
    strategy = make_strategy("multinomial", repetition_penalty=2.3)
    steps = decode(model, [eot, 0, 4], strategy, eot=eot, max_new_tokens=1, num_stories=count, seed=11)
    told = stories_of(steps, count, eot)
    counts = [sum(story == [token] for story in told) for token in range(6)] + [told.count([])]

    def statistic(seen: set[int]) -> float:
        logits = model(torch.tensor([[eot, 0, 4]]))[0, -1].tolist()
        for token in seen:
            logits[token] = logits[token] / 2.3 if logits[token] > 0 else logits[token] * 2.3
        total = sum(math.exp(value) for value in logits)
        expected = [count * math.exp(value) / total for value in logits]
        return sum((n - e) ** 2 / e for n, e in zip(counts, expected, strict=True))

    assert statistic({0, 4}) < 22.458
    assert min(statistic(wrong) for wrong in ({0, 4, 6}, {0}, {4}, set[int]())) > 22.458


def test_dropout_is_off_while_telling_and_the_mode_comes_back(make_model: Callable) -> None:
    """Found elsewhere: three of five kits told their stories with dropout still on."""
    model = make_model(vocab_size=53, block_size=23, dropout=0.5)
    expected = stories_of(start(model), 1)
    model.train()
    assert stories_of(start(model), 1) == stories_of(start(model), 1) == expected
    assert all(module.training for module in model.modules())


def test_an_abandoned_story_leaves_model_and_caller_alone(make_model: Callable) -> None:
    """Caught: between two tokens the caller ran in inference mode, where nothing can be trained."""
    model = make_model(vocab_size=53, block_size=23, dropout=0.5).train()
    steps = start(model)
    next(steps)
    assert model.training
    assert not torch.is_inference_mode_enabled()
    model.nats(draw_ids(2, 7), draw_ids(2, 7)).backward()
    del steps
    assert model.training
    assert torch.is_grad_enabled()


def test_two_tellers_can_take_turns(make_model: Callable) -> None:
    """Caught: the one that ended last left inference mode on for good."""
    model = make_model(vocab_size=53, block_size=23)
    turns = zip(start(model, seed=5), start(model, seed=6), strict=False)
    one, other = (list(steps) for steps in zip(*turns, strict=True))
    assert not torch.is_inference_mode_enabled()
    assert one == list(start(model, seed=5))[: len(one)]
    assert other == list(start(model, seed=6))[: len(other)]


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_comes_back_after_an_error(training: bool, make_model: Callable) -> None:
    model = make_model(vocab_size=53, block_size=23).train(training)
    seen = []

    def fail() -> None:
        with telling(model):
            seen.append(model.training)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [False]
    assert model.training is training


@pytest.mark.parametrize("block", [23, 5])
def test_a_story_does_not_depend_on_how_many_are_told(block: int, make_model: Callable) -> None:
    model = make_model(vocab_size=53, block_size=block)
    seven = stories_of(start(model, num_stories=7), 7)
    assert stories_of(start(model, num_stories=1), 1) == seven[:1]
    assert stories_of(start(model, num_stories=3), 3) == seven[:3]
    assert len({tuple(story) for story in seven}) == 7


def test_a_story_ends_before_its_end_of_text(make_model: Callable) -> None:
    """The token itself is the last one that is given out, and the other stories go on."""
    model = make_model(vocab_size=53, block_size=23)
    endless = stories_of(start(model, num_stories=7, eot=-1), 7, -1)
    assert all(len(story) == 31 for story in endless)
    ends = endless[2][4]  # call the token that story 2 has at place 4 the end of text
    expected = [list(itertools.takewhile(lambda token: token != ends, story)) for story in endless]
    assert len({len(story) for story in expected}) > 1
    assert stories_of(start(model, num_stories=7, eot=ends), 7, ends) == expected
    given = stories_of(start(model, num_stories=7, eot=ends), 7, -1)
    assert given == [story if len(story) == 31 else [*story, ends] for story in expected]


def test_telling_stops_once_all_have_ended(make_model: Callable) -> None:
    model = make_model(vocab_size=53, block_size=23)
    always = Strategy("top-k", top_k=1)
    ends = int(model(torch.tensor([[EOT, 3, 5]]))[0, -1].argmax())
    steps = list(decode(model, [EOT, 3, 5], always, eot=ends, max_new_tokens=31, num_stories=3, seed=0))
    assert [[(drawn.story, drawn.token) for drawn in told] for told in steps] == [[(0, ends), (1, ends), (2, ends)]]


@pytest.mark.parametrize("most", [1, 2, 29])
def test_at_most_max_new_tokens_and_no_needless_step(
    most: int, make_model: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(vocab_size=53, block_size=61)
    forwards = []
    model.register_forward_hook(lambda *_: forwards.append(1))
    assert len(stories_of(start(model, max_new_tokens=most, eot=-1), 1, -1)[0]) == most
    assert len(forwards) == most - 1  # the first token comes from the prefill


def test_the_same_seed_tells_the_same_and_another_another(make_model: Callable) -> None:
    """Caught: PyTorch's generator looks at 32 bits of a seed, so that 5 and 5 + 2^32 told the same story."""
    model = make_model(vocab_size=53, block_size=23)
    told = {seed: stories_of(start(model, seed=seed), 1)[0] for seed in (0, 1, 5, 5 + 2**32, 2**63 - 1, -1)}
    assert len({tuple(story) for story in told.values()}) == len(told)
    for seed, story in told.items():
        torch.manual_seed(seed % 7)  # nor does the global generator matter
        assert stories_of(start(model, seed=seed), 1)[0] == story


def test_telling_leaves_the_global_generator_alone(make_model: Callable) -> None:
    model = make_model(vocab_size=53, block_size=23, dropout=0.5).train()
    before = torch.get_rng_state()
    list(start(model, num_stories=3))
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
@pytest.mark.parametrize(("block", "half"), [(23, 11), (5, 2)])
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.3, "top_k": 3, "repetition_penalty": 2.0}], ids=["plain", "filtered"]
)
def test_log_probabilities_are_the_models_own(
    options: dict[str, float], block: int, half: int, make_model: Callable
) -> None:
    """Whatever the strategy made of them: by one full forward a token, over the window that the story had."""
    model, prompt = make_model(vocab_size=53, block_size=block), [EOT, 3, 5]
    strategy = make_strategy("temperature", **options)
    steps = decode(model, prompt, strategy, eot=EOT, max_new_tokens=29, num_stories=3, seed=5)
    stories: list[list[Drawn]] = [[], [], []]
    for drawn in itertools.chain.from_iterable(steps):
        stories[drawn.story].append(drawn)
    for story in stories:
        ids, first = list(prompt), 0
        for drawn in story:
            first = len(ids) - half if len(ids) - first > block else first
            expected = model(torch.tensor([ids[first:]]))[0, -1].log_softmax(-1)[drawn.token]
            assert drawn.log_probability == pytest.approx(float(expected), abs=1e-9)
            ids.append(drawn.token)


@pytest.mark.parametrize("prompt", [1, 5, 22, 23, 24, 61])
def test_the_first_window_is_what_the_prefill_sees(prompt: int, make_model: Callable) -> None:
    """What is said to be dropped is what makes no difference; one token more does."""
    model, ids = make_model(vocab_size=53, block_size=23), draw_ids(1, prompt)
    used = first_window(prompt, 23)
    with telling(model):
        logits = Decoding(model, ids).logits
        for kept in range(max(0, prompt - used - 1), prompt - used + 1):
            changed = ids.clone()
            changed[0, kept] = (changed[0, kept] + 1) % EOT
            is_same = torch.equal(Decoding(model, changed).logits, logits)
            assert is_same == (kept < prompt - used)
