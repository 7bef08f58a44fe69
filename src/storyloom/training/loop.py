"""The training loop: updates, and the evaluations, samples and checkpoints on the way.

Whatever is due at a step comes before its checkpoints, so that continuing from them leaves nothing out. When a model is
the best so far, `last` is saved, too, and before `best` is: whenever the process dies, the state to continue from knows
of the best model, and a `best` that is older than that is saved again from `last`, which holds the same weights.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from storyloom.errors import CheckpointError, TrainingDiverged
from storyloom.runs import Run, load_checkpoint, save_checkpoint
from storyloom.runs.checkpoint import Checkpoint
from storyloom.runs.rows import EvalRow, Listener, NoteRow, RunLog, SampleRow, TrainRow
from storyloom.runs.weights import model_weights
from storyloom.training.deadline import Director, Event
from storyloom.training.interrupt import StopRequest
from storyloom.training.state import checkpoint_of
from storyloom.training.trainer import Trainer
from storyloom.training.update import Update


class RunClock:
    """The time of a run over all its parts; the pauses between them do not count.

    Args:
        started: `time.perf_counter()` when this part began.
        used: seconds of the parts before.
        training: seconds of all updates before.
    """

    def __init__(self, started: float, used: float = 0.0, training: float = 0.0) -> None:
        self._started, self.used, self.training = started, used, training

    def elapsed(self) -> float:
        """Seconds so far."""
        return self.used + time.perf_counter() - self._started


class Loop:
    """Trains to the end, writing metrics, samples and checkpoints into the run folder.

    Args:
        trainer: at the step where it continues.
        run: whose folder is written.
        log: of that folder; checkpoints keep its marks.
        tell: is told every row; the log among others.
        director: says what is due.
        clock: of the run.
        since_row: updates, and their seconds, that no row tells of yet, as a checkpoint has them.
    """

    def __init__(
        self,
        trainer: Trainer,
        run: Run,
        log: RunLog,
        tell: Listener,
        director: Director,
        clock: RunClock,
        since_row: Iterable[tuple[Update, float]] = (),
    ) -> None:
        self._trainer, self._run, self._log, self._tell = trainer, run, log, tell
        self._director, self._clock = director, clock
        self._since_row = [*since_row]

    def fit(self) -> None:
        """Train to the end.

        Raises:
            TrainingDiverged: as `Trainer.update` does, or the model that is to be saved gives no finite loss.
            KeyboardInterrupt: after Ctrl-C or a termination signal, once `last` is saved.
        """
        trainer, director = self._trainer, self._director
        with StopRequest() as stop:
            while not trainer.is_done:
                due = director.after_update(trainer, self._update())
                if due or trainer.is_at_end or trainer.step % trainer.settings.log_interval == 0:
                    self._write_row()
                if "eval" in due or trainer.is_at_end:
                    self._timed("eval", self._evaluate)
                if "sample" in due:
                    self._timed("sample", self._sample)
                is_best = trainer.best_step == trainer.step
                stops = stop.requested  # asked once: a signal from here on waits for the next update
                if "checkpoint" in due or is_best or trainer.is_done or stops:
                    self._timed("checkpoint", self._save_last)
                if is_best:
                    save_best(trainer, self._run)
                if stops and not trainer.is_done:
                    raise KeyboardInterrupt
                if due:
                    director.after_events(trainer)

    def _timed(self, event: Event, action: Callable[[], None]) -> None:
        start = time.perf_counter()
        action()
        self._director.took(event, time.perf_counter() - start)

    def _update(self) -> float:
        """One update; returns its seconds."""
        start = time.perf_counter()
        try:
            update = self._trainer.update()
        except TrainingDiverged:
            self._write_row()
            raise
        seconds = time.perf_counter() - start
        self._clock.training += seconds
        self._since_row.append((update, seconds))
        return seconds

    def _write_row(self) -> None:
        """The updates since the row before: their mean loss and speed, and what is true of the latest."""
        if not self._since_row:
            return
        trainer, (latest, _) = self._trainer, self._since_row[-1]
        tokens = sum(update.tokens for update, _ in self._since_row)
        seconds = sum(seconds for _, seconds in self._since_row)
        loss = sum(update.loss * update.tokens for update, _ in self._since_row) / tokens
        if len(self._since_row) == 1:
            loss = latest.loss  # not rounded once more
        self._since_row.clear()
        row = TrainRow(
            step=trainer.step,
            tokens=trainer.tokens,
            epoch=round(trainer.batches.epochs, 4),
            loss=loss,
            bits_per_byte=loss * trainer.tokens_per_byte / math.log(2),
            learning_rate=latest.learning_rate,
            grad_norm=latest.grad_norm,
            tokens_per_second=round(tokens / seconds, 1),
            seconds=round(self._clock.training, 3),
            elapsed=round(self._clock.elapsed(), 3),
        )
        self._tell(row)

    def _evaluate(self) -> None:
        """Measure the model; one that is the best so far is to be saved."""
        trainer = self._trainer
        figures = trainer.evaluate()
        loss = figures["nats_per_token"]
        trainer.check_finite(loss)
        is_best = loss < trainer.best
        self._tell(EvalRow(step=trainer.step, is_best=is_best, **known(figures)))
        trainer.waited = 0 if is_best else trainer.waited + 1
        if is_best:
            trainer.best, trainer.best_step = loss, trainer.step
        elif trainer.waited == trainer.settings.patience:
            text = f"stopped early: {trainer.waited} evaluations in a row without a lower validation loss"
            self._tell(NoteRow(step=trainer.step, text=text))

    def _sample(self) -> None:
        self._trainer.check_finite()
        self._tell(SampleRow(step=self._trainer.step, story=self._trainer.sample()))

    def _save_last(self) -> None:
        """Save everything to continue from."""
        self._trainer.check_finite()
        checkpoint = checkpoint_of(
            self._trainer,
            self._log.marks(),
            elapsed=self._clock.elapsed(),
            seconds=self._clock.training,
            since_row=tuple(self._since_row),
        )
        save_checkpoint(self._run.checkpoint_folder("last"), checkpoint)


def known(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with None for nan: the standard error over a single story."""
    return {name: None if value != value else value for name, value in figures.items()}


def save_best(trainer: Trainer, run: Run) -> None:
    """Save the model as `best`, with the step and validation loss that make it so."""
    state = {"step": trainer.best_step, "nats_per_token": trainer.best}
    save_checkpoint(run.checkpoint_folder("best"), Checkpoint(model_weights(trainer.kept_model), state=state))


def repair_best(trainer: Trainer, run: Run) -> None:
    """Save `best` where the process died between `last` and it: `last`, just restored, holds the same weights."""
    if trainer.step == 0 or trainer.best_step != trainer.step:
        return
    try:
        is_there = load_checkpoint(run.checkpoint_folder("best")).state.get("step") == trainer.step
    except CheckpointError:
        is_there = False
    if not is_there:
        save_best(trainer, run)
