"""`train`: resolve the settings, lay out the run folder, train, evaluate all; or go on where a run stopped."""

import hashlib
import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from storyloom.config import Config, apply_settings, load_config, load_preset, save_config
from storyloom.data import Data
from storyloom.errors import ConfigError, RunError
from storyloom.evaluation import evaluate
from storyloom.files import is_vacant, recover_folder
from storyloom.runtime import Run, choose_runtime
from storyloom.runtime.run import CHECKPOINTS
from storyloom.training.budget import choose_max_steps
from storyloom.training.metrics import Listener, MetricsLog, cut_back, read_rows
from storyloom.training.progress import LiveLine
from storyloom.training.trainer import Trainer

DEFAULT_PRESET = "laptop"
LIMITS = ("max_steps", "max_epochs", "max_tokens")
BEFORE_CONFIG = {"tokenizer.json", "tokenizer.json.new", "config.toml.new"}


def train(
    data: Data | str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str],
    preset: str | None = None,
    config: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    minutes: float | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a model, or go on with a run that was interrupted.

    Args:
        data: a data folder, or its path. A resumed run knows its own.
        out: the run folder to make; must not exist or be empty, unless `resume`.
        preset: a named configuration; `laptop` where nothing is named.
        config: a TOML file instead of a preset.
        settings: changes to it, as `GROUP.NAME=VALUE`.
        minutes: wall-clock time for all of it, evaluations included; takes the place of the preset's own limits.
        resume: go on from the last checkpoint; the other options, where given, must be those the run was started with.
        progress: write a live line to standard error.

    Returns:
        The finished run.

    Raises:
        ConfigError: a setting is unknown or impossible.
        DataError: the data is missing, damaged, or too small.
        RunError: `out` exists, or cannot be resumed with these options.
        TrainingDiverged: the loss is no longer finite; the last good checkpoint is kept.
        KeyboardInterrupt: after Ctrl-C, once the last checkpoint is saved.
    """
    started = time.perf_counter()
    folder = Path(out)
    listener = LiveLine() if progress else None
    request = _Request(data, preset, config, tuple(settings), minutes)
    if resume and (folder / "config.toml").is_file():
        run = Run(folder)
        opened = _check_request(request, run)
    else:
        if not (is_vacant(folder) or (resume and _was_just_begun(folder))):
            raise RunError(f"{folder} exists already: choose another --out, go on with --resume, or remove it first")
        run, opened = _start(request, folder, started, listener)
    return _go_on(run, opened, started, listener)


class _Request:
    """What the user asked for, before anything is resolved."""

    def __init__(
        self,
        data: Data | str | os.PathLike[str] | None,
        preset: str | None,
        config: str | os.PathLike[str] | None,
        settings: tuple[str, ...],
        minutes: float | None,
    ) -> None:
        if preset is not None and config is not None:
            raise ConfigError("--preset and --config contradict each other: name one of them")
        if minutes is not None and not 0 < minutes < float("inf"):
            raise ConfigError(f"--minutes {minutes:g} must be above 0 and finite: for example --minutes 10")
        self.data = data if data is None or isinstance(data, Data) else Data(data)
        self.preset = preset
        self.file = Path(config) if config is not None else None
        self.settings, self.minutes = settings, minutes

    def resolve(self) -> Config:
        """The configuration before the data and the machine have their say."""
        base = load_config(self.file)[0] if self.file else load_preset(self.preset or DEFAULT_PRESET)
        if self.minutes is not None:
            base = base.with_(train=base.train.with_(**dict.fromkeys(LIMITS)))
        return apply_settings(base, self.settings)

    def origin(self) -> dict[str, Any]:
        """What `--resume` compares repeated options with."""
        named = {"preset": self.preset or DEFAULT_PRESET} if self.file is None else {"config_sha256": _sha(self.file)}
        return named | ({"minutes": self.minutes} if self.minutes is not None else {})


def _start(request: _Request, folder: Path, started: float, listener: Listener | None) -> tuple[Run, Data]:
    """Resolve everything and lay out a run folder; nothing is written before all of it is known to be possible."""
    if request.data is None:
        raise RunError(
            f"there is no run at {folder} to go on with, and no data to start one: name a data folder with --data "
            "(`storyloom prepare` makes one)"
        )
    data, config = request.data, request.resolve()
    notes = _differences(config, data)
    made = data.manifest["settings"]
    config = config.with_(
        data=config.data.with_(**made),
        model=config.model.with_(vocab_size=data.tokenizer.vocab_size),
    )
    runtime = choose_runtime(config.train)
    max_steps = choose_max_steps(config, data, runtime, request.minutes, started)
    resolved = config.train.with_(max_steps=max_steps, precision=runtime.precision, threads=runtime.threads)
    for note in notes:
        if listener:
            listener({"kind": "note", "step": 0, "text": note})
    folder.mkdir(parents=True, exist_ok=True)
    data.tokenizer.save(folder / "tokenizer.json")
    origin = {
        **request.origin(),
        "settings": list(request.settings),
        "data": str(data.path.resolve()),
        "data_fingerprint": data.fingerprint,
        "tokenizer": data.tokenizer.fingerprint,
        "storyloom": version("storyloom"),
        "torch": torch.__version__,
    }
    save_config(folder / "config.toml", config.with_(train=resolved), origin)  # last: it makes the folder a run
    return Run(folder), data


def _was_just_begun(folder: Path) -> bool:
    """Whether a start died before `config.toml` made the folder a run; any other folder is somebody's own."""
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= BEFORE_CONFIG


