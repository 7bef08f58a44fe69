"""`train`: resolve the settings, lay out the run folder, train, evaluate all; or go on where a run stopped."""

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from storyloom.config import Config, DataConfig, save_config
from storyloom.data import Data, prepare
from storyloom.errors import ConfigError, RunError
from storyloom.evaluation import evaluate
from storyloom.files import is_vacant, recover_folder, sole_writer
from storyloom.runtime import Run, Runtime, choose_runtime, load_checkpoint, save_checkpoint
from storyloom.runtime.checkpoint import Checkpoint
from storyloom.runtime.run import CHECKPOINTS
from storyloom.training.budget import fit_to_machine, make_plan
from storyloom.training.metrics import Listener, MetricsLog, cut_back, read_rows
from storyloom.training.progress import LiveLine
from storyloom.training.request import Request
from storyloom.training.trainer import Trainer

OWN_DATA = "data"  # where a source is prepared inside the run folder
BEGUN = "begun"  # stands there until config.toml makes it a run: all that we laid out beside it may be half a start
LAID_OUT = (
    "config.toml",  # goes first: with it the rest must be whole
    OWN_DATA,
    f"{OWN_DATA}.partial",
    "tokenizer.json",
    "tokenizer.json.new",
    "checkpoints",
    "config.toml.new",
    BEGUN,  # goes last: without it nothing here is known to be ours
)


def train(
    data: Data | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    preset: str | None = None,
    config: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    minutes: float | None = None,
    init: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | Listener = True,
) -> Run:
    """Train a model, or go on with a run that was interrupted.

    Args:
        data: a data folder, or its path; or a source of stories as `prepare` takes it (a text file, say), which is
            prepared into `out/data` first, by the configuration's data settings. A resumed run knows its own.
        out: the run folder to make; must not exist or be empty, unless `resume`.
        preset: a named configuration; `laptop` where nothing is named.
        config: a TOML file instead of a preset.
        settings: changes to it, as `GROUP.NAME=VALUE`.
        minutes: wall-clock time, evaluations included, the preparing of a source not; takes the place of the preset's
            own limits.
        init: start from the best weights of this run instead of random ones; the model's settings are that run's, and
            the data must have been prepared with its tokenizer.
        resume: go on from the last checkpoint; the other options, where given, must be those the run was started with.
        progress: write a live line to standard error; or a function that is told every row of the metrics and each
            sample as it comes, instead: a dictionary with `kind` (`start`, `train`, `eval`, `sample`, `note`, `final`),
            `step`, and what `metrics.jsonl` and `samples.jsonl` hold of it.

    Returns:
        The finished run.

    Raises:
        ConfigError: a setting is unknown or impossible.
        DataError: the data is missing, damaged, or too small.
        RunError: `out` exists, cannot be resumed with these options, or is being trained by another process.
        TrainingDiverged: the loss is no longer finite; what was saved before is kept.
        KeyboardInterrupt: after Ctrl-C, once the last checkpoint is saved.
    """
    started = time.perf_counter()
    folder = Path(out)
    listener = progress if callable(progress) else LiveLine() if progress else None
    request = Request(data, preset=preset, config=config, settings=tuple(settings), minutes=minutes, init=init)
    _forget_compiled()
    with ExitStack() as held:
        if resume and (folder / "config.toml").is_file():
            held.enter_context(_alone_in(folder))
            run = Run(folder)
            opened = request.check(run)
        else:
            if resume and (folder / BEGUN).is_file():
                with _alone_in(folder):
                    _clear(folder)
            if not is_vacant(folder):
                way_on = "" if resume else "go on with --resume, "
                raise RunError(f"{folder} exists already: choose another --out, {way_on}or remove it first")
            asked = request.resolve()
            with _begun(folder):
                held.enter_context(_alone_in(folder))
                opened = _opened(request.data, folder, asked.data, listener)
                started = time.perf_counter()
                run = _start(request, asked, opened, folder, started, listener)
        return _go_on(run, opened, started, listener)


def _forget_compiled() -> None:
    """PyTorch compiles one piece of code for at most eight shapes, then runs it eager without a word."""
    if "torch._dynamo" in sys.modules:  # else nothing is compiled yet, and importing it takes its time
        torch.compiler.reset()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two processes that train one run would overwrite each other's checkpoints and metrics."""
    with ExitStack() as held:
        try:
            held.enter_context(sole_writer(folder))
        except BlockingIOError:
            raise RunError(f"{folder} is being trained already: wait for that process, or stop it") from None
        yield


