"""What a run's curves say, in sentences with figures. Each function looks at one thing and says None where it cannot.

Losses are nats/token. A finding is `good`, something to `watch`, or neither (`plain`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from storyloom.reporting.page import rounded
from storyloom.reporting.record import Record

NEAR = 0.2  # nats/token that a sound initialisation may lie from a uniform guess
FEWEST = 5  # updates in a tenth of a run, below which a mean says nothing
NOTABLE_GAP = 0.1  # of the training loss
MANY_CLIPPED = 0.5  # of all updates after the warm-up
MANY_EPOCHS = 4  # past which repeated text is worth less (Muennighoff et al., 2023, arXiv 2305.16264)


@dataclass(frozen=True)
class Finding:
    """One sentence or two about a run."""

    about: str
    text: str
    mood: Literal["good", "watch", "plain"] = "plain"


def diagnose(record: Record) -> list[Finding]:
    """All that can be said of a run, in the order in which a reader asks."""
    return [finding for look in LOOKS if (finding := look(record)) is not None]


def ending(record: Record) -> Finding | None:
    """Whether the run came to its end, and why not."""
    step, planned = record.last["step"], record.max_steps
    if record.final is None:
        text = f"It stopped at step {step:,} of {planned:,}: the figures are those of the way so far."
        return Finding("the end", text, "watch")
    if step < planned:
        patience = record.config.train.patience
        text = f"It stopped early, at step {step:,} of {planned:,}: {patience} evaluations brought no lower loss."
        return Finding("the end", text)
    return None


def first_loss(record: Record) -> Finding | None:
    """Whether the first loss is that of a guess that knows nothing."""
    first, guess = record.train[0]["loss"], record.uniform_loss
    if record.train[0]["step"] != 1:
        return None
    begun = f"It began at {first:.2f} nats/token"
    vocabulary = f"{record.config.model.vocab_size:,}"
    if "init" in record.run.origin:
        return Finding("the beginning", f"{begun}, from another run's weights; a uniform guess costs {guess:.2f}.")
    if abs(first - guess) <= NEAR:
        text = f"{begun}, as a model that knows nothing should: ln {vocabulary} is {guess:.2f}."
        return Finding("the beginning", text, "good")
    side = "above" if first > guess else "below"
    text = (
        f"{begun}, {abs(first - guess):.2f} {side} the {guess:.2f} of a uniform guess (ln {vocabulary}): "
        "the initial weights say more than they know, or the batch was unlike the rest."
    )
    return Finding("the beginning", text, "watch")


def direction(record: Record) -> Finding | None:
    """Whether the training loss still fell: its mean over the last tenth against the tenth before."""
    losses = record.column("loss")
    n = len(losses) // 10
    if n < FEWEST:
        return None
    before, last = losses[-2 * n : -n], losses[-n:]
    fall = float(before.mean() - last.mean())
    stderr = math.sqrt((before.var(ddof=1) + last.var(ddof=1)) / n)
    figures = f"{before.mean():.3f}, then {last.mean():.3f} (a change of {-fall:+.3f} ± {stderr:.3f})"
    if fall > 2 * stderr:
        text = f"The training loss still fell in the last tenth of the run: {figures}."
        return Finding("the slope", f"{text} {_as_validation_has_it(record)}".rstrip())
    if fall < -2 * stderr:
        return Finding("the slope", f"The training loss rose in the last tenth of the run: {figures}.", "watch")
    text = f"The training loss was level in the last tenth of the run: {figures}. More of the same brings little."
    return Finding("the slope", text)


def _as_validation_has_it(record: Record) -> str:
    """What the last two evaluations say of a training loss that still falls; nothing where there are not two."""
    if len(record.evaluations) < 2:
        return ""
    change = record.evaluations[-1]["nats_per_token"] - record.evaluations[-2]["nats_per_token"]
    if change < 0:
        return f"Validation fell by {-change:.3f} between the last two evaluations: a longer run would likely go lower."
    return f"Validation did not: it rose by {change:.3f} between the last two evaluations."


def generalisation(record: Record) -> Finding | None:
    """Validation against training at the end."""
    if not record.evaluations:
        return None
    row = record.evaluations[-1]
    validation, training = row["nats_per_token"], record.training_loss_at(row["step"])
    gap = validation - training
    side = "above" if gap >= 0 else "below"
    figures = (
        f"At step {row['step']:,} validation stood at {validation:.3f} ({row['stories']:,} stories), {abs(gap):.3f} "
        f"{side} the training loss of {training:.3f}"
    )
    if gap > NOTABLE_GAP * training:
        text = f"{figures}: it has begun to learn its text by heart. More text, dropout or weight decay help."
        return Finding("validation", text, "watch")
    return Finding("validation", f"{figures}: what it has learnt holds for stories it has not seen.", "good")


def best_checkpoint(record: Record) -> Finding | None:
    """Whether the lowest validation loss is the last one."""
    if record.best is None or len(record.evaluations) < 2:
        return None
    best, last = record.best, record.evaluations[-1]
    if best["step"] == last["step"]:
        text = f"The last evaluation, at step {last['step']:,}, was the best one: it kept improving to the end."
        return Finding("the best checkpoint", text, "good")
    rise = last["nats_per_token"] - best["nats_per_token"]
    text = (
        f"Validation was best at step {best['step']:,} and has risen by {rise:.3f} since: "
        "the checkpoint `best` is kept from there; a shorter run, or `train.patience`, saves the rest."
    )
    return Finding("the best checkpoint", text, "watch")


def gradients(record: Record) -> Finding | None:
    """How large the gradient was, and how often it was clipped."""
    norms = record.column("grad_norm")
    known = norms[~np.isnan(norms)]
    if not len(known):
        return None
    highest = int(np.nanargmax(norms))
    text = (
        f"The gradient's norm was {np.median(known):.2g} in the middle, at most {norms[highest]:.2g} "
        f"(step {record.train[highest]['step']:,})"
    )
    clip = record.config.train.grad_clip
    if clip is None:
        return Finding("the gradient", f"{text}; nothing was clipped.")
    settled = norms[record.config.train.warmup_steps :]
    share = float(np.mean(settled[~np.isnan(settled)] > clip)) if np.any(~np.isnan(settled)) else 0.0
    text = f"{text}; after the warm-up {share:.1%} of the updates were clipped to {clip:g}."
    if share > MANY_CLIPPED:
        return Finding("the gradient", f"{text} That is most of them: try a lower train.learning_rate.", "watch")
    return Finding("the gradient", text, "good" if share < NOTABLE_GAP else "plain")


def repeats(record: Record) -> Finding | None:
    """How often the text was read."""
    epochs = record.last["epoch"]
    if epochs <= 1:
        return Finding("the text", f"It saw {epochs:.0%} of its text, nothing twice: more text would not help yet.")
    text = f"It read its text {epochs:.1f} times."
    if epochs > MANY_EPOCHS:
        more = f"{text} Past {MANY_EPOCHS} times repeated text is worth less than new: more stories would help."
        return Finding("the text", more, "watch")
    return Finding("the text", f"{text} Up to {MANY_EPOCHS} times, that is nearly as good as new text.", "good")


def speed(record: Record) -> Finding | None:
    """How fast and how evenly it went."""
    speeds = record.column("tokens_per_second")
    middle, slow = float(np.median(speeds)), float(np.percentile(speeds, 5))
    flops = record.starts[-1]["flops_per_token"] * middle if record.starts else 0
    text = f"It learnt from {middle:,.0f} tokens/s in the middle" + (f" ({flops / 1e9:,.0f} GFLOP/s)" if flops else "")
    if slow < middle / 2:
        text += f", but its slowest twentieth stayed below {slow:,.0f}: something else was at work on the machine."
        return Finding("the speed", text, "watch")
    return Finding("the speed", f"{text}, and from {slow:,.0f} or more in all but the slowest twentieth.")


def distance(record: Record) -> Finding | None:
    """How far from perfect, where that is known."""
    final = record.final
    if final is None or "limit_bits_per_byte" not in final:
        return None
    gap, stderr = final["gap_bits_per_byte"], final["gap_bits_per_byte_stderr"]
    text = (
        f"No model can do better on these stories than {final['limit_bits_per_byte']:.4f} bits/byte; this one is "
        f"{gap:.4f} ± {rounded(stderr, 4)} above, {gap / final['limit_bits_per_byte']:.1%} of the limit."
    )
    return Finding("the limit", text)


LOOKS: tuple[Callable[[Record], Finding | None], ...] = (
    ending,
    distance,
    first_loss,
    direction,
    generalisation,
    best_checkpoint,
    repeats,
    gradients,
    speed,
)
