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
# 4. How the next token is chosen

A model does not write. It says how likely each token is as the next one, and then somebody must choose. Always the
likeliest? Then every story is the same. By pure chance? Then sooner or later comes nonsense. Here you write each way
of choosing in a few lines, hold it against storyloom's, and let all of them tell.

To run it:

- **on your own machine**, in the project's folder: `pip install --constraint constraints.txt .`, then
  `pip install jupyterlab` and `jupyter lab notebooks`;
- **in Colab**: bring a copy of the project's folder there (upload it, or `git clone` your own copy), and run
  `%pip install PATH_OF_THAT_FOLDER` in a cell before the first one;
- **as a plain script**: `python notebooks/4_decoding.py` saves its pictures in a folder that it names.
"""

# %%
import math
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from torch.testing import assert_close

import storyloom
from storyloom import storybook
from storyloom.generation import Strategy
from storyloom.generation.beam import find_stories
from storyloom.generation.sampling import keep_min_p, keep_top_k, keep_top_p, pick

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
## A model to ask

One that has learned for some seconds is enough (the third notebook shows how that goes). We give it a beginning, and
take the **logits** of what comes next: a number for each token of the vocabulary. A softmax makes probabilities of
them.
"""

# %%
data = storyloom.prepare("storybook", out=WORK / "data", preset="tiny", limit_mb=2)
settings = ["train.max_steps=140", "train.batch_size=8", "train.warmup_steps=10", "train.eval_interval=140"]
settings += ["train.eval_stories=10", "train.threads=1", "train.compile=false"]
run = storyloom.train(data, out=WORK / "run", preset="tiny", settings=settings, progress=False)
teller = storyloom.load(run.path)
model, tokenizer = teller.model.cpu(), teller.tokenizer
EOT, V = tokenizer.eot, tokenizer.vocab_size
torch.set_grad_enabled(False)


def next_logits(ids: list[int]) -> Tensor:
    """Of the token that comes after these, (V,)."""
    return model(torch.tensor([[EOT, *ids]]))[0, -1].double()


PROMPT = "Many years ago there lived a lively and kind girl named Ruby. Ruby lived in a"
assert storybook.parse(PROMPT).position == len(PROMPT)  # a story of the storybook may begin so
beginning = tokenizer.encode(PROMPT)
logits = next_logits(beginning)
probabilities = logits.softmax(dim=-1)
likeliest = probabilities.argsort(descending=True)[:16].tolist()
names = [repr(tokenizer.decode([i])) for i in likeliest]

plt.figure(figsize=(8, 3.4))
plt.bar(names, logits[likeliest], color=BLUE)
plt.axhline(float(logits.median()), color=GRAY, linestyle="--", label=f"the middle one of all {V:,} tokens")
plt.xticks(rotation=60)
plt.ylabel("logit")
plt.title(f"{PROMPT[-15:]} ...")
plt.legend(frameon=False)
show("logits")

# %% [markdown]
"""
## Temperature

Divide the logits by a number before the softmax. Below 1 the likely gets likelier; above 1 all draws closer together.
Towards 0 only the likeliest is left: that is **greedy**.
"""


# %%
def with_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities, (V,)."""
    weights = [math.exp((float(logit) - float(logits.max())) / temperature) for logit in logits]
    return torch.tensor(weights, dtype=torch.double) / sum(weights)


figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True)
for axes, temperature in zip(panels, (0.5, 1.0, 2.0), strict=True):
    changed = with_temperature(logits, temperature)
    assert_close(changed, (logits / temperature).softmax(dim=-1))
    axes.bar(names, changed[likeliest], color=BLUE)
    axes.set_title(f"temperature {temperature}: these have {changed[likeliest].sum():.0%}")
    axes.tick_params("x", rotation=90)
panels[0].set_ylabel("probability")
show("temperature")

almost_zero = Strategy("temperature", temperature=1e-6)
for chance in (0.0, 0.5, 0.999):
    assert almost_zero.choose(logits[None], torch.tensor([chance])) == logits.argmax()

# %% [markdown]
"""
## Cutting off the tail

At temperature 1 the model is taken at its word. But hundreds of tokens that are nearly impossible are, together, not
impossible at all, and one of them is enough to spoil a story. So the tail is cut off before drawing. Three ways to
say where:

