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
# 3. Training a story model, live

A model that knows nothing takes every token for equally likely. Here one learns to tell stories before your eyes, in
less than half a minute, and you see from the first update on how far there is to go: the storybook knows the
probability of every story it tells, and so the best possible loss is known, too.

To run it:

- **on your own machine**, in the project's folder: `pip install --constraint constraints.txt .`, then
  `pip install jupyterlab` and `jupyter lab notebooks`;
- **in Colab**: bring a copy of the project's folder there (upload it, or `git clone` your own copy), and run
  `%pip install PATH_OF_THAT_FOLDER` in a cell before the first one;
- **as a plain script**: `python notebooks/3_training.py` saves its pictures in a folder that it names.
"""

# %%
import math
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

import storyloom
from storyloom import storybook
from storyloom.config import TrainConfig
from storyloom.training.plan import Plan
from storyloom.training.schedule import SCHEDULES, learning_rate_at

IN_NOTEBOOK = "ipykernel" in sys.modules
WORK = Path(
    tempfile.mkdtemp(prefix="storyloom-")
)  # data, run and pictures lie here; name a folder of yours to keep them
BLUE, ORANGE, GRAY = "#2a6fbb", "#d9730d", "#8a8a8a"
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True}


def show(name: str) -> None:
    """Show the picture drawn last; a plain script saves it instead."""
    plt.show() if IN_NOTEBOOK else plt.savefig(WORK / f"{name}.png")
    plt.close()


print(f"files of this notebook: {WORK}")

# %% [markdown]
"""
## The text

Three megabytes of stories, cut into tokens (the first notebook says how). A few stories are held out: the model never
learns from them, and is judged by them.
"""

# %%
data = storyloom.prepare("storybook", out=WORK / "data", preset="tiny", limit_mb=3)
V = data.tokenizer.vocab_size
for split in ("train", "val"):
    part = data.manifest.side(split)
    print(f"{split:>5}: {part.stories:,} stories, {part.bytes:,} bytes, {part.tokens:,} tokens")
print(f"a vocabulary of {V:,} tokens")

# %% [markdown]
"""
## Where it starts, and where it must end

The loss is the mean cross-entropy of a token, -log p, in nats. Knowing nothing, each of V tokens has the chance 1/V,
which makes ln V. That is the start.

The end is known as well. Whoever knows the grammar gives each story exactly the probability with which it is told,
and on average nobody can do better. Add up -log P over held-out stories and divide by their tokens: that is the
limit. Each story's last token, the one that says "the end", counts as well.
"""

# %%
JUDGES = 30
judges = data.val_stories(JUDGES)
n_tokens = sum(len(story.ids) + 1 for story in judges)
LIMIT = -sum(storybook.log2_probability(story.text) for story in judges) * math.log(2) / n_tokens
START = math.log(V)
print(f"start: {START:.3f} nats/token, limit: {LIMIT:.3f} nats/token")

# %% [markdown]
"""
Between the two stand two simple rivals, which need no training but only counting: one knows how often each token
occurs; the other knows how often each token follows each other one, and falls back on the first where it has not seen
a pair.
"""

# %%
tokens = data.tokens("train")
ids = tokens.read(0, len(tokens))
pairs = np.bincount(ids[:-1] * V + ids[1:], minlength=V * V).reshape(V, V)  # how often b (column) follows a (row)
alone = (pairs.sum(axis=0) + 1) / (pairs.sum() + V)
after = (pairs + alone) / (pairs.sum(axis=1, keepdims=True) + 1)
texts = [np.array([data.tokenizer.eot, *story.ids, data.tokenizer.eot]) for story in judges]
RIVALS = {
    "counting tokens": -sum(np.log(alone[text[1:]]).sum() for text in texts) / n_tokens,
    "counting pairs": -sum(np.log(after[text[:-1], text[1:]]).sum() for text in texts) / n_tokens,
}
print({name: f"{loss:.3f} nats/token" for name, loss in RIVALS.items()})
assert START > RIVALS["counting tokens"] > RIVALS["counting pairs"] > LIMIT

# %% [markdown]
"""
## How large are the steps?

