"""What a user asks of `train`, before anything is resolved, and whether it is what a run was started with."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

from storyloom.config import Config, apply_settings, load_config, load_preset
from storyloom.data import Data
from storyloom.data.sources import is_source, text_of
from storyloom.errors import ConfigError, RunError
from storyloom.files import MANIFEST, printable
from storyloom.runs import Run, load_checkpoint, open_model
from storyloom.runs.layout import LOGS
from storyloom.runs.rows import read_rows

DEFAULT_PRESET = "laptop"
LIMITS = ("max_steps", "max_epochs", "max_tokens")


class Request:
    """The options of one call of `train`; see there.

    Attributes:
        init: the run or model folder to start from, opened.
        repeat: the run to repeat, opened.

    Raises:
        ConfigError: two of them contradict each other.
        RunError: a run that they name is missing or damaged.
    """

    def __init__(
        self,
        data: Data | str | os.PathLike[str] | None,
        *,
        preset: str | None,
        config: str | os.PathLike[str] | None,
        settings: Sequence[str],
        minutes: float | None,
        init: str | os.PathLike[str] | None,
        repeat: str | os.PathLike[str] | None,
        device: str | None,
    ) -> None:
        _check_types(preset, settings, minutes)
        if preset is not None and config is not None:
            raise ConfigError("`preset` and `config` contradict each other: name one of them")
        if minutes is not None and not 0 < minutes < float("inf"):
            raise ConfigError(f"`minutes` = {minutes:g} must be above 0 and finite: for example `minutes` = 10")
        if repeat is not None and (preset, config, minutes, init, *settings) != (None,) * 4:
            raise ConfigError("a repeated run has the settings of the other one: leave all but data and device out")
        self._data = data if data is None or isinstance(data, Data) else _path(data, "data")
        self.preset = preset
        self.file = Path(_path(config, "config")) if config is not None else None
        self.settings, self._device = tuple(settings), device
        self.minutes = minutes if isinstance(minutes, int | float | None) else float(minutes)  # NumPy has its own
        self.repeat = _finished(Run(_path(repeat, "repeat"))) if repeat is not None else None
        if self.repeat is not None:
            init = self.repeat.origin.get("init")
        self.init = open_model(_path(init, "init"), "init") if init is not None else None

    def resolve(self) -> Config:
        """The configuration before the data and the machine have their say; refuses what cannot be begun with."""
        if isinstance(self.init, Run) and not self.init.has_checkpoint("best"):
            raise RunError(f"{self.init.path} has no checkpoint `best` to start from: let it train until it has one")
        data = self._data.path if isinstance(self._data, Data) else self._data
        for path in (os.path.abspath(path) for path in (data, self.init and self.init.path) if path is not None):
            if path != printable(path):
                raise RunError(f"the path {printable(path)} is not UTF-8, and a run cannot name it: rename it")
        if self.repeat is not None:
            return self.on_device(self.repeat.config)
        preset = DEFAULT_PRESET if self.preset is None else self.preset
        base = load_config(self.file)[0] if self.file else load_preset(preset)
        if self.minutes is not None:
            base = base.with_(train=base.train.with_(**dict.fromkeys(LIMITS), minutes=self.minutes))
        if self.init is not None:
            base = base.with_(model=self.init.model_config)
            if isinstance(data, str) and not _is_folder(data):
                base = base.with_(data=base.data.with_(tokenizer=str(self.init.path / "tokenizer.json")))
        return self.on_device(apply_settings(base, self.settings))

    def on_device(self, config: Config) -> Config:
        """A configuration with the device that was asked for, if one was."""
        return config if self._device is None else config.with_(train=config.train.with_(device=self._device))

    @cached_property
    def opened(self) -> Data | str | None:
        """The data folder, opened, or the name of a source of stories that is to be prepared.

        Raises:
            DataError: what it names is missing or damaged.
        """
        if self._data is None and self.repeat is not None:
            return _own_data(self.repeat)
        if isinstance(self._data, str):
            return Data(self._data) if _is_folder(self._data) else self._data
        return self._data

    def origin(self) -> dict[str, Any]:
        """What `--resume` compares repeated options with."""
        named: dict[str, Any] = {}
        if self.repeat is not None:
            named["repeats"] = str(self.repeat.path.resolve())
            if self.init is not None:
                named["init"] = str(self.init.path.resolve())
            return named
        named = {"preset": self.preset or DEFAULT_PRESET} if self.file is None else {"config_sha256": _sha(self.file)}
        if self.minutes is not None:
            named["minutes"] = self.minutes
        if isinstance(self._data, str) and not _is_folder(self._data):
            named["source"] = self._data
        if self.init is not None:
            named["init"] = str(self.init.path.resolve())
        return named

    def check(self, run: Run) -> Data:
        """Open the run's own data; whatever the user repeats must equal what is stored. Raises `RunError` otherwise."""
        for name, given in self.origin().items():
            if name == "preset" and self.preset is None:
                continue  # the default was filled in, not asked for
            if run.origin.get(name) != given:
                raise RunError(_changed(run, name, run.origin.get(name), given))
        asked = _by_key(run.origin.get("settings", ()))
        for key, setting in _by_key(self.settings).items():
            if setting == asked.get(key):
                continue  # the words it was started with; what they led to, such as `auto`, may be stored otherwise
            if apply_settings(run.config, [setting]) != run.config:
                raise RunError(_changed(run, key, _setting(run.config, key), setting.partition("=")[2]))
        is_source_of_run = isinstance(self._data, str) and self._data == run.origin.get("source")
        data = None if is_source_of_run else self.opened
        opened = data if isinstance(data, Data) else _own_data(run)
        if opened.fingerprint != run.origin["data_fingerprint"]:
            raise RunError(
                f"{opened.path} is not the data that {run.path} was trained on: name that, or start a new run"
            )
        return opened