- **top-k**: keep the k likeliest (Fan et al., 2018, arXiv 1805.04833).
- **top-p**: keep the likeliest until together they have probability p (Holtzman et al., 2019, arXiv 1904.09751).
- **min-p**: keep what is at least a given share as likely as the likeliest one (Nguyen et al., 2024, arXiv 2407.01082).

What is left is divided by its sum, so that it makes 1 again.
"""


# %%
def top_k(p: Tensor, k: int) -> set[int]:
    """The tokens that stay."""
    return set(sorted(range(len(p)), key=lambda i: -p[i])[:k])


def top_p(p: Tensor, share: float) -> set[int]:
    """The tokens that stay; the one that crosses the line does."""
    kept, together = set(), 0.0
    for i in sorted(range(len(p)), key=lambda i: -p[i]):
        if together >= share:
            break
        kept.add(i)
        together += float(p[i])
    return kept


def min_p(p: Tensor, share: float) -> set[int]:
    """The tokens that stay."""
    return {i for i in range(len(p)) if p[i] >= share * p.max()}


WAYS = {
    "top-k, k = 5": (top_k, keep_top_k, 5),
    "top-p, p = 0.9": (top_p, keep_top_p, 0.9),
    "min-p, 0.1": (min_p, keep_min_p, 0.1),
}
figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True)
for axes, (name, (by_hand, theirs, limit)) in zip(panels, WAYS.items(), strict=True):
    kept = by_hand(probabilities, limit)
    cut = theirs(logits[None], limit)[0]
    assert kept == set(cut.isfinite().nonzero().flatten().tolist())
    again = cut.softmax(dim=-1)
    assert_close(again[sorted(kept)], probabilities[sorted(kept)] / sum(probabilities[i] for i in kept))
    axes.bar(names, again[likeliest], color=BLUE)
    axes.bar(names, probabilities[likeliest], color=[(0, 0, 0, 0) if i in kept else GRAY for i in likeliest])
    axes.bar(names, probabilities[likeliest], fill=False, edgecolor=GRAY, linewidth=0.8)
    axes.set_title(f"{name}: {len(kept)} stay")
    axes.tick_params("x", rotation=90)
panels[0].set_ylabel("probability")
show("cuts")

# %% [markdown]
"""
Blue is what is drawn from; the outline is what the model had said, and gray is what was cut off.

The number k is always the same, though the model is sure at one position and torn at the next. Follow it along a story:
top-p and min-p keep one token where only one fits, and many where many do.
"""

# %%
story = next(storybook.stories(seed=3, count=1)).text
ids = tokenizer.encode(story)[:60]
along = model(torch.tensor([[EOT, *ids[:-1]]]))[0].double()  # (60, V): what comes next, at every position

plt.figure(figsize=(11, 3.6))
for (name, (_, theirs, limit)), color in zip(WAYS.items(), (GRAY, BLUE, ORANGE), strict=True):
    plt.plot(theirs(along, limit).isfinite().sum(dim=-1), drawstyle="steps-mid", color=color, label=name)
plt.xticks(range(len(ids)), [tokenizer.decode([i]).replace("\n", "\\n") for i in ids], rotation=90, fontsize=8)
plt.yscale("log")
plt.yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
plt.minorticks_off()
plt.ylabel("tokens that stay")
plt.title("How many could have stood there?")
plt.legend(frameon=False)
plt.grid(alpha=0.25, axis="y")
show("along-a-story")

# %% [markdown]
"""
## The draw

Lay the probabilities end to end from 0 to 1, take a random number between 0 and 1, and see on whose stretch it falls.
Chance comes in as that one number and nowhere else, so that the same seed tells the same story.
"""


# %%
def draw(p: Tensor, chance: float) -> int:
    """The token on whose stretch `chance` falls."""
    end = 0.0
    for i, probability in enumerate(p.tolist()):
        end += probability
        if chance < end:
            return i
    return int(p.nonzero()[-1])  # the stretches end a rounding error below 1


for chance in torch.rand(20, dtype=torch.double, generator=torch.Generator().manual_seed(5)):
    assert draw(probabilities, float(chance)) == pick(logits[None], chance[None])
chances = torch.rand(10_000, dtype=torch.double, generator=torch.Generator().manual_seed(6))
often = torch.bincount(torch.cat([pick(logits.expand(500, -1), some) for some in chances.split(500)]), minlength=V)
for i in likeliest[:4]:
    expected = 10_000 * float(probabilities[i])
    print(f"{tokenizer.decode([i])!r} was drawn {often[i]} times of 10,000; {expected:.0f} were expected")
    assert abs(int(often[i]) - expected) < 5 * math.sqrt(expected)

# %% [markdown]
"""
## Looking ahead: beam search

