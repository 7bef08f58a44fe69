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
# 2. Attention by hand

A word alone says little: who is *she*, and what was lost? Attention (Vaswani et al., 2017, arXiv 1706.03762) is how
each token looks back and gathers what it needs from those before it. Here you compute it with loops, hold it against
storyloom's and PyTorch's, break it in the way in which it is most often broken, and look at what a small model learns
to look at.

To run it:

- **on your own machine**, in the project's folder: `pip install --constraint constraints.txt .`, then
  `pip install jupyterlab` and `jupyter lab notebooks`;
- **in Colab**: bring a copy of the project's folder there (upload it, or `git clone` your own copy), and run
  `%pip install PATH_OF_THAT_FOLDER` in a cell before the first one;
- **as a plain script**: `python notebooks/2_attention.py` saves its pictures in a folder that it names.
"""

# %%
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

import storyloom
from storyloom.config import ModelConfig
from storyloom.model import GPT
from storyloom.model.attention import CausalSelfAttention, eager_attention
from storyloom.model.positions import Position, RoPE

IN_NOTEBOOK = "ipykernel" in sys.modules
WORK = Path(tempfile.mkdtemp(prefix="storyloom-"))  # whatever this notebook writes lies here
BLUE, ORANGE, GRAY = "#2a6fbb", "#d9730d", "#8a8a8a"
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True}
torch.manual_seed(7)
torch.set_grad_enabled(False)  # nothing is learned before the last chapter, which sees to that itself


def show(name: str) -> None:
    """Show the picture drawn last; a plain script saves it instead."""
    plt.show() if IN_NOTEBOOK else plt.savefig(WORK / f"{name}.png")
    plt.close()


print(f"files of this notebook: {WORK}")

# %% [markdown]
"""
## Three vectors for each token

Every token brings a **query** (what am I looking for?), a **key** (what can I be found by?) and a **value** (what do
I have to say?). In a model they are learned. For a start, let them be random: T = 6 tokens, D = 4 numbers each.

Token t compares its query with the key of every token s up to itself: the **score** is their dot product, divided by
sqrt(D) so that it does not grow with the number of dimensions. The scores become **weights** by a softmax: positive,
and 1 together. What the token gathers is the sum of the values, each times its weight.
"""

# %%
words = ["Mia", " lost", " her", " kite", ".", " Mia"]
T, D = len(words), 4
q, k, v = torch.randn(3, T, D, dtype=torch.double)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What each token gathers, one after the other: (T, D) each to (T, D)."""
    gathered = []
    for t in range(len(q)):
        scores = [float(q[t] @ k[s]) / math.sqrt(q.size(1)) for s in range(t + 1)]  # itself and all before it
        shares = [math.exp(score) for score in scores]
        gathered.append(sum(share / sum(shares) * v[s] for s, share in enumerate(shares)))
    return torch.stack(gathered)


by_hand = attend(q, k, v)
print(by_hand)

# %% [markdown]
"""
## The same in one piece

Loops are clear and slow. All scores at once are one product of matrices, (T, T). Then no row may stop at its own
length, and so the future is **masked**: scores of tokens that come later are set to minus infinity, which a softmax
turns into a weight of exactly 0.
"""

# %%
scores = q @ k.T / math.sqrt(D)  # (T, T)
future = torch.ones(T, T, dtype=torch.bool).triu(1)  # above the diagonal: s > t
masked = scores.masked_fill(future, -torch.inf)
weights = masked.softmax(dim=-1)
assert_close(weights @ v, by_hand)
assert (weights[future] == 0).all()
assert_close(weights.sum(dim=-1), torch.ones(T, dtype=torch.double))

figure, panels = plt.subplots(1, 3, figsize=(10, 4.4))
for axes, values, title in zip(panels, (scores, masked, weights), ("scores", "masked", "weights"), strict=True):
    colors = {"cmap": "Blues", "vmin": 0, "vmax": 2} if title == "weights" else {"cmap": "PuOr", "vmin": -7, "vmax": 7}
    axes.imshow(values, **colors)
    axes.set_title(title)
    axes.set_xticks(range(T), words, rotation=60)
    axes.set_yticks(range(T), words if title == "scores" else [])
    for t in range(T):
        for s in range(T):
            if values[t, s] not in (0, -torch.inf):
                axes.text(s, t, f"{values[t, s]:.1f}", ha="center", va="center", fontsize=8)
