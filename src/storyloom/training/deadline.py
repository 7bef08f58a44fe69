"""What is done when: evaluations, samples and checkpoints by updates, by a clock, or as another run did it.

A run that is limited in time ends by its plan and not by the clock. While it trains, the plan is made again from the
speed that the machine has now: at every evaluation, sample and checkpoint and at least every few seconds. Each change
is a `plan` row of the metrics, and so is everything that the clock made due. Time enters training through these rows
alone: a run that follows them ends with the same bits.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Literal, Protocol

from storyloom.config import TrainConfig
from storyloom.runs.layout import METRICS, PLANS
from storyloom.runs.rows import Listener, PlanRow, read_rows
from storyloom.training.trainer import Trainer

Event = Literal["checkpoint", "eval", "sample"]
EVENTS: tuple[Event, ...] = ("eval", "sample", "checkpoint")
PLAN_SECONDS = 5.0  # at most, between two plans
PACE_SECONDS = 10.0  # of the latest updates say how long one takes now,
PACE_UPDATES = 9  # and at least this many,
OUTLIER = 4.0  # none of which counts for more than this many times their median: a pause is over when it is seen
CHANGED = 1.25  # times as fast or slow as it was: what the end takes is measured again,
SETTLED = 1.15  # once the latest updates and those before differ by no more;
MEASURING = 0.02  # at most of the time,
BELIEVED = (0.5, 1.25)  # of what the speed of updates lets expect: what lies outside met a disturbance
DUE_SECONDS = 60.0  # at most, between two of a kind
DUE_SHARE = 0.05  # at most, of the time, for each kind
MOVED = 0.02  # of the updates to go: smaller changes are noise
LANDING = 0.02  # of all the time, in which the learning rate still falls where the time is over all of a sudden


class Director(Protocol):
    """Decides what is due; the loop does it."""

    def after_update(self, trainer: Trainer, seconds: float) -> set[Event]:
        """What is due after an update that took these seconds; may change the trainer's plan."""
        ...

    def took(self, event: Event, seconds: float) -> None:
        """An event is over."""
        ...

    def after_events(self, trainer: Trainer) -> None:
        """All that was due is done; may change the trainer's plan."""
        ...


class ByUpdates:
    """After every interval of updates, as the settings say."""

    def __init__(self, settings: TrainConfig) -> None:
        self._intervals = intervals_of(settings)

    def after_update(self, trainer: Trainer, seconds: float) -> set[Event]:
        """Those whose interval ends with this update."""
        return {event for event, interval in self._intervals.items() if trainer.step % interval == 0}

    def took(self, event: Event, seconds: float) -> None:
        """Makes no difference."""

    def after_events(self, trainer: Trainer) -> None:
        """Makes no difference."""


class AsWritten:
    """As the `plan` rows of another run say, which are written again.

    Args:
        trainer: of this run.
        plans: the other run's rows of kind `plan`.
        written: how many of them are in this run's log already; what they made due is done.
        tell: is told them again.
    """

    def __init__(self, trainer: Trainer, plans: Iterable[PlanRow], written: int, tell: Listener) -> None:
        self._warmup, self._tell = trainer.settings.warmup_steps, tell
        self._plans: dict[int, deque[PlanRow]] = {}
        for row in islice(plans, written, None):
            self._plans.setdefault(row.step, deque()).append(row)
        self._follow(trainer)  # what came behind the checkpoint of this step

    def after_update(self, trainer: Trainer, seconds: float) -> set[Event]:
        """What the rows of this update say."""
        return self._follow(trainer)

    def took(self, event: Event, seconds: float) -> None:
        """Makes no difference."""

    def after_events(self, trainer: Trainer) -> None:
        """Follow the rows that were written after the events of this update."""
        self._follow(trainer)

    def _follow(self, trainer: Trainer) -> set[Event]:
        """Take rows of this update up to one that makes something due, and return that; the others change the plan."""
        rows = self._plans.get(trainer.step, deque())
        while rows:
            row = rows.popleft()
            self._tell(row)
            if row.due:
                return {*row.due}
            trainer.plan = trainer.plan.changed(trainer.step, row.updates, self._warmup)
        return set()


