"""A run's settings beside the defaults, two runs' beside one another, and the commands that make a run again."""

from dataclasses import dataclass
from typing import Any

from storyloom.config import Config, DataConfig
from storyloom.reporting.record import Record
from storyloom.runs.layout import OWN_DATA
from storyloom.shell import command_line, path_word

ASKED = ("preset", "minutes", "init", "source", "data")  # of a run's origin, beside the settings
SHORT = 12  # digits of a checksum, enough to see that two differ
MADE_WITH = ("storyloom", "torch")


@dataclass(frozen=True)
class Setting:
    """One setting of a run."""

    name: str
    """GROUP.NAME."""
    value: str
    default: str
    meaning: str

    @property
    def is_default(self) -> bool:
        """Whether it is what nobody asked for."""
        return self.value == self.default


def shown(value: Any) -> str:
    """A value as TOML has it, words without quotes.

    >>> shown(None), shown(True), shown(0.9999999), shown("rope")
    ('none', 'true', '0.9999999', 'rope')
    """
    if value is None:
        return "none"
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.12g}" if isinstance(value, float) else str(value)
    )


def settings_of(config: Config) -> list[Setting]:
    """All settings, in the order of the schema."""
    return [
        Setting(
            f"{group}.{name}",
            shown(getattr(settings, name)),
            shown(getattr(getattr(Config(), group), name)),
            " ".join(str(field.description).split()),
        )
        for group, settings in config
        for name, field in type(settings).model_fields.items()
    ]


def differences(records: list[Record]) -> dict[str, list[str]]:
    """What runs were asked for, made from and set to in which they differ: each one's value in each run."""
    values = [
        {name: shown(record.run.origin.get(name)) for name in ASKED}
        | {"data's checksum": shown(record.run.origin.get("data_fingerprint"))[:SHORT]}
        | {name: shown(record.run.origin.get(name)) for name in MADE_WITH}
        | {setting.name: setting.value for setting in settings_of(record.config)}
        for record in records
    ]
    names = {name: [of_run[name] for of_run in values] for name in values[0]}
    return {name: of_runs for name, of_runs in names.items() if len(set(of_runs)) > 1}


def commands(record: Record) -> list[tuple[str, str]]:
    """What to type to make the run again and to continue it: a purpose and a command line each."""
    run, origin = path_word(record.run.path), record.run.origin
    prepared = origin["data"] != OWN_DATA
    data = path_word(record.run.data_folder if prepared else origin.get("source", OWN_DATA))
    typed = [] if not prepared else [("the data, where its texts lie", _prepare(record, data))]
    typed.append(("the run", ["storyloom", "train", "--data", data, "--out", "RUN", *_asked(record)]))
    exact = ["storyloom", "train", "--data", data, "--out", "RUN", "--config", f"{run}/config.toml", *_init(record)]
    if record.config.train.minutes is not None:  # its configuration alone would plan by the clock again
        exact = ["storyloom", "train", "--repeat", run, "--out", "RUN"]
    if record.config.train.minutes is None or record.final is not None:
        typed.append(("the very same updates, whatever the machine's speed", exact))
    if record.final is None:
        typed.append(("continue it", ["storyloom", "train", "--out", run, "--resume"]))
    typed.append(("its loss", ["storyloom", "evaluate", run]))
    typed.append(("more stories", ["storyloom", "tell", "--model", run]))
    return [(purpose, command_line(words)) for purpose, words in typed if words]


def _asked(record: Record) -> list[str]:
    """The options that the run was started with."""
    origin = record.run.origin
    asked = (
        ["--preset", origin["preset"]]
        if "preset" in origin
        else ["--config", f"{path_word(record.run.path)}/config.toml"]
    )
    if "minutes" in origin:
        asked += ["--minutes", shown(origin["minutes"])]
    asked += _init(record)
    for setting in origin.get("settings", ()):
        asked += ["--set", setting]
    return asked


def _init(record: Record) -> list[str]:
    """The run whose weights it began with, if there is one."""
    return ["--init", path_word(record.run.origin["init"])] if "init" in record.run.origin else []


def _prepare(record: Record, data: str) -> list[str]:
    """How the data folder was made; nothing where it is gone."""
    if record.data is None:
        return []
    manifest, default = record.data.manifest, DataConfig()
    made = {**default.model_dump(), **manifest.settings}
    named = (*manifest.sources, *manifest.not_read)
    sources = [path_word(name or ".") for name in named]  # `Path(".")` has no name
    words = ["storyloom", "prepare", *sources, "--out", data]
    words += ["--tokenizer", made["tokenizer"]]
    if made["tokenizer"] == "bpe":
        words += ["--vocab-size", str(made["vocab_size"])]
    if record.val_source is None:
        words += ["--val-fraction", str(made["val_fraction"])]
    elif not record.val_source.startswith("the split"):  # which a data set of the hub brings
        words += ["--val", record.val_source]
    if made["limit_mb"] is not None:
        words += ["--limit-mb", str(made["limit_mb"])]
    if made["column"] != default.column:
        words += ["--column", made["column"]]
    return words + [f"--{flag.replace('_', '-')}" for flag in ("clean", "strict_characters") if made[flag]]