The learning rate rises for some updates, since the first gradients point nowhere in particular, and falls at the end,
so that the weights come to rest. In between there are several schedules; we take WSD (warmup-stable-decay, here
`wsd`), which keeps the peak and then decays. Each is a function of progress, which is 0 until the warm-up is over
and 1 at the end, so that it also fits a run whose number of updates changes on the way.
"""

# %%
STEPS, WARMUP, PEAK = 240, 20, 8e-3
plan = Plan.whole(STEPS, WARMUP)
plt.figure(figsize=(7, 3))
for name, color in zip(SCHEDULES, (GRAY, "#55a868", ORANGE, BLUE), strict=True):
    settings = TrainConfig(warmup_steps=WARMUP, learning_rate=PEAK, schedule=name)
    rates = [learning_rate_at(step, plan.progress_at(step), settings) for step in range(STEPS)]
    plt.plot(rates, color=color, label=name, linewidth=2.5 if name == "wsd" else 1.2)
plt.xlabel("update")
plt.ylabel("learning rate")
plt.title("Up, and down again")
plt.legend(frameon=False)
plt.grid(alpha=0.25)
show("schedule")

# %% [markdown]
"""
## Learning, live

`train` tells every row of its metrics to a function of ours, which draws them about once a second: the loss of each
update in pale blue (each sees other stories, hence the noise), the loss on held-out stories in orange, and the limit as
a dashed line. During training the model tells stories, and the grammar says how many characters of each it can follow.
"""


# %%
class LiveCurve:
    """Is told every row of the metrics; draws the losses, and prints the samples."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = defaultdict(list)
        self.figure, self.axes = plt.subplots(figsize=(8, 4))
        self.drawn = 0.0
        if IN_NOTEBOOK:
            from IPython.display import display

            self.handle = display(self.figure, display_id=True)

    def __call__(self, row: Any) -> None:
        """Keep a row, and show what it changes."""
        self.rows[row.kind].append(row)
        if row.kind == "sample":
            print(f"after {row.step} updates ({followed(row.story)}): {row.story[:150]!r} ...")
        if row.kind == "final" or time.monotonic() > self.drawn + 1:
            self.draw()
            self.drawn = time.monotonic()
            if IN_NOTEBOOK:
                self.handle.update(self.figure)

    def draw(self) -> None:
        """All that is known so far."""
        self.axes.clear()
        for kind, loss, style in (("train", "loss", "-"), ("eval", "nats_per_token", "o-")):
            steps = [row.step for row in self.rows[kind]]
            losses = [getattr(row, loss) for row in self.rows[kind]]
            pale, label = kind == "train", "held-out stories" if kind == "eval" else "this update's stories"
            self.axes.plot(steps, losses, style, color=BLUE if pale else ORANGE, alpha=0.5 if pale else 1, label=label)
        self.axes.axhline(START, color=GRAY, linestyle=":", label=f"knowing nothing: {START:.2f}")
        self.axes.axhline(LIMIT, color="black", linestyle="--", label=f"the limit: {LIMIT:.2f}")
        for name, rival in RIVALS.items():
            self.axes.axhline(rival, color=GRAY, linewidth=0.8)
            self.axes.text(STEPS, rival + 0.08, f"{name}: {rival:.2f}", color=GRAY, ha="right")
        self.axes.set(xlim=(0, STEPS), ylim=(0, START + 0.4), xlabel="update", ylabel="loss, nats/token")
        self.axes.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93), ncols=2)
        self.axes.grid(alpha=0.25)


def followed(story: str) -> str:
    """How far the grammar can follow a story."""
    reading = storybook.parse(story)
    if isinstance(reading, storybook.Departure):
        return f"the grammar follows for {reading.position} of {len(story)} characters"
    return "the grammar follows to the end"


curve = LiveCurve()
run = storyloom.train(
    data,
    out=WORK / "run",
    preset="tiny",  # three blocks of four heads, 128 wide: 0.7 million weights
    settings=[
        f"train.max_steps={STEPS}",
        f"train.warmup_steps={WARMUP}",
        f"train.learning_rate={PEAK}",
        "train.batch_size=8",
        "train.eval_interval=40",
        f"train.eval_stories={JUDGES}",
        "train.sample_interval=60",
        "train.compile=false",  # takes longer than it saves in so short a run
        "train.threads=1",  # a model as small as this gains little from more
    ],
    progress=curve,
)
if not IN_NOTEBOOK:
    show("loss")