panels[0].set_ylabel("this token looks ...")
panels[1].set_xlabel("... at this one")
show("attention")

# %% [markdown]
"""
Read the last picture by rows. The first token can look at nothing but itself. Each row sums to 1.

storyloom has attention twice: written out, as above (`attention = "eager"`), and by PyTorch's fused kernel, which
never builds the (T, T) matrix. All three must agree.
"""

# %%
explicit = eager_attention(q[None, None], k[None, None], v[None, None], 0.0)[0, 0]  # one row, one head
fused = F.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None], is_causal=True)[0, 0]
assert_close(explicit, by_hand)
assert_close(fused, by_hand)
print(f"largest difference: {max((explicit - by_hand).abs().max(), (fused - by_hand).abs().max()):.0e}")

# %% [markdown]
"""
## Heads

One look back is not enough: a token may need the name, and the verb, and the end of the last sentence. So the width C
of a token is split into H **heads** of D = C / H features. Each looks back by itself; what they gather is laid side
by side again, and a last matrix mixes it.
"""

# %%
H, C = 3, 12
config = ModelConfig(vocab_size=53, block_size=16, n_layer=2, n_head=H, n_embd=C, position="learned")
layer = CausalSelfAttention(config, Position(), layer=0).double()  # `Position` itself rotates nothing
x = torch.randn(T, C, dtype=torch.double)


def heads_by_hand(x: Tensor) -> Tensor:
    """Attention with H heads, one after the other: (T, C) to (T, C)."""
    q, k, v = (x @ layer.qkv.weight.T).chunk(3, dim=-1)  # (T, C) each
    features = [slice(h * D, (h + 1) * D) for h in range(H)]
    return torch.cat([attend(q[:, of], k[:, of], v[:, of]) for of in features], dim=-1) @ layer.out.weight.T


for attention in ("eager", "sdpa"):
    theirs = CausalSelfAttention(config.with_(attention=attention), Position(), layer=0).double()
    theirs.load_state_dict(layer.state_dict())
    assert_close(theirs(x[None])[0], heads_by_hand(x))
print("by hand, explicit and fused: the same")

# %% [markdown]
"""
## How heads get broken

In one piece, the heads become an axis of their own: (T, C) to (T, H, D), and then H and T are transposed. Whoever
forgets to transpose, and writes `reshape(H, T, D)` instead, gets the right shape and no error at all. What is
wrong shows only if you ask what attention is **for**. The law:

- changing the first token must change what the last one gathers,
- changing a token must never change what an earlier one gathers.

So change one token after the other, and see which outputs move.
"""


# %%
def split(x: Tensor) -> Tensor:
    """(T, C) to (H, T, D), as it should be."""
    return x.reshape(T, H, D).transpose(0, 1)


def join(x: Tensor) -> Tensor:
    """(H, T, D) to (T, C), as it should be."""
    return x.transpose(0, 1).reshape(T, C)


def bare_split(x: Tensor) -> Tensor:
    """The right shape, the wrong numbers."""
    return x.reshape(H, T, D)


def bare_join(x: Tensor) -> Tensor:
    """The right shape again."""
    return x.reshape(T, C)


