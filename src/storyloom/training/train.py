"""`train`: resolve the settings, lay out the run folder, train, evaluate all; or continue where a run stopped."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from storyloom.config import Config, DataConfig, save_config
from storyloom.data import Data, prepare
from storyloom.data.sources import text_of
from storyloom.errors import RunError
from storyloom.evaluation import evaluate
from storyloom.files import is_vacant, recover_folder, remove_leftovers, sha256_of, write_text
from storyloom.runs import Run, save_checkpoint
from storyloom.runs.checkpoint import Checkpoint
from storyloom.runs.layout import BEGUN, CHECKPOINTS, METRICS, OWN_DATA, PLANS, STATE
from storyloom.runs.opening import Model
from storyloom.runs.rows import (
    FinalRow,
    Listener,
    NoteRow,
    PlanRow,
    RunLog,
    TrainRow,
    as_line,
    cut_back,
    read_marks,
    read_rows,
)
from storyloom.runtime import Runtime, choose_runtime
from storyloom.signals import exit_on_signals
from storyloom.training.deadline import AsWritten, ByUpdates, Deadline, Director
from storyloom.training.folder import alone_in, begun, clear, is_begun
from storyloom.training.listeners import Broadcast
from storyloom.training.loop import Loop, RunClock, known, repair_best
from storyloom.training.process import only_training, process_as_found
from storyloom.training.progress import LiveLine
from storyloom.training.request import Request, check_finished, check_flag
from storyloom.training.resolve import check_time, differences, resolve
from storyloom.training.trainer import CompiledStep, Trainer


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
            return _go_on(run, opened, choose_runtime(run.config.train), None, started, listeners)
        if resume and is_begun(folder):
            clear(folder)
        if not is_vacant(folder):
            way_on = "" if resume else "continue it with `resume`, "
            raise RunError(f"{folder} exists already: choose another `out`, {way_on}or remove it first")
        asked = request.resolve()
        folder = folder.absolute()  # a listener may change the working directory
        with begun(folder):
            opened = _opened(request.opened, folder, asked.data, listeners)
            started = time.perf_counter()
            run, runtime, compiled = _start(request, asked, opened, folder, started, listeners)
        return _go_on(run, opened, runtime, compiled, started, listeners)


def _checked_out(out: object) -> Path:
    text = text_of(out, "out", "give the path of the run folder to make")
    if not text:  # `Path("")` is the working directory
        raise RunError("out is empty: name the run folder to make")
    return Path(text)


def _opened(data: Data | str | None, folder: Path, settings: DataConfig, listeners: Sequence[Listener]) -> Data:
    """The data, prepared inside the run folder where it is a source."""
    if data is None:
        raise RunError(
            f"there is no run at {folder} to continue, and no data to start one: name a data folder as `data` "
            "(`storyloom prepare` makes one), or a text file of stories"
        )
    if isinstance(data, Data):
        return data
    _note(listeners, f"preparing {data} into {folder / OWN_DATA}, with the tokenizer {settings.tokenizer}")
    started, is_live = time.perf_counter(), any(isinstance(listener, LiveLine) for listener in listeners)
    prepared = prepare(data, out=folder / OWN_DATA, preset=settings, progress=is_live)
    _note(listeners, f"prepared in {time.perf_counter() - started:.1f} s, which do not count as training")
    return prepared


def _start(
    request: Request, config: Config, data: Data, folder: Path, started: float, listeners: Sequence[Listener]
) -> tuple[Run, Runtime, CompiledStep | None]:
    """Resolve everything, then write it into the run folder; returns the machine and what was compiled for it, too."""
    notes = differences(config, data, request.settings)
    compiled = None
    if request.repeat is None:
        resolved, runtime, compiled = resolve(request, config, data, notes)
    else:
        _check_data(request.repeat, data)
        resolved, runtime = config, choose_runtime(config.train)
    trainer = Trainer(resolved, data, replace(runtime, compile=False))
    if request.repeat is None and resolved.train.minutes is not None:
        check_time(resolved.train.minutes, trainer, data, started)
    for note in notes:
        _note(listeners, note)
    data.tokenizer.save(folder / "tokenizer.json")
    origin = request.origin()
    if request.init is not None:
        beginning, origin["init_sha256"] = _begin_from(request.init, trainer)
        if request.repeat is not None and request.repeat.origin.get("init_sha256") != origin["init_sha256"]:
            raise RunError(
                f"{request.init.path} no longer has the weights that {request.repeat.path} began with: it cannot be "
                "repeated unless they are put back"
            )
        save_checkpoint(folder / "checkpoints" / "last", beginning)
    if request.repeat is not None and resolved.train.minutes is not None:
        plans = read_rows(request.repeat.path / METRICS, PlanRow)
        write_text(folder / PLANS, "".join(as_line(row) + "\n" for row in plans))
    origin |= {
        "settings": list(request.settings),
        "data": OWN_DATA if data.path == folder / OWN_DATA else str(data.path.resolve()),
        "data_fingerprint": data.fingerprint,
        "tokenizer": data.tokenizer.fingerprint,
        "storyloom": version("storyloom"),
        "torch": torch.__version__,
    }
    save_config(folder / "config.toml", resolved, origin)  # last: it makes the folder a run
    return Run(folder), runtime, compiled


def _check_data(other: Run, data: Data) -> None:
    """A run is repeated on the data that it was trained on."""
    if data.fingerprint != other.origin["data_fingerprint"]:
        raise RunError(f"{data.path} is not the data that {other.path} was trained on: name that")


def _begin_from(init: Model, trainer: Trainer) -> tuple[Checkpoint, str]:
    """The checkpoint of step 0 with another run's best weights or a model folder's, and the checksum of their file.

    The new run does not need them again; to repeat it, the same weights must still be there.
    """
    trainer.begin_with(init.read_weights(), init.weights_file)
    return trainer.checkpoint(), sha256_of(init.weights_file)


def _go_on(
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
        _note(listeners, f"{run.path} is finished already: nothing to resume")
        return run
    _ = run.tokenizer  # what is damaged is said before anything is cut
    run.path = run.path.absolute()  # as above
    if run.origin.get("torch") != torch.__version__:
        made_with = run.origin.get("torch")
        _note(listeners, f"started with torch {made_with}, this is {torch.__version__}: the bits may differ")
    if "repeats" in run.origin:
        _note(listeners, f"repeating {run.origin['repeats']}")
    remove_leftovers(run.path)
    for name in CHECKPOINTS:
        recover_folder(run.checkpoint_folder(name))
    if run.has_checkpoint("best") and not run.has_checkpoint("last"):  # `last` is saved first
        raise RunError(f"{run.checkpoint_folder('last')} is missing: put it back, or start a new run")
    trainer = Trainer(run.config, data, runtime, compiled)
    state = trainer.restore(run).state if run.has_checkpoint("last") else {}
    cut = cut_back(run.path, read_marks(state, run.checkpoint_folder("last") / STATE), trainer.step)
    used = [row.elapsed for row in cut if isinstance(row, PlanRow | TrainRow)]  # the time after the checkpoint counts
    repair_best(trainer, run)
    clock = RunClock(started, max(*used, state.get("elapsed", 0.0), 0.0), state.get("seconds", 0.0))
    tell = None
    try:
        with closing(RunLog(run.path)) as log:
            tell = Broadcast(log, listeners)
            tell(trainer.start_row())
            loop = Loop(trainer, run, log, tell, _director(trainer, run, data, tell, clock), clock)
            loop.restore(state)
            loop.fit()
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
    return run


def _is_finished(run: Run) -> bool:
    try:
        return run.figures is not None
    except RunError:  # `cut_back` names the line, and how to continue
        return False


def _final_row(step: int, figures: Mapping[str, Any], minutes: float) -> FinalRow:
    """What `evaluate` found; what it leaves out, as it cannot be said of this text, is None."""
    optional = ("why_not_comparable", "limit_bits_per_byte", "gap_bits_per_byte", "gap_bits_per_byte_stderr")
    return FinalRow(step=step, checkpoint="best", minutes=minutes, **{**dict.fromkeys(optional), **known(figures)})


def _director(trainer: Trainer, run: Run, data: Data, tell: Listener, clock: RunClock) -> Director:
    """What decides when to evaluate, sample and save."""
    settings = trainer.settings
    if settings.minutes is None:
        return ByUpdates(settings)
    if (run.path / PLANS).is_file():
        written = len(read_rows(run.path / METRICS, PlanRow))
        return AsWritten(trainer, read_rows(run.path / PLANS, PlanRow), written, tell)
    tokens = data.manifest.val.tokens

    def final() -> float:
        return 0.0 if trainer.is_done else trainer.seconds_to_evaluate(tokens)

    share = trainer.eval_tokens / tokens
    return Deadline(settings, tell, clock.elapsed, most=settings.max_steps, final=final, share=share)


def _note_on_warm_up(trainer: Trainer, tell: Listener) -> None:
    """How long a run with a deadline is, only its end tells."""
    warmup = trainer.settings.warmup_steps
    if trainer.settings.minutes is not None and trainer.step <= warmup:
        in_warmup = f"all {trainer.step} updates lay in the warm-up of {warmup}"
        text = f"{in_warmup}: allow more minutes, or lower train.warmup_steps"
        tell(NoteRow(step=trainer.step, text=text))


def _note(listeners: Sequence[Listener], text: str) -> None:
    for listener in listeners:
        listener(NoteRow(step=0, text=text))