def _go_on(run: Run, data: Data, started: float, listener: Listener | None) -> Run:
    """Train from the last checkpoint (or step 0) to the end, then evaluate all validation stories."""
    if read_rows(run.path / "metrics.jsonl", "final"):
        if listener:
            listener({"kind": "note", "step": 0, "text": f"{run.path} is finished already: nothing to resume"})
        return run
    if listener and run.origin.get("torch") != torch.__version__:
        note = f"started with torch {run.origin.get('torch')}, this is {torch.__version__}: the bits may differ"
        listener({"kind": "note", "step": 0, "text": note})
    for name in CHECKPOINTS:
        recover_folder(run.checkpoint_folder(name))
    trainer = Trainer(run.config, data, choose_runtime(run.config.train))
    if run.has_checkpoint("last"):
        trainer.restore(run)
    cut_back(run.path, trainer.step)
    log = MetricsLog(run.path, listener)
    try:
        trainer.fit(run, log)
        figures = evaluate(run, data=data)
        minutes = (time.perf_counter() - started) / 60
        log.write("final", trainer.step, checkpoint="best", **figures, minutes=round(minutes, 2))
    finally:
        log.close()
    return run


def _check_request(request: _Request, run: Run) -> Data:
    """Open the run's own data; whatever the user repeats must equal what is stored."""
    for name, given in request.origin().items():
        if name == "preset" and request.preset is None:
            continue  # the default was filled in, not asked for
        if run.origin.get(name) != given:
            raise RunError(_changed(run, name, run.origin.get(name), given))
    for setting in request.settings:
        if setting in run.origin.get("settings", ()):
            continue  # the very words it was started with; what they led to, such as `auto`, may be stored otherwise
        if apply_settings(run.config, [setting]) != run.config:
            raise RunError(_changed(run, setting.partition("=")[0], "another value", setting.partition("=")[2]))
    data = request.data or Data(run.origin["data"])
    if data.fingerprint != run.origin["data_fingerprint"]:
        raise RunError(f"{data.path} is not the data that {run.path} was trained on: name that, or start a new run")
    return data


def _changed(run: Run, name: str, stored: object, given: object) -> str:
    if name == "config_sha256":  # enough of the checksums to see that they differ
        stored, given = str(stored)[:12], str(given)[:12]
    return (
        f"{run.path} was started with {name} = {stored}, not {given}: --resume goes on with the very same run; "
        "leave the option out, or start a new run"
    )


def _differences(config: Config, data: Data) -> list[str]:
    """Where the data was made otherwise than the configuration asks for."""
    made = data.manifest["settings"]
    return [
        f"the configuration asks for data.{name} = {asked}, {data.path} was prepared with {made[name]}, which holds"
        for name, asked in config.data.model_dump(include={"tokenizer", "vocab_size"}).items()
        if made[name] != asked and (name == "tokenizer" or made["tokenizer"] == "bpe")  # else nobody asked for a size
    ]


def _sha(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise ConfigError(
            f"cannot read the configuration file {path}: see `storyloom presets` for named ones"
        ) from None
