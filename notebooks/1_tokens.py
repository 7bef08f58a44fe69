# ---
# jupyter:
#   jupytext:
#     cell_markers: '"""'
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
"""
# 1. Text to tokens

A language model never sees a letter. It sees numbers, and what a number stands for is decided before the model is
made. Here you cut a story into characters, into bytes and into pieces that you learn yourself, hold your pieces
against the library's, and find out why losses are best told in bits per byte.

To run it:

- **on your own machine**, in the project's folder: `pip install --constraint constraints.txt .`, then
  `pip install jupyterlab` and `jupyter lab notebooks`;
- **in Colab**: bring a copy of the project's folder there (upload it, or `git clone` your own copy), and run
  `%pip install PATH_OF_THAT_FOLDER` in a cell before the first one;
- **as a plain script**: `python notebooks/1_tokens.py` saves its pictures in a folder that it names.
"""

# %%
import json
import math
import re
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt

from storyloom import storybook
from storyloom.data.tokenization import train_tokenizer
from storyloom.data.tokenization.bpe import printable_bytes

IN_NOTEBOOK = "ipykernel" in sys.modules
WORK = Path(tempfile.mkdtemp(prefix="storyloom-"))  # whatever this notebook writes lies here
BLUE, ORANGE, GRAY = "#2a6fbb", "#d9730d", "#8a8a8a"
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True}


def show(name: str) -> None:
    """Show the picture drawn last; a plain script saves it instead."""
    plt.show() if IN_NOTEBOOK else plt.savefig(WORK / f"{name}.png")
    plt.close()


print(f"files of this notebook: {WORK}")

# %% [markdown]
"""
## Stories to cut up

storyloom brings a storybook: a grammar that tells as many children's stories as you like, and knows the exact
probability of each. We learn from some of them, and measure on others.
"""

# %%
learned_from = [story.text for story in storybook.stories(seed=1, count=300)]
held_out = list(storybook.stories(seed=2, count=50))
story = held_out[0].text
print(story)

# %% [markdown]
"""
## Characters

The simplest way: number the characters that occur. Few numbers are needed, and nothing can be misunderstood. But a
story becomes as many steps as it has letters, and the model must spell every word anew. A character that never
occurred has no number at all.
"""

# %%
characters = sorted(set("".join(learned_from)))
number = {character: i for i, character in enumerate(characters)}
print(f"{len(characters)} characters: {''.join(characters)!r}")
print(f"{story[:22]!r} is {[number[character] for character in story[:22]]}")
print(f"the whole story: {len(story)} numbers")
assert "ë" not in number  # Zoë cannot be told of

# %% [markdown]
"""
## Bytes

A computer keeps text as bytes already, in UTF-8: one byte for an English letter, up to four for anything else that
people write. A byte has 256 values, and so 256 tokens can spell any text at all, Zoë's name and a smile included.
"""

# %%
for text in ("Zoe", "Zoë", "🙂"):
    print(f"{text} is the bytes {list(text.encode('utf-8'))}")
assert bytes([90, 111, 195, 171]).decode("utf-8") == "Zoë"

# %% [markdown]
"""
## Pieces: byte-pair encoding

Start with bytes. Find the two neighbors that stand side by side most often, and make one new token of them. Do it
again. After a few hundred times the frequent words are whole, and the rare ones can still be spelled (Sennrich et
al., 2016, arXiv 1508.07909).

Two rules make this practical. The text is first cut into **words**, each with the space before it, and no token
reaches across a cut: otherwise "the end" would become one token for no good reason. And where two pairs are equally
frequent, the one with the smaller numbers goes first, so that everyone who learns from this text learns the same.
"""

# %%
# GPT-2's pattern: 's and 'll, then letters, digits, or signs with the space before them, then what space is left.
WORD = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")
END_OF_TEXT = b""  # number 0; no text is ever cut into it
BYTES = [bytes([byte]) for byte in sorted(range(256), key=printable_bytes().get)]  # GPT-2's order: ! " # ... first


