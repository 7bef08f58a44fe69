"""Words that are too long to learn from: cut in training, whole in encoding; and Ctrl-C while merges are learned."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from storyloom.data.tokenization import BPETokenizer
from storyloom.data.tokenization.background import interruptible
from storyloom.data.tokenization.long_words import LONGEST_WORD, WithoutLongWords

STORIES = [f"The {n}th story tells of {n * n} mice." for n in range(101)]


def cut(*stories: str) -> tuple[list[str], int]:
    texts = WithoutLongWords(stories)
    return list(texts), texts.cut


def test_words_of_the_limit_stay_and_longer_ones_are_cut():
    assert LONGEST_WORD == 256
    word, gap = "ñ" * 256, " " * 256
    whole = [word, f"a {word} b", f"{gap}a", f"{word}!{word}", "-" * 256, ""]
    assert cut(*whole) == (whole, 0)
    assert cut(f"a {word}x b") == (["a ", word, "x b"], 1)
    assert cut(word * 2 + "x") == ([word, word, "x"], 1)
    assert cut("one", f"{word}x{gap} !", "two") == (["one", word, "x", gap, " !", "two"], 2)
    assert cut("=" * 600, "7" * 257, "\n" * 300) == (
        ["=" * 256, "=" * 256, "=" * 88, "7" * 256, "7", "\n" * 256, "\n" * 44],
        3,
    )


def test_nothing_is_lost_by_cutting():
    rng = random.Random(7)
    pieces = ["a", "ß7", " ", "-", "語"]
    stories = [
        "".join(rng.choice(pieces) * rng.choice([1, 3, 400]) for _ in range(rng.randrange(9))) for _ in range(99)
    ]
    assert "".join(cut(*stories)[0]) == "".join(stories)


def test_stories_without_long_words_train_the_same_tokenizer():
    from tokenizers import models, pre_tokenizers, trainers

    from storyloom.data.tokenization.bpe import byte_level
    from storyloom.data.tokenization.tokenizer import EOT

    backend = byte_level(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=307, special_tokens=[EOT], initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(STORIES, trainer)
    assert BPETokenizer.train(STORIES, 307).fingerprint == BPETokenizer(backend).fingerprint


@pytest.mark.parametrize("word", ["ab" * 150_000, "語" * 100_000, " " * 300_000, "a1-" * 100_000])
def test_a_huge_word_is_learned_from_and_encoded_whole(word):
    """Three megabytes took half an hour: the time of learning grows with the square of a word's length."""
    told = []
    tokenizer = BPETokenizer.train([*STORIES, word], 1024, lambda read, cut: told.append((read, cut)))
    assert told[-1] == (102, 0 if "-" in word else 1)
    assert tokenizer.decode(tokenizer.encode(word)) == word


def test_an_error_of_the_stories_arrives_as_it_is():
    def stories():
        yield "one"
        raise KeyError("line 7")

    with pytest.raises(KeyError, match="line 7"):
        BPETokenizer.train(stories(), 300)


def test_an_interrupted_call_gets_no_more_items():
    taken = []

    def endless():
        while True:
            taken.append(None)
            time.sleep(0.001)
            yield 1

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interruptible(sum, endless(), stop)
    count = len(taken)
    time.sleep(0.05)
    assert len(taken) == count


TRAINING = """
import signal, sys, random
from storyloom.data.tokenization import BPETokenizer
signal.signal(signal.SIGINT, signal.default_int_handler)
rng = random.Random(7)
stories = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=250)) for _ in range(20_000)]
told = []
def report(read, cut):
    if not told and read == len(stories):
        told.append(print("learning", flush=True))
BPETokenizer.train(stories, 60_000, report)
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Ctrl-C is no signal there")
def test_ctrl_c_is_answered_while_merges_are_learned():
    """It was ignored until the library came back, which may take half an hour."""
    with subprocess.Popen([sys.executable, "-c", TRAINING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"learning\n"
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert b"KeyboardInterrupt" in said
    assert process.returncode in (1, 130, -signal.SIGINT)