def check_flag(name: str, value: object, otherwise: str = "") -> None:
    """Raise `ConfigError` for what is neither true nor false: a path at the wrong place, say."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r:.60}, of type {type(value).__name__}: give True or False{otherwise}")


def _check_types(preset: object, settings: object, minutes: object) -> None:
    if not isinstance(preset, str | None):
        raise ConfigError(f"preset is {preset!r:.60}, of type {type(preset).__name__}: give a preset's name")
    # A single text would be taken for a sequence of its letters.
    if not isinstance(settings, list | tuple) or not all(isinstance(setting, str) for setting in settings):
        raise ConfigError(f"settings is {settings!r:.60}: give texts such as model.n_layer=6, in a list")
    if isinstance(minutes, bool) or not isinstance(minutes, Real | None):
        raise ConfigError(f"minutes is {minutes!r:.60}, of type {type(minutes).__name__}: give a number")


def _path(value: object, name: str) -> str:
    path = text_of(value, name, "give a path")
    if not path:  # `Path("")` is the working directory
        raise RunError(f"{name} is empty: name a path, or leave it out")
    return path


def _is_folder(data: str) -> bool:
    """Whether a name is a data folder's, or nothing's, which is to be said in the words of one."""
    return (Path(data) / MANIFEST).is_file() or not is_source(data)


def _finished(run: Run) -> Run:
    if run.figures is None:
        raise RunError(f"{run.path} is not finished: only a run that came to its end can be repeated")
    check_finished(run)
    return run


def check_finished(run: Run) -> None:
    """Raise `RunError` unless a finished run is as it was left: tokenizer, checkpoints, and the rows they vouch for."""
    _ = run.tokenizer
    load_checkpoint(run.checkpoint_folder("best"))
    load_checkpoint(run.checkpoint_folder("last"))
    run.verify_logs()
    for name in LOGS:
        read_rows(run.path / name)


def _own_data(run: Run) -> Data:
    if not run.data_folder.exists():
        raise RunError(f"the data of {run.path} is no longer at {run.data_folder}: name where it is now as `data`")
    return Data(run.data_folder)


def _by_key(settings: Sequence[str]) -> dict[str, str]:
    """Of several `KEY=VALUE` for one key the last holds."""
    return {setting.partition("=")[0].strip(): setting for setting in settings}


def _setting(config: Config, key: str) -> object:
    group, _, name = key.partition(".")
    return config.model_dump()[group][name]


def _changed(run: Run, name: str, stored: object, given: object) -> str:
    if name == "config_sha256" and stored is not None:  # enough of the checksums to see that they differ
        stored, given = str(stored)[:12], str(given)[:12]
    with_what = f"with {name} = {stored}, not {given}" if stored is not None else f"without {name}, not with {given}"
    return f"{run.path} was started {with_what}: `resume` continues the very same run; leave it out, or start a new run"


def _sha(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise ConfigError(
            f"cannot read the configuration file {path}: see `storyloom presets` for named ones"
        ) from None