@contextmanager
def _begun(folder: Path) -> Iterator[None]:
    """Mark a vacant folder while the block makes a run of it; nothing is left of it when the block fails."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BEGUN).touch()
    try:
        yield
    except BaseException:
        _clear(folder)
        for path in made:
            with suppress(OSError):  # it may hold something else by now
                path.rmdir()
        raise
    (folder / BEGUN).unlink()


def _clear(folder: Path) -> None:
    """Remove what a start has laid out, and nothing else."""
    for path in (folder / name for name in LAID_OUT):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _opened(data: Data | str | None, folder: Path, settings: DataConfig, listener: Listener | None) -> Data:
    """The data, prepared inside the run folder where it is a source."""
    if data is None:
        raise RunError(
            f"there is no run at {folder} to go on with, and no data to start one: name a data folder with --data "
            "(`storyloom prepare` makes one), or a text file of stories"
        )
    if isinstance(data, Data):
        return data
    _note(listener, f"preparing {data} into {folder / OWN_DATA}, with the tokenizer {settings.tokenizer}")
    return prepare(data, out=folder / OWN_DATA, preset=settings)


def _start(
    request: Request, config: Config, data: Data, folder: Path, started: float, listener: Listener | None
) -> Run:
    """Resolve everything, then write it into the run folder."""
    notes = _differences(config, data, request.settings)
    resolved, runtime = _resolve(request, config, data, folder, started)
    beginning = _begin_from(request.init, Trainer(resolved, data, runtime)) if request.init else None
    steps, warmup = resolved.train.max_steps, resolved.train.warmup_steps
    if steps is not None and steps <= warmup:
        notes.append(f"all {steps} updates lie in the warm-up of {warmup}: allow more, or lower train.warmup_steps")
    for note in notes:
        _note(listener, note)
    data.tokenizer.save(folder / "tokenizer.json")
    if beginning is not None:
        save_checkpoint(folder / "checkpoints" / "last", beginning)
    origin = {
        **request.origin(),
        "settings": list(request.settings),
        "data": OWN_DATA if data.path == folder / OWN_DATA else str(data.path.resolve()),
        "data_fingerprint": data.fingerprint,
        "tokenizer": data.tokenizer.fingerprint,
        "storyloom": version("storyloom"),
        "torch": torch.__version__,
    }
    save_config(folder / "config.toml", resolved, origin)  # last: it makes the folder a run
    return Run(folder)


def _resolve(request: Request, config: Config, data: Data, folder: Path, started: float) -> tuple[Config, Runtime]:
    """Fill in what the data, the machine and a probe decide."""
    if request.init is not None and request.init.tokenizer.fingerprint != data.tokenizer.fingerprint:
        raise RunError(
            f"{data.path} was prepared with another tokenizer than {request.init.path}: prepare it with "
            f"--tokenizer {request.init.path / 'tokenizer.json'}"
        )
    if config.model.vocab_size not in (None, data.tokenizer.vocab_size):
        raise ConfigError(
            f"model.vocab_size = {config.model.vocab_size}, but the tokenizer of {data.path} has "
            f"{data.tokenizer.vocab_size} entries: leave it out, as it comes from the data"
        )
    config = config.with_(
        data=config.data.with_(**data.manifest["settings"]),
        model=config.model.with_(vocab_size=data.tokenizer.vocab_size),
    )
    config, runtime = fit_to_machine(config, data, choose_runtime(config.train))
    plan = make_plan(config, data, runtime, request.minutes, started, folder / "checkpoints" / "last")
    runtime = replace(runtime, compile=plan.compile)
    train = config.train.with_(
        max_steps=plan.max_steps, compile=plan.compile, precision=runtime.precision, threads=runtime.threads
    )
    return config.with_(train=train), runtime


def _begin_from(init: Run, trainer: Trainer) -> Checkpoint:
    """The checkpoint of step 0 with another run's best weights, so that the new run does not need that one again."""
    folder = init.checkpoint_folder("best")
    trainer.begin_with(load_checkpoint(folder).weights, folder)
    return trainer.checkpoint()


def _go_on(run: Run, data: Data, started: float, listener: Listener | None) -> Run:
    """Train from the last checkpoint (or step 0) to the end, then evaluate all validation stories."""
    if read_rows(run.path / "metrics.jsonl", "final"):
        _note(listener, f"{run.path} is finished already: nothing to resume")
        return run
    if run.origin.get("torch") != torch.__version__:
        made_with = run.origin.get("torch")
        _note(listener, f"started with torch {made_with}, this is {torch.__version__}: the bits may differ")
    for name in CHECKPOINTS:
        recover_folder(run.checkpoint_folder(name))
    trainer = Trainer(run.config, data, choose_runtime(run.config.train))
    if run.has_checkpoint("last"):
        trainer.restore(run)
    cut_back(run.path, trainer.step)
    try:
        with closing(MetricsLog(run.path, listener)) as log:
            trainer.fit(run, log)
            figures = evaluate(run, data=data)
            minutes = (time.perf_counter() - started) / 60
            log.write("final", trainer.step, checkpoint="best", **figures, minutes=round(minutes, 2))
    except OSError as error:  # a full disk, a folder that is gone
        raise RunError(
            f"training stops at step {trainer.step}: cannot use {run.path}: {error.strerror}; the last checkpoint is "
            "kept: mend that, then go on with --resume"
        ) from None
    return run


def _note(listener: Listener | None, text: str) -> None:
    if listener:
        listener({"kind": "note", "step": 0, "text": text})


def _differences(config: Config, data: Data, settings: Sequence[str]) -> list[str]:
    """Where the data was made otherwise than a preset's tokenizer, or any of the user's own settings, ask for."""
    made = data.manifest["settings"]
    own = {setting.partition("=")[0].strip().removeprefix("data.") for setting in settings}
    return [
        f"the configuration asks for data.{name} = {asked}, {data.path} was prepared with {made[name]}, which holds"
        for name, asked in config.data.model_dump(include={"tokenizer", "vocab_size", *own} & made.keys()).items()
        if made[name] != asked and (name != "vocab_size" or made["tokenizer"] == "bpe")  # else nobody asked for a size
    ]
