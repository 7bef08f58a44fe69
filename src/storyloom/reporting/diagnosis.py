"""What a run's curves say, in sentences with figures. Each function looks at one thing and says None where it cannot.

Losses are nats/token. A finding is `good`, something to `watch`, or neither (`plain`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from storyloom.reporting.page import rough, rounded
from storyloom.reporting.record import Record
from storyloom.runs.rows import ScoredRow

NEAR = 0.2  # nats/token that a sound initialisation may lie from a uniform guess
FEWEST = 5  # updates in a tenth of a run, below which a mean says nothing
ENOUGH = 100  # updates in a run, below which neither its speed nor its validation has settled
LEAST_SHOWN = 0.0005  # nats/token: less is 0.000 in figures
LEVEL = 0.01  # of the loss: a slope whose noise is larger cannot be told from none
NOTABLE_GAP = 0.1  # of the training loss
NOTABLE_RISE = 0.01  # of the lowest validation loss
FEW_CLIPPED, MANY_CLIPPED = 0.1, 0.5  # of all updates after the warm-up
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
    """How far the run has come, or why it ended early."""
    step, planned = record.last.step, record.max_steps
    if record.final is None:
        return Finding("so far", f"It has come to step {step:,} of {planned:,}.")
    if step < planned:
        patience = record.config.train.patience
        text = f"It stopped early, at step {step:,} of {planned:,}: {patience} evaluations brought no lower loss."
        return Finding("the end", text)
    return None


def first_loss(record: Record) -> Finding | None:
    """Whether the first loss is that of a guess that knows nothing; None where it was not kept."""
    if record.train[0].step != 1:
        return None
    first, guess = record.train[0].loss, record.uniform_loss
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
    if 2 * stderr < LEVEL * last.mean():
        text = f"The training loss was level in the last tenth of the run: {figures}. More of the same brings little."
    else:
        text = f"In the last tenth of the run any change of the training loss is smaller than its noise: {figures}."
    return Finding("the slope", text)


def _as_validation_has_it(record: Record) -> str:
    """What the last two evaluations say of a training loss that still falls; nothing where there are not two."""
    if len(record.evaluations) < 2:
        return ""
    change = record.evaluations[-1].nats_per_token - record.evaluations[-2].nats_per_token
    if abs(change) < LEAST_SHOWN:
        return "Validation did not: it stayed where it was between the last two evaluations."
    if change < 0:
        return f"Validation fell by {-change:.3f} between the last two evaluations: a longer run would likely go lower."
    return f"Validation did not: it rose by {change:.3f} between the last two evaluations."


def generalization(record: Record) -> Finding | None:
    """Validation against training at the end."""
    if not record.evaluations or record.evaluations[-1].step < ENOUGH:
        return None
    row = record.evaluations[-1]
    validation, training = row.nats_per_token, record.training_loss_at(row.step)
    gap = validation - training
    side = "above" if gap >= 0 else "below"
    figures = (
        f"At step {row.step:,} validation stood at {validation:.3f} ({row.stories:,} stories), {abs(gap):.3f} "
        f"{side} the training loss of {training:.3f}"
    )
    if gap <= NOTABLE_GAP * training:
        return Finding("validation", f"{figures}: what it has learned holds for stories it has not seen.", "good")
    if record.has_repeated and gap > 2 * _stderr(row):
        text = f"{figures}: it has begun to learn its text by heart. More text, dropout or weight decay help."
        return Finding("validation", text, "watch")
    text = f"{figures}: the validation stories are harder than the training text, or too few to tell."
    return Finding("validation", text)


def _stderr(row: ScoredRow) -> float:
    """Of an evaluation's loss over stories, nats/token; infinite where there is but one."""
    bits = row.bits_per_byte_stderr
    return math.inf if bits is None else bits * math.log(2) * row.bytes / row.tokens