class Deadline:
    """By a clock: the run ends at a time.

    Args:
        settings: with `minutes`.
        tell: is told `plan` rows.
        elapsed: seconds of the run so far, in all its parts.
        most: updates at most, where other limits say so.
        final: measures how many seconds the evaluation of all validation stories takes now.
        share: of them that are evaluated on the way.
    """

    def __init__(
        self,
        settings: TrainConfig,
        tell: Listener,
        elapsed: Callable[[], float],
        *,
        most: int | None,
        final: Callable[[], float],
        share: float,
    ) -> None:
        assert settings.minutes is not None, "a deadline needs minutes"
        self._settings, self._tell, self._elapsed, self._most = settings, tell, elapsed, most
        self._total = settings.minutes * 60
        self._intervals = intervals_of(settings)
        self._updates: deque[tuple[float, float]] = deque()  # when each of the latest was over, and how long it took
        self._measure, self._share = final, share
        # Seconds, and those of an update at that time: what slows updates slows the rest. None until there was one.
        self._costs: dict[str, tuple[float, float | None]] = {"sample": (0.0, None), "checkpoint": (0.0, None)}
        self._set_final(final(), None)
        self._measurable_at = -math.inf
        self._since = dict.fromkeys(EVENTS, elapsed())
        self._is_first, self._planned_at = True, -math.inf

    def after_update(self, trainer: Trainer, seconds: float) -> set[Event]:
        """What the clock makes due; a plan where none was made for a while."""
        now = self._elapsed()
        self._track(now, seconds)
        if trainer.is_at_end or not self._updates:
            return set()
        if trainer.plan.end is None:
            self._plan(trainer)
        due: set[Event] = {event for event in EVENTS if self._is_due(event, trainer, now)}
        if due:
            for event in due:
                self._since[event] = now
            self._write(trainer, sorted(due))
        elif now - self._planned_at >= PLAN_SECONDS:
            self._plan(trainer)
        return due

    def took(self, event: Event, seconds: float) -> None:
        """Remember what an event costs."""
        pace = self._pace if self._updates else None
        if event == "eval":  # of more stories than the first estimate, and at the speed of now
            self._set_final(seconds / self._share, pace)
        else:
            self._costs[event] = (seconds, pace)
        self._since[event] = self._elapsed()

    def after_events(self, trainer: Trainer) -> None:
        """Plan again, as they took their time."""
        if self._updates and not trainer.is_at_end:
            self._plan(trainer)

    @property
    def _pace(self) -> float:
        """Seconds of an update now: the mean of the latest."""
        latest = [seconds for _, seconds in self._updates]
        most = OUTLIER * median(latest)
        return fmean(min(seconds, most) for seconds in latest)

    def _track(self, now: float, seconds: float) -> None:
        if self._is_first:  # memory is laid out, or the step compiled: the next are faster
            self._is_first = False
            return
        self._updates.append((now, seconds))
        while len(self._updates) > PACE_UPDATES and self._updates[0][0] < now - PACE_SECONDS:
            self._updates.popleft()

    def _set_final(self, seconds: float, pace: float | None) -> None:
        self._is_first_guess = pace is None  # something may have disturbed it, and no update tells
        self._costs |= {"final": (seconds, pace), "eval": (seconds * self._share, pace)}

    def _follow_speed(self) -> None:
        """Measure what the end takes where the speed is another one: evaluations need not slow down as updates do."""
        _, pace = self._costs["final"]
        begun = self._elapsed()
        if pace is None or begun < self._measurable_at or len(self._updates) < PACE_UPDATES:
            return
        latest = fmean(seconds for over, seconds in self._updates if over >= self._updates[-1][0] - PACE_SECONDS / 4)
        is_settled = 1 / SETTLED < latest / self._pace < SETTLED
        is_changed = not 1 / CHANGED < self._pace / pace < CHANGED
        if is_settled and (is_changed or self._is_first_guess):
            seconds = self._measure()
            if not self._is_first_guess:
                least, most = (share * self._cost("final") for share in BELIEVED)
                seconds = min(max(seconds, least), most)
            self._set_final(seconds, self._pace)
            self._measurable_at = begun + (self._elapsed() - begun) / MEASURING

    def _cost(self, event: Event | Literal["final"]) -> float:
        """Seconds of an event now."""
        seconds, pace = self._costs[event]
        if pace is None:
            self._costs[event] = (seconds, self._pace)
            return seconds
        return seconds * self._pace / pace

    def _period(self, event: Event) -> float:
        """Seconds between two of a kind."""
        return max(self._cost(event) / DUE_SHARE, min(DUE_SECONDS, self._intervals[event] * self._pace))

    def _is_due(self, event: Event, trainer: Trainer, now: float) -> bool:
        """Not shortly before the end, where the model is evaluated and saved anyway."""
        period = self._period(event)
        to_go = math.inf if trainer.plan.end is None else (trainer.plan.end - trainer.step) * self._pace
        return now - self._since[event] >= period and to_go >= period / 2

    def _plan(self, trainer: Trainer) -> None:
        """Make a new plan of the time that is left; small changes are left alone."""
        self._follow_speed()
        self._planned_at = self._elapsed()
        old = None if trainer.plan.end is None else trainer.plan.end - trainer.step
        updates = math.floor(self._time_for_updates() / self._pace)
        # Where the time is suddenly over, the learning rate falls to its end all the same: soon, and only once.
        landing = math.ceil(LANDING * self._total / self._pace)
        updates = max(updates, landing if old is None else min(old, landing))
        if self._most is not None:
            updates = min(updates, self._most - trainer.step)
        if old is None or abs(updates - old) > MOVED * old:
            trainer.plan = trainer.plan.changed(trainer.step, updates, self._settings.warmup_steps)
            self._write(trainer, [])

    def _time_for_updates(self) -> float:
        """Seconds that are left for updates beside all that is due on the way and at the end."""
        now = self._elapsed()
        at_the_end = self._cost("final") + self._cost("eval") + 2 * self._cost("checkpoint")  # `last` and `best`
        left = self._total - now - at_the_end
        for event in EVENTS:
            period = self._period(event)
            first = max(0.0, period - (now - self._since[event]))
            times = max(0, math.floor((left - period / 2 - first) / period) + 1)
            left -= times * self._cost(event)
        return left

    def _write(self, trainer: Trainer, due: list[Event]) -> None:
        step, end = trainer.step, trainer.plan.end
        assert end is not None, "what is written was planned"
        progress = trainer.plan.progress_at(step)
        seconds = round(self._elapsed(), 3)
        self._tell(PlanRow(step=step, updates=end - step, progress=progress, due=tuple(due), elapsed=seconds))


def intervals_of(settings: TrainConfig) -> dict[Event, int]:
    """Updates between two of each kind."""
    return {
        "eval": settings.eval_interval,
        "sample": settings.sample_interval,
        "checkpoint": settings.checkpoint_interval,
    }


def director_of(trainer: Trainer, run: Path, tell: Listener, elapsed: Callable[[], float]) -> Director:
    """Choose what decides when to evaluate, sample and save.

    Args:
        trainer: restored.
        run: its folder; one that repeats another has the other's plans.
        tell: is told `plan` rows.
        elapsed: seconds of the run so far.
    """
    settings = trainer.settings
    if settings.minutes is None:
        return ByUpdates(settings)
    if (run / PLANS).is_file():
        written = len(read_rows(run / METRICS, PlanRow))
        return AsWritten(trainer, read_rows(run / PLANS, PlanRow), written, tell)
    tokens = trainer.data.manifest.val.tokens

    def final() -> float:
        return 0.0 if trainer.is_done else trainer.seconds_to_evaluate(tokens)

    share = trainer.eval_tokens / tokens
    return Deadline(settings, tell, elapsed, most=settings.max_steps, final=final, share=share)
