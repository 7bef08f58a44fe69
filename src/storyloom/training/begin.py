"""How a run begins: its data is opened or prepared, its settings resolved, its folder laid out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from storyloom.config import Config, DataConfig, save_config
from storyloom.data import Data, prepare
from storyloom.errors import RunError
from storyloom.files import sha256_of, write_text
from storyloom.runs import Run, save_checkpoint
from storyloom.runs.checkpoint import Checkpoint
from storyloom.runs.layout import CHECKPOINT_FOLDER, METRICS, OWN_DATA, PLANS, RUN_CONFIG, TOKENIZER
from storyloom.runs.opening import Model
from storyloom.runs.rows import Listener, PlanRow, as_line, read_rows
from storyloom.runtime import Runtime, choose_runtime
from storyloom.training.compiled import CompiledStep
from storyloom.training.listeners import note
from storyloom.training.progress import LiveLine
from storyloom.training.request import Request
from storyloom.training.resolve import check_time, differences, resolve
from storyloom.training.state import checkpoint_of
from storyloom.training.trainer import Trainer


def open_data(data: Data | str | None, folder: Path, settings: DataConfig, listeners: Sequence[Listener]) -> Data:
    """The data, prepared inside the run folder if it is a source."""
    if data is None:
        raise RunError(
            f"there is no run at {folder} to continue, and no data to start one: name a data folder as `data` "
            "(`storyloom prepare` makes one), or a text file of stories"
        )
    if isinstance(data, Data):
        return data
    note(listeners, f"preparing {data} into {folder / OWN_DATA}, with the tokenizer {settings.tokenizer}")
    started, is_live = time.perf_counter(), any(isinstance(listener, LiveLine) for listener in listeners)
    prepared = prepare(data, out=folder / OWN_DATA, preset=settings, progress=is_live)
    note(listeners, f"prepared in {time.perf_counter() - started:.1f} s, which do not count as training")
    return prepared


@dataclass(frozen=True)
class Begun:
    """A run that is laid out, and the machine it trains on."""

    run: Run
    runtime: Runtime
    compiled: CompiledStep | None
    """What the probes compiled, for the run to use."""


def begin(
    request: Request, config: Config, data: Data, folder: Path, started: float, listeners: Sequence[Listener]
) -> Begun:
    """Resolve everything, then lay out the run folder.

    Args:
        request: what the user asked for.
        config: as the request resolves it.
        data: opened.
        folder: the run's, marked as begun.
        started: `time.perf_counter()` when the time of the run began.
        listeners: are told notes.
    """
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
    for text in notes:
        note(listeners, text)
    _lay_out(request, resolved, trainer, folder)
    return Begun(Run(folder), runtime, compiled)


def _lay_out(request: Request, config: Config, trainer: Trainer, folder: Path) -> None:
    """Write what makes the folder a run."""
    data, origin = trainer.data, request.origin()
    data.tokenizer.save(folder / TOKENIZER)
    if request.init is not None:
        beginning, origin["init_sha256"] = _begin_from(request.init, trainer)
        if request.repeat is not None and request.repeat.origin.get("init_sha256") != origin["init_sha256"]:
            raise RunError(
                f"{request.init.path} no longer has the weights that {request.repeat.path} began with: it cannot be "
                "repeated unless they are put back"
            )
        save_checkpoint(folder / CHECKPOINT_FOLDER / "last", beginning)
    if request.repeat is not None and config.train.minutes is not None:
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
    save_config(folder / RUN_CONFIG, config, origin)  # last: it makes the folder a run


def _check_data(other: Run, data: Data) -> None:
    """A run is repeated on the data that it was trained on."""
    if data.fingerprint != other.origin["data_fingerprint"]:
        raise RunError(f"{data.path} is not the data that {other.path} was trained on: name that")


def _begin_from(init: Model, trainer: Trainer) -> tuple[Checkpoint, str]:
    """The checkpoint of step 0 with another run's best weights or a model folder's, and the checksum of their file.

    The new run does not need them again; to repeat it, the same weights must still be there.
    """
    trainer.begin_with(init.read_weights(), init.weights_file)
    return checkpoint_of(trainer), sha256_of(init.weights_file)