def best_checkpoint(record: Record) -> Finding | None:
    """Whether the lowest validation loss is the last one."""
    if record.best is None or len(record.evaluations) < 2:
        return None
    best, last = record.best, record.evaluations[-1]
    if best.step == last.step:
        text = (
            f"The last evaluation, at step {last.step:,}, was the lowest so far: validation has not begun to rise, "
            "which is the sign of overfitting."
        )
        return Finding("the best checkpoint", text, "good")
    rise = last.nats_per_token - best.nats_per_token
    text = f"Validation was lowest at step {best.step:,}, and the checkpoint `best` is of there; "
    if rise < NOTABLE_RISE * best.nats_per_token:
        return Finding("the best checkpoint", f"{text}since then it has hardly changed ({rise:+.3f}).")
    text += f"since then it has risen by {rise:.3f}."
    if record.final is not None and record.config.train.patience is None:
        text += " A shorter run, or `train.patience`, saves the rest."
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
        f"(step {record.train[highest].step:,})"
    )
    clip, settled = record.config.train.grad_clip, norms[record.column("step") > record.config.train.warmup_steps]
    settled = settled[~np.isnan(settled)]
    if clip is None or not len(settled):
        return Finding("the gradient", f"{text}; nothing was clipped." if clip is None else f"{text}.")
    share = float(np.mean(settled > clip))
    which = "updates" if record.config.train.log_interval == 1 else "updates that have a row"
    text = f"{text}; after the warm-up {share:.1%} of the {which} were clipped to {clip:g}."
    if share > MANY_CLIPPED:
        advice = "That is most of them: raise `train.grad_clip`, or look for jumps in the curve."
        return Finding("the gradient", f"{text} {advice}", "watch")
    return Finding("the gradient", text, "good" if share < FEW_CLIPPED else "plain")


def repeats(record: Record) -> Finding | None:
    """How often the text was read."""
    times, is_stream = record.times_read, record.config.data.rows == "packed"
    if times is None:
        return None
    if not is_stream:  # rows that cut stories, or overlap: some of the text was read more often than the rest
        text = f"It read each token of its text {rough(times)} times on average, some more often than others."
    elif times <= 1:
        text = f"It read {rough(100 * times)}% of its text, nothing twice: more text would not help yet."
    else:
        text = f"It read its text {times:.1f} times."
    if times > MANY_EPOCHS:
        more = f"{text} Past {MANY_EPOCHS} times repeated text is worth less than new: more stories would help."
        return Finding("the text", more, "watch")
    if is_stream and times > 1:
        return Finding("the text", f"{text} Up to {MANY_EPOCHS} times, that is nearly as good as new text.", "good")
    return Finding("the text", text)


def speed(record: Record) -> Finding | None:
    """How fast and how evenly it went; the first update after a start, which compiles, left out."""
    if len(record.train) < ENOUGH:
        return None
    first = {row.step + 1 for row in record.starts}
    speeds = np.array([row.tokens_per_second for row in record.train if row.step not in first])
    middle, slow = float(np.median(speeds)), float(np.percentile(speeds, 5))
    gflops = record.starts[-1].flops_per_token * middle / 1e9
    shown = f"{gflops:.3g}" if gflops < 100 else f"{gflops:,.0f}"
    text = f"It learned from {middle:,.0f} tokens/s in the middle ({shown} GFLOP/s)"
    if record.config.data.rows != "packed":  # their updates hold more and fewer tokens
        return Finding("the speed", f"{text}.")
    if slow < middle / 2:
        return Finding("the speed", f"{text}, but from less than {slow:,.0f} in its slowest twentieth.", "watch")
    return Finding("the speed", f"{text}, and from {slow:,.0f} or more except in the slowest twentieth.")


def distance(record: Record) -> Finding | None:
    """How far from perfect, where that is known."""
    final = record.final
    if final is None or final.limit_bits_per_byte is None or final.gap_bits_per_byte is None:
        return None
    gap, stderr = final.gap_bits_per_byte, final.gap_bits_per_byte_stderr
    text = (
        f"On average no model can do better on such stories than {final.limit_bits_per_byte:.4f} bits/byte; the "
        f"checkpoint `best` is {gap:.4f} ± {rounded(stderr, 4)} above, {gap / final.limit_bits_per_byte:.1%} of "
        "the limit."
    )
    return Finding("the limit", text)


LOOKS: tuple[Callable[[Record], Finding | None], ...] = (
    ending,
    distance,
    first_loss,
    direction,
    generalization,
    best_checkpoint,
    repeats,
    gradients,
    speed,
)
