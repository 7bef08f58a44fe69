"""Configurations in and out of TOML: presets, files, `--set KEY=VALUE`.

TOML has no null: a setting that is None stands there as the word "none".

A preset is a TOML file in `presets/` whose header comment is its claim: where it comes from, on what hardware, in how
many minutes, to which loss, by which command.
"""

import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from storyloom.config.formats import FORMAT, NONE, check_content, check_format, content_checksum, settings_of
from storyloom.config.schema import Config, DataConfig, ModelConfig, Settings, TrainConfig, choices_of
from storyloom.errors import ConfigError, nearest
from storyloom.files import write_text

GROUPS: dict[str, type[Settings]] = {"data": DataConfig, "model": ModelConfig, "train": TrainConfig}


def preset_names() -> list[str]:
    """The names of all presets, in alphabetical order.

    >>> "laptop" in preset_names()
    True
    """
    folder = resources.files("storyloom.config") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """A preset's TOML as it stands, comments included. Raises `ConfigError` naming the nearest preset."""
    if name not in preset_names():
        raise ConfigError(f"unknown preset {name!r}: {nearest(name, preset_names())}")
    return (resources.files("storyloom.config") / "presets" / f"{name}.toml").read_text(encoding="utf-8")


def describe_presets() -> dict[str, str]:
    """Each preset's name and the first line of its claim."""
    return {name: preset_text(name).splitlines()[0].lstrip("# ") for name in preset_names()}


def describe_settings() -> dict[str, str]:
    """Each setting as `GROUP.NAME = DEFAULT`, and its meaning, with all choices where there are only so many.

    >>> describe_settings()["train.seed = 1337"]
    'Seed of the initial weights, the order of the data and dropout.'
    """
    described = {}
    for group, settings in Config():
        for name, field in type(settings).model_fields.items():
            default = getattr(settings, name)
            shown = NONE if default is None else str(default).lower() if isinstance(default, bool) else default
            choices = choices_of(field.annotation)
            meaning = f"One of {', '.join(choices)}. {field.description}" if choices else str(field.description)
            described[f"{group}.{name} = {shown}"] = " ".join(meaning.split())
    return described


def load_preset(name: str) -> Config:
    """A preset as a configuration.

    >>> load_preset("laptop").model.position
    'rope'
    """
    return _config(_parse(preset_text(name), f"preset {name}"))


def load_config(path: Path) -> tuple[Config, dict[str, Any]]:
    """Read a TOML configuration; returns it with its `[run]` table, where a trained run keeps what it was made from.

    Raises:
        ConfigError: the file is missing, no TOML, or has unknown settings; or it is a run's and was changed, or is of
            a newer format.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte-order mark
    except FileNotFoundError:
        raise ConfigError(f"no configuration file at {path}: see `storyloom presets` for named ones") from None
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}; name a TOML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: byte {error.start + 1} is not UTF-8; save it as UTF-8"
        ) from None
    groups = _parse(text, str(path))
    run = groups.pop("run", None)
    if run is None:
        return _config(groups), {}
    if not isinstance(run, dict):
        raise ConfigError(f"{path}: run = {run!r:.60} is no table: leave it out, as only `storyloom train` writes it")
    return _config_of_run(path, groups, run), run


def _config_of_run(path: Path, groups: dict[str, Any], run: dict[str, Any]) -> Config:
    """The settings of a trained run, every one of them, as they were written."""
    written = check_format(run.pop("format", None), str(path))
    checksum = run.pop("sha256", None)
    read = {name: settings_of(kind, groups.get(name, {}), written, f"{path}: {name}") for name, kind in GROUPS.items()}
    check_content({**groups, "run": run}, checksum, str(path))
    return Config(**{**groups, **read})


def save_config(path: Path, config: Config, run: dict[str, Any]) -> None:
    """Write a fully resolved configuration, every setting of it, with what the run was made from."""
    groups = {
        group: {name: NONE if value is None else value for name, value in settings.items()}
        for group, settings in config.model_dump().items()
    }
    checksum = content_checksum({**groups, "run": run})
    write_text(path, tomli_w.dumps({"run": {"format": FORMAT, "sha256": checksum, **run}, **groups}))


def apply_settings(config: Config, settings: Iterable[str]) -> Config:
    """Change settings by `GROUP.NAME=VALUE` strings; values are read as TOML, bare words as strings.

    >>> apply_settings(Config(), ["model.n_layer=6", "model.norm=layernorm", "train.grad_clip=none"]).model.n_layer
    6
    """
    groups = config.model_dump()
    for setting in settings:
        key, separator, value = setting.partition("=")
        group, dot, name = key.strip().partition(".")
        if not separator or not dot:
            raise ConfigError(f"the setting {setting!r} is not GROUP.NAME=VALUE: for example model.n_layer=6")
        if group not in groups:
            raise ConfigError(f"unknown group of settings {group!r} in {setting}: {nearest(group, groups)}")
        groups[group][name] = _value(value.strip())
    return Config(**groups)


def _config(groups: dict[str, Any]) -> Config:
    """Settings as they stand in a file."""
    read: dict[str, Any] = {}
    for group, settings in groups.items():
        is_table = isinstance(settings, dict)  # anything else is refused by Config, with its name
        read[group] = {k: None if v == NONE else v for k, v in settings.items()} if is_table else settings
    return Config(**read)


def _value(text: str) -> Any:
    if text.lower() == NONE:
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}") from None