plt.close("all")  # in a notebook the curve stands above already

# %% [markdown]
"""
The steep fall is soon over: below the upper gray line the model knows more than how often each token occurs, below
the lower one it must look further back than one token. What is left after that is the long way.
"""

# %%
train_rows, evaluations, (final,) = curve.rows["train"], curve.rows["eval"], curve.rows["final"]
for name, rival in RIVALS.items():
    passed = next(row.step for row in train_rows if row.loss < rival)
    print(f"{name} is beaten for the first time at update {passed}")
assert len(train_rows) == STEPS
assert abs(train_rows[0].loss - START) < 0.3  # it does start there
assert evaluations[-1].nats_per_token > LIMIT  # and nobody passes the limit
assert evaluations[-1].nats_per_token < evaluations[0].nats_per_token < START
way = (START - evaluations[-1].nats_per_token) / (START - LIMIT)
print(f"{way:.0%} of the way from knowing nothing to the limit")
print(f"all {final.stories} held-out stories: {final.bits_per_byte:.3f} bits/byte, ", end="")
print(f"the limit is {final.limit_bits_per_byte:.3f}: still {final.gap_bits_per_byte:.3f} to go")

# %% [markdown]
"""
## A story, read by the grammar

Now let it tell. Every story is read by the grammar, which stops at the first character with which no story of the
storybook continues. Look at what stood there, and at what should have.
"""

# %%
teller = storyloom.load(run.path)
for seed in range(3):
    story = teller.tell(seed=seed)
    print(story)
    reading = storybook.parse(story)
    if isinstance(reading, storybook.Departure):
        expected = " or ".join(repr(text) for text in reading.expected[:3])
        print(f"--> after {story[: reading.position][-30:]!r} comes {reading.found!r}; expected was {expected}\n")
    else:
        print(f"--> a story of the storybook, of log2-probability {reading.log2_probability:.0f}\n")

# %%
told = teller.tell_all(num_stories=20, seed=7)
readings = [storybook.parse(story) for story in told]
reached = sorted(reading.position if isinstance(reading, storybook.Departure) else math.inf for reading in readings)
print(f"of {len(told)} stories the grammar follows {reached.count(math.inf)} to the end; ", end="")
print(f"half of them for more than {reached[len(reached) // 2 - 1]} characters")

# %% [markdown]
"""
Words and sentences come first; who is who comes late: for that a model must look back over many sentences. Let it
read held-out stories, and compare its loss on names that were in the story before with its loss on everything else.
"""

# %%
model = teller.model.cpu()
NAMES = {story.facts.hero for story in storybook.stories(seed=0, count=500)}
nats: dict[bool, list[float]] = {True: [], False: []}
for text in texts:
    ids = torch.from_numpy(text)
    with torch.inference_mode():
        losses = F.cross_entropy(model(ids[None, :-1])[0], ids[1:], reduction="none").tolist()
    told_before = set()
    for token, loss in zip(ids[1:].tolist(), losses, strict=True):
        word = data.tokenizer.decode([token]).strip()
        nats[word in told_before].append(loss)
        told_before |= {word} & NAMES
total = sum(map(sum, nats.values()))
assert sum(map(len, nats.values())) == n_tokens
for is_old_name, what in ((True, "names that stood there before"), (False, "all other tokens")):
    some = nats[is_old_name]
    print(f"{what}: {len(some)} tokens, {sum(some) / len(some):.2f} nats each, {sum(some):.0f} nats in all")
print(f"above the limit: {total - LIMIT * n_tokens:.0f} nats in all")

# %% [markdown]
"""
Not all of that can be saved: a sentence may begin with the child or with its helper, and nobody knows which. But
compare it with all that lies above the limit, and see how much of what is still to be learned are names.

**Try it**: take four times the updates (`STEPS = 960`, and `limit_mb=12` above), which takes a minute or two. Do the
names come right? `storyloom demo` trains in the same way for longer, and counts the stories that the grammar can
read. Or another schedule, `"train.schedule=constant"`: what does the last stretch of the curve look like without the
decay?
"""