Greedy takes the best next token, and may find itself where nothing good can follow. **Beam search** (for such models
Sutskever et al., 2014, arXiv 1409.3215) follows several beginnings at once: extend each by every token, keep the few
that are likeliest as a whole, and so on. There is no chance in it.
"""

# %%
BEAMS, AHEAD = 3, 7


def beam_search(ids: list[int], beams: int, ahead: int) -> list[tuple[list[int], float]]:
    """The likeliest continuations that were found, each with its log-probability in nats."""
    kept: list[tuple[list[int], float]] = [([], 0.0)]
    for _ in range(ahead):
        wider = [
            ([*told, i], total + log_p)
            for told, total in kept
            for i, log_p in enumerate(next_logits([*ids, *told]).log_softmax(dim=-1).tolist())
        ]
        kept = sorted(wider, key=lambda each: -each[1])[:beams]
    return kept


found = beam_search(beginning, BEAMS, AHEAD)
strategy = Strategy("beam", beams=BEAMS, length_penalty=1.0)
theirs = find_stories(model, [EOT, *beginning], strategy, eot=EOT, max_new_tokens=AHEAD)
assert all(EOT not in told for told, _ in found)  # ours knows no end; it is not near
assert [told for told, _ in found] == [each.tokens for each in theirs]
for (told, total), each in zip(found, theirs, strict=True):
    assert abs(total - each.log_probability) < 1e-3
    print(f"{total:7.3f} nats  ...{tokenizer.decode(told)}")
((greedy, total),) = beam_search(beginning, 1, AHEAD)  # one beam is greedy
print(f"{total:7.3f} nats  ...{tokenizer.decode(greedy)}   (greedy)")

# %% [markdown]
"""
## All of them, side by side

Every strategy continues the same beginning, with its defaults. **distinct-2** is the share of word pairs that are
different, over all that it told; **repetition** the share of runs of four words that the same story had before. The
last column is what the model itself thinks of each token that was chosen. Greedy tells one story, as it has only one
to tell.
"""

# %%
compared = storyloom.compare_strategies(teller, PROMPT, num_stories=4, max_new_tokens=90)
print(f"{'strategy':12} {'stories':>7} {'distinct-1':>10} {'distinct-2':>10} {'repetition':>10} {'nats/token':>10}")
for each in compared:
    figures = [each.distinct_1, each.distinct_2, each.repetition, -each.log_probability]
    print(f"{each.strategy:12} {len(each.stories):>7} " + " ".join(f"{figure:10.3f}" for figure in figures))

by_name = {each.strategy: each for each in compared}
assert by_name["beam"].distinct_2 < 0.5 < by_name["multinomial"].distinct_2
assert by_name["beam"].log_probability > by_name["multinomial"].log_probability

plt.figure(figsize=(7, 4))
for each in compared:
    point = (each.distinct_2, -each.log_probability)
    plt.plot(*point, "o", color=ORANGE if len(each.stories) == 1 else BLUE)
    plt.annotate(each.strategy, point, (6, 4), textcoords="offset points")
plt.margins(x=0.15, y=0.12)
plt.xlabel("variety: distinct-2")
plt.ylabel("negative log-likelihood, nats/token")
plt.title("What variety costs")
plt.grid(alpha=0.25)
show("strategies")

# %% [markdown]
"""
The four stories of beam search are more probable under the model than those of pure chance, and are nearly one and the
same: a search for likely stories finds one, and its nearest neighbors. (Mind the point of greedy: one story alone has
no other to be like.) And now read them. The grammar reads along, and says how far it can follow.
"""

# %%
print(f"the beginning itself has {len(PROMPT)} characters\n")
for each in compared:
    reading = storybook.parse(each.stories[0])
    reached = reading.position if isinstance(reading, storybook.Departure) else len(each.stories[0])
    print(f"{each.strategy} (the grammar follows for {reached} characters):\n{each.stories[0][len(PROMPT) :]}\n")

# %% [markdown]
"""
storyloom's own default is temperature 0.8 with top-p 0.95: some chance, and no tail. **Try it**: `teller.tell(PROMPT,
strategy="temperature", temperature=2)`; or the same strategy with ten seeds; or a model that has learned for longer,
whose tail is thinner.
"""
