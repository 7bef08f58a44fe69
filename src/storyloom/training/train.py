"""`train`: resolve the settings, lay out the run folder, train, evaluate all; or continue where a run stopped."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from storyloom.data import Data
from storyloom.data.sources import text_of
from storyloom.errors import RunError
from storyloom.evaluation import evaluate
from storyloom.files import is_vacant, recover_folder, remove_leftovers
from storyloom.runs import Run
from storyloom.runs.layout import BEGUN, CHECKPOINTS
from storyloom.runs.rows import FinalRow, Listener, NoteRow, PlanRow, RunLog, TrainRow, cut_back
from storyloom.runtime import Runtime, choose_runtime
from storyloom.signals import exit_on_signals
from storyloom.training.begin import begin, open_data
from storyloom.training.compiled import CompiledStep
from storyloom.training.deadline import director_of
from storyloom.training.folder import alone_in, begun, clear, is_begun
from storyloom.training.listeners import Broadcast, note
from storyloom.training.loop import Loop, RunClock, known, repair_best
from storyloom.training.process import only_training, process_as_found
from storyloom.training.progress import LiveLine
from storyloom.training.request import Request, check_finished, check_flag
from storyloom.training.state import restore
from storyloom.training.trainer import Trainer
from storyloom.training.update import Update


def train(
    data: Data | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    preset: str | None = None,
    config: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    minutes: float | None = None,
    init: str | os.PathLike[str] | None = None,
    repeat: str | os.PathLike[str] | None = None,
    device: str | None = None,
    resume: bool = False,
    progress: bool | Listener = True,
) -> Run:
    """Train a model, or continue a run that was interrupted.

    Args:
        data: a data folder, or its path; or a source of stories as `prepare` takes it (a text file, say), which is
            prepared into `out/data` first, by the configuration's data settings. A resumed run knows its own.
        out: the run folder to make; must not exist or be empty, unless `resume`.
        preset: a named configuration; `laptop` where nothing is named.
        config: a TOML file instead of a preset.
        settings: changes to it, as `GROUP.NAME=VALUE`.
        minutes: wall-clock time, evaluations included, the preparing of a source not; takes the place of the preset's
            own limits. A deadline: the length of the run is planned again as the machine's speed changes. A resumed
            run has the time that was left.
        init: start from the best weights of this run, or from those of this model folder, instead of random ones; the
            model's settings are theirs, and the data must have been prepared with their tokenizer.
        repeat: train as this finished run was trained, with its settings and its data, and with its plans in place of
            the clock: on the same machine, thread count and PyTorch the weights are the same to the bit.
        device: where to train, in place of the setting `train.device`; a resumed or repeated run may have another one
            than before, but not the same bits then.
        resume: continue from the last checkpoint; the other options, if given, must be those the run was started with.
        progress: write a live line to standard error; or a function that is told every row of the metrics and each
            sample as it comes, instead: a `TrainRow`, say, with `kind`, `step`, `loss` and so on; all kinds of rows
            are in `storyloom.runs.rows`.

    Returns:
        The finished run.

    Raises:
        ConfigError: a setting is unknown or impossible.
        DataError: the data is missing, damaged, or too small.
        RunError: `out` exists, cannot be resumed with these options, or is being trained by another process; or this
            process is training already.
        TrainingDiverged: the loss is no longer finite; what was saved before is kept.
        KeyboardInterrupt: after Ctrl-C, once the last checkpoint is saved.
        SystemExit: after SIGTERM or SIGHUP before or behind the updates; during them it is KeyboardInterrupt, too.
    """
    started = time.perf_counter()
    folder = _checked_out(out)
    check_flag("resume", resume)
    if not callable(progress):
        check_flag("progress", progress, " or a function of one argument")
    listeners: list[Listener] = [progress] if callable(progress) else [LiveLine()] if progress else []
    request = Request(
        data,
        preset=preset,
        config=config,
        settings=settings,
        minutes=minutes,
        init=init,
        repeat=repeat,
        device=device,
    )
    if not resume:  # what is wrong with them is said before anything is made
        request.resolve()
        _ = request.opened
    with only_training(), process_as_found(), exit_on_signals(), alone_in(folder):
        if resume and (folder / "config.toml").is_file():
            run = Run(folder)
            if is_begun(folder):  # it died right behind its configuration
                (folder / BEGUN).unlink()
            opened = request.check(run)
            run.config = request.on_device(run.config)
            return _continue(run, opened, choose_runtime(run.config.train), None, started, listeners)
        if resume and is_begun(folder):
            clear(folder)
        if not is_vacant(folder):
            way_on = "" if resume else "continue it with `resume`, "
            raise RunError(f"{folder} exists already: choose another `out`, {way_on}or remove it first")
        asked = request.resolve()
        folder = folder.absolute()  # a listener may change the working directory
        with begun(folder):
            opened = open_data(request.opened, folder, asked.data, listeners)
            started = time.perf_counter()
            made = begin(request, asked, opened, folder, started, listeners)
        return _continue(made.run, opened, made.runtime, made.compiled, started, listeners)


def _checked_out(out: object) -> Path:
    text = text_of(out, "out", "give the path of the run folder to make")
    if not text:  # `Path("")` is the working directory
        raise RunError("out is empty: name the run folder to make")
    return Path(text)


def _continue(
    run: Run,
    data: Data,
    runtime: Runtime,
    compiled: CompiledStep | None,
    started: float,
    listeners: Sequence[Listener],
) -> Run:
    """Train from the last checkpoint (or step 0) to the end, then evaluate all validation stories."""
    if _is_finished(run):
        check_finished(run)
        note(listeners, f"{run.path} is finished already: nothing to resume")
        return run
    _ = run.tokenizer  # what is damaged is said before anything is cut
    run.path = run.path.absolute()  # a listener may change the working directory
    if run.origin.get("torch") != torch.__version__:
        made_with = run.origin.get("torch")
        note(listeners, f"started with torch {made_with}, this is {torch.__version__}: the bits may differ")
    if "repeats" in run.origin:
        note(listeners, f"repeating {run.origin['repeats']}")
    _settle(run)
    trainer = Trainer(run.config, data, runtime, compiled)
    last = run.checkpoint_folder("last")
    state = restore(trainer, last) if run.has_checkpoint("last") else None
    cut = cut_back(run.path, state.logs if state else {}, trainer.step)
    clock = RunClock(started)
    if state:
        repair_best(trainer, run)
        clock = RunClock(started, state.elapsed, state.seconds)
    # The time of what was cut away is used, too.
    clock.used = max([clock.used, *(row.elapsed for row in cut if isinstance(row, PlanRow | TrainRow))])
    _fit(trainer, run, data, clock, state.since_row if state else (), listeners)
    return run


def _settle(run: Run) -> None:
    """Finish or roll back what a process that died was writing."""
    remove_leftovers(run.path)
    for name in CHECKPOINTS:
        recover_folder(run.checkpoint_folder(name))
    if run.has_checkpoint("best") and not run.has_checkpoint("last"):  # `last` is saved first
        raise RunError(f"{run.checkpoint_folder('last')} is missing: put it back, or start a new run")


def _fit(
    trainer: Trainer,
    run: Run,
    data: Data,
    clock: RunClock,
    since_row: Sequence[tuple[Update, float]],
    listeners: Sequence[Listener],
) -> None:
    """Train to the end and evaluate; every row goes to the run's log and to the listeners."""
    tell = None
    try:
        with closing(RunLog(run.path)) as log:
            tell = Broadcast(log, listeners)
            tell(trainer.start_row())
            director = director_of(trainer, run.path, tell, clock.elapsed)
            Loop(trainer, run, log, tell, director, clock, since_row).fit()
            _note_on_warm_up(trainer, tell)
            figures = evaluate(run, data=data, device=str(trainer.runtime.device))
            tell(_final_row(trainer.step, figures, round(clock.elapsed() / 60, 2)))
    except OSError as error:  # a full disk, a folder that is gone
        if tell is not None and error is tell.listeners_error:
            raise
        raise RunError(
            f"training stops at step {trainer.step}: cannot use {run.path}: {error.strerror}; what was saved before is "
            "kept: free some space or put it back, then continue with `resume`"
        ) from None


def _is_finished(run: Run) -> bool:
    try:
        return run.figures is not None
    except RunError:  # `cut_back` names the line, and how to continue
        return False


def _final_row(step: int, figures: Mapping[str, Any], minutes: float) -> FinalRow:
    """What `evaluate` found; what it leaves out, as it cannot be said of this text, is None."""
    optional = ("why_not_comparable", "limit_bits_per_byte", "gap_bits_per_byte", "gap_bits_per_byte_stderr")
    return FinalRow(step=step, checkpoint="best", minutes=minutes, **{**dict.fromkeys(optional), **known(figures)})


def _note_on_warm_up(trainer: Trainer, tell: Listener) -> None:
    """How long a run with a deadline is, only its end tells."""
    warmup = trainer.settings.warmup_steps
    if trainer.settings.minutes is not None and trainer.step <= warmup:
        in_warmup = f"all {trainer.step} updates lay in the warm-up of {warmup}"
        text = f"{in_warmup}: allow more minutes, or lower train.warmup_steps"
        tell(NoteRow(step=trainer.step, text=text))