def attention_with(split: Callable[[Tensor], Tensor], join: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Attention that splits and joins its heads in these ways."""

    def gather(x: Tensor) -> Tensor:
        q, k, v = map(split, (x @ layer.qkv.weight.T).chunk(3, dim=-1))  # (H, T, D) each
        return join(F.scaled_dot_product_attention(q, k, v, is_causal=True)) @ layer.out.weight.T

    return gather


def moved_by(gather: Callable[[Tensor], Tensor]) -> Tensor:
    """Which outputs move (rows) when a token changes (columns): bool (T, T)."""
    before = gather(x)
    columns = []
    for s in range(T):
        changed = x.clone()
        changed[s] += 1
        columns.append((gather(changed) - before).abs().amax(dim=-1) > 1e-9)
    return torch.stack(columns, dim=1)


variants = {
    "split and joined as it should be": attention_with(split, join),
    "split by a bare reshape": attention_with(bare_split, join),
    "split and joined by bare ones": attention_with(bare_split, bare_join),
}
moved = {name: moved_by(gather) for name, gather in variants.items()}
assert_close(variants["split and joined as it should be"](x), heads_by_hand(x))
right, leaking, blind = moved.values()
assert torch.equal(right, ~future)  # exactly the tokens at and behind the one that changed
assert leaking[future].any()  # an output moved before the token that changed: it sees the future
assert not blind[-1, 0]  # the last token knows nothing of the first
assert not blind[future].any()  # the second law alone would not have found it

figure, panels = plt.subplots(1, 3, figsize=(10, 4.6))
for axes, (name, table) in zip(panels, moved.items(), strict=True):
    axes.imshow(table, cmap="Blues", vmin=0, vmax=1.6)
    axes.set_title(name, fontsize=11)
    axes.set_xticks(range(T), words, rotation=60)
    axes.set_yticks(range(T), words if axes is panels[0] else [])
    for t, s in (table & future).nonzero().tolist():
        axes.text(s, t, "leak", ha="center", va="center", color="white", weight="bold", fontsize=9)
panels[0].set_ylabel("this output moves ...")
panels[1].set_xlabel("... when this token changes")
show("laws")

# %% [markdown]
"""
In the middle, tokens see words that are still to come: such a model cheats in training, and has nothing to cheat from
when it tells a story. On the right, no token sees further than its own little group. The same law holds a whole model
to account, here with random weights and both kinds of attention; it takes five lines, and belongs in the tests of
every model you write.
"""

# %%
for attention in ("eager", "sdpa"):
    model = GPT(config.with_(attention=attention, position="rope")).double()
    ids = torch.randint(53, (1, T))
    for t in range(T):
        changed = ids.clone()
        changed[0, t] = (ids[0, t] + 1) % 53
        moves = (model(changed) - model(ids)).abs().amax(dim=-1)[0] > 1e-9  # which logits, (T,)
        assert not moves[:t].any()
        assert moves[t:].all()
print("the law holds")

# %% [markdown]
"""
## Who stood where?

Scores know what a token is, not where it stands. Put the earlier tokens into another order, and the last one gathers
exactly the same: "the dog bit Mia" and "Mia bit the dog" were one.
"""

# %%
order = [3, 0, 4, 2, 1, 5]  # the last one stays
assert_close(heads_by_hand(x[order])[-1], heads_by_hand(x)[-1])

# %% [markdown]
"""
**Rotary positions** (RoPE; Su et al., 2021, arXiv 2104.09864) fix it. The D features of queries and keys are taken
in pairs, each pair as an arrow in the plane, and rotated by an angle that grows with the position: the first pair by 1
radian a position, later ones more and more slowly. A score compares two arrows, and so only the **difference** of their
angles counts: how far apart the two tokens are, not where in the story they are. As complex numbers, rotating is one
product.
"""

# %%
D_ROPE, POSITIONS = 8, 24
rope = RoPE(ModelConfig(vocab_size=53, block_size=POSITIONS, n_head=1, n_embd=D_ROPE))
speeds = torch.tensor([10_000 ** (-2 * i / D_ROPE) for i in range(D_ROPE // 2)])  # radians a position, by pair
angles = torch.outer(torch.arange(POSITIONS), speeds)  # (positions, pairs)
rotations = torch.polar(torch.ones_like(angles), angles)


def rotate(q: Tensor) -> Tensor:
    """Rotate the queries of positions 0, 1, ...: (T, D) to (T, D). Feature i is paired with feature i + D/2."""
    rotated = torch.complex(*q.chunk(2, dim=-1)) * rotations[: len(q)]
    return torch.cat([rotated.real, rotated.imag], dim=-1)


one_q, one_k = torch.randn(2, D_ROPE)
queries = rotate(one_q.expand(POSITIONS, -1))  # the same token at every position
keys = rotate(one_k.expand(POSITIONS, -1))
assert_close(queries, rope.rotate(one_q.expand(1, 1, POSITIONS, -1), 0)[0, 0])
table = queries @ keys.T
for distance in range(POSITIONS):
    along = table.diagonal(-distance)  # all pairs of tokens that are so far apart
    assert_close(along, along[:1].expand_as(along), rtol=1e-4, atol=1e-4)

rotating = CausalSelfAttention(config, RoPE(config), layer=0).double()
rotating.load_state_dict(layer.state_dict())
assert not torch.allclose(rotating(x[order][None])[0, -1], rotating(x[None])[0, -1])  # now the order counts

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
for pair, color in ((0, BLUE), (1, ORANGE)):
    for position in range(6):
        angle = float(speeds[pair]) * position
        radius = 1.0 - 0.3 * pair
        left.annotate("", (radius * math.cos(angle), radius * math.sin(angle)), (0, 0), arrowprops={
            "arrowstyle": "->", "color": color, "alpha": 0.35 + 0.13 * position,
        })  # fmt: skip
        left.text(1.12 * radius * math.cos(angle), 1.12 * radius * math.sin(angle), str(position), color=color,
                  ha="center", va="center")  # fmt: skip
left.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal", title="two of the pairs, at positions 0 to 5")
left.axis("off")
picture = right.imshow(
    table.masked_fill(torch.ones(POSITIONS, POSITIONS, dtype=torch.bool).triu(1), math.nan), cmap="PuOr"
)
right.set(title="score of one query and one key", xlabel="position of the key", ylabel="position of the query")
figure.colorbar(picture, shrink=0.8)
show("rope")

# %% [markdown]
"""
On the right the query and the key are the same everywhere, only their positions differ. The stripes are the point:
along each of them the distance is the same, and so is the score.

## What a model looks at

Now train one, very small and for a few seconds only, and look at the weights of its heads while it reads. Blue is
where a token (row) looks (column). None of this was told to the model: it looks wherever that made the next token
less surprising.
"""

# %%
data = storyloom.prepare("storybook", out=WORK / "data", preset="tiny", limit_mb=1)
settings = ["model.n_layer=2", "train.max_steps=100", "train.batch_size=8", "train.warmup_steps=10"]
settings += ["train.eval_stories=10", "train.threads=1", "train.compile=false"]  # small models gain little from more
with torch.enable_grad():
    run = storyloom.train(data, out=WORK / "run", preset="tiny", settings=settings, progress=False)
model, tokenizer = run.load_model().cpu(), run.tokenizer

text = "Once there was a kind girl named Mia. Mia loved red kites. One day, Mia took her red kite to the park."
ids = [tokenizer.eot, *tokenizer.encode(text)]
tokens = ["(start)", *(tokenizer.decode([i]) for i in ids[1:])]
stream = model.embedding(torch.tensor([ids]))  # (1, T, C)
looks = []
for block in model.blocks:
    looks.append(block.attn.weights(block.attn_norm(stream))[0])  # (H, T, T)
    stream = block(stream)
for heads in looks:
    assert_close(heads.sum(dim=-1), torch.ones_like(heads[:, :, 0]))
    assert (heads.triu(1) == 0).all()

figure, grid = plt.subplots(2, 4, figsize=(12, 7), sharex=True, sharey=True)
for number, (row, heads) in enumerate(zip(grid, looks, strict=True), start=1):
    for head, (axes, table) in enumerate(zip(row, heads, strict=True), start=1):
        axes.imshow(table, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(f"block {number}, head {head}", fontsize=10)
        axes.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=7)
        axes.set_yticks(range(len(tokens)), tokens, fontsize=7)
show("heads")

for number, heads in enumerate(looks, start=1):
    for head, table in enumerate(heads, start=1):
        own, previous = table.diagonal()[1:].mean(), table.diagonal(-1).mean()
        back = sum(table.diagonal(-distance).sum() * distance for distance in range(len(ids))) / len(ids)
        print(f"block {number}, head {head}: {own:4.0%} on itself, {previous:4.0%} on the token before", end="")
        print(f", on average {back:4.1f} tokens back")

# %% [markdown]
"""
Each head looks in a way of its own; the printed figures say how far back. **Try it**: train ten times as long, and
look for a head which, at the second "Mia", looks at what came after the first one. Such induction heads are how a
model copies names (Olsson et al., 2022, arXiv 2209.11895).
"""