def merge(symbols: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """Make one symbol of each such pair of neighbors."""
    merged: list[bytes] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def spell(word: str) -> list[bytes]:
    """The bytes of a word, one by one."""
    return [bytes([byte]) for byte in word.encode("utf-8")]


def learn(texts: list[str], vocab_size: int) -> tuple[dict[bytes, int], list[tuple[bytes, bytes]]]:
    """The number of each token, and the merges in the order in which they were made."""
    counts = Counter(word for text in texts for word in WORD.findall(text))
    spelled = {word: spell(word) for word in counts}
    ids = {token: i for i, token in enumerate([END_OF_TEXT, *BYTES])}
    merges = []
    while len(ids) < vocab_size:
        pairs = Counter()
        for word, symbols in spelled.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        merges.append(best)
        ids.setdefault(best[0] + best[1], len(ids))
        spelled = {word: merge(symbols, best) for word, symbols in spelled.items()}
    return ids, merges


print(WORD.findall("Mia's kite wasn't lost, after all."))
ids, merges = learn(learned_from, vocab_size=512)
print("the first merges:", *(f"{left.decode()!r}+{right.decode()!r}" for left, right in merges[:12]))
print("the longest tokens:", *sorted((token.decode() for token in ids if token.isascii()), key=len)[-12:], sep=" |")

# %% [markdown]
"""
To cut a new text, do to each of its words what was done in learning, in the same order: of all pairs that can be
merged, the one learned first.
"""


# %%
def encode(text: str) -> list[int]:
    """The token numbers of a text."""
    rank = {pair: n for n, pair in enumerate(merges)}
    found = []
    for symbols in map(spell, WORD.findall(text)):
        while pairs := [pair for pair in pairwise(symbols) if pair in rank]:
            symbols = merge(symbols, min(pairs, key=rank.__getitem__))
        found += [ids[symbol] for symbol in symbols]
    return found


token_of = {i: token for token, i in ids.items()}
sentence = story.split(".")[0] + "."
print("|".join(token_of[i].decode() for i in encode(sentence)))
print(encode(sentence))

# %% [markdown]
"""
## Is it the same as the library's?

storyloom leaves this work to a fast library. If we have understood it, merges and numbers are equal, one by one, also
on stories that neither has seen, and on a text that no storybook would tell.
"""

# %%
library = train_tokenizer("bpe", learned_from, vocab_size=512)
library.save(WORK / "tokenizer.json")
kept = json.loads((WORK / "tokenizer.json").read_text(encoding="utf-8"))["model"]["merges"]


def printable(token: bytes) -> str:
    """A token as such files write it: a printable character for each byte."""
    return "".join(printable_bytes()[byte] for byte in token)


assert [tuple(pair) for pair in kept] == [(printable(left), printable(right)) for left, right in merges]
assert library.token_bytes == [token_of[i] for i in range(512)]
for text in [*(each.text for each in held_out), "Zoë's  kite\n\n42 🙂🙂 he'll"]:
    assert encode(text) == library.encode(text)
    assert b"".join(token_of[i] for i in encode(text)).decode("utf-8") == text
print(f"{len(merges)} merges and the numbers of {len(held_out) + 1} texts are equal")

# %% [markdown]
"""
## How large a vocabulary?

More tokens mean longer ones, and a shorter way through each story. But every token needs a row in the model's table
of embeddings, and must occur often enough for the row to be learned. The first merges gain most: look how the curve
bends. Where it ends, every word that was learned from is one token, and nothing is left to merge.
"""

# %%
sizes = [257, 270, 290, 320, 360, 420, 512, 640, 800, 1024, 1280, 1536, 2048]
tokenizers = {tokenizer.vocab_size: tokenizer for tokenizer in (train_tokenizer("bpe", learned_from, n) for n in sizes)}
n_bytes = sum(len(each.text.encode("utf-8")) for each in held_out)
bytes_per_token = {
    size: n_bytes / sum(len(tokenizer.encode(each.text)) for each in held_out) for size, tokenizer in tokenizers.items()
}
for size in list(tokenizers)[::4]:
    print(f"{size:>5} tokens: {'|'.join(tokenizers[size].decode([i]) for i in tokenizers[size].encode(sentence))}")

plt.figure(figsize=(7, 3.6))
plt.plot(list(bytes_per_token), list(bytes_per_token.values()), "o-", color=BLUE)
last = max(tokenizers)
for size, words in ((257, "bytes only"), (512, "ours"), (last, "no pair is left")):
    offset, side = ((0, -16), "right") if size == last else ((8, -10), "left")
    plt.annotate(words, (size, bytes_per_token[size]), offset, textcoords="offset points", ha=side, color=GRAY)
plt.ylim(0.6, None)
plt.xlabel("entries of the vocabulary")
plt.ylabel("bytes per token")
plt.title("Held-out stories: longer tokens, fewer of them")
plt.grid(alpha=0.25)
show("bytes-per-token")

# %% [markdown]
"""
## Why bits per byte

A model's loss is the negative log-likelihood, in nats: -log p of what came next. Per token this says little, as one
token may be a letter or a word. To see it, take the most ignorant model there is, which knows only how often each token
occurs, and let it tell over vocabularies of every size.

Per token the larger vocabulary looks worse: there is more to choose from, and more is said at once. Divide instead by
what all of them must say, the bytes of the text, and the order is reversed: the **same** ignorant model gets
better, as its tokens already know how words are spelled.
"""


# %%
def loss_of(tokenizer) -> tuple[float, float]:
    """Nats/token and bits/byte of the held-out stories by frequencies alone; one is added to each count."""
    counts = Counter(i for text in learned_from for i in [*tokenizer.encode(text), tokenizer.eot])
    total = sum(counts.values()) + tokenizer.vocab_size
    tokens = [i for each in held_out for i in [*tokenizer.encode(each.text), tokenizer.eot]]
    nats = -sum(math.log((counts[i] + 1) / total) for i in tokens)
    return nats / len(tokens), nats / math.log(2) / n_bytes


losses = {size: loss_of(tokenizer) for size, tokenizer in tokenizers.items()}
limit = -sum(each.log2_probability for each in held_out) / n_bytes
for size in (257, 512, max(tokenizers)):
    print(f"{size:>5} tokens: {losses[size][0]:.2f} nats/token, {losses[size][1]:.2f} bits/byte")
print(f"the storybook itself: {limit:.2f} bits/byte")
per_token, per_byte = zip(*losses.values(), strict=True)
assert per_token[0] < per_token[-1]
assert per_byte[0] > per_byte[-1] > limit

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
for axes, values, unit in ((left, per_token, "nats/token"), (right, per_byte, "bits/byte")):
    axes.plot(list(losses), values, "o-", color=BLUE)
    axes.set(xscale="log", xlabel="entries of the vocabulary", ylabel=unit, ylim=(0, None))
    axes.set_xticks([257, 512, 1024, max(tokenizers)], ["257", "512", "1024", str(max(tokenizers))])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
left.set_title("Per token: worse, it seems")
right.set_title("Per byte of text: better and better")
right.axhline(limit, color=ORANGE, linestyle="--")
right.annotate("no model can do better on average", (257, limit), (257, limit + 0.12), color=ORANGE)
show("bits-per-byte")

# %% [markdown]
"""
The dashed line is the storybook's own: the sum of -log2 of its exact probabilities, over the same bytes. Frequencies
alone stay far above it, whatever the tokens. All that lies between is knowledge of what follows what; the next two
notebooks are about getting it.

**Try it**: learn from 30 stories instead of 300, or from a text of your own. Take the rule about words away (let
`WORD` be `re.compile("(?s).+")`), and look at the longest tokens then; a few stories will do, as it becomes slow.
"""
