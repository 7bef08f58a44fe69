"""Write the pages of this folder that follow from the code: every setting, and every command with its options.

python docs/generate.py
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from storyloom.cli import build_app
from storyloom.config import Config, describe_presets, describe_settings, load_preset

DOCS = Path(__file__).parent
WRITTEN = "This page is written by `docs/generate.py`."
# What stands for an option's value.
METAVARS = {int: "N", float: "X", Path: "PATH", str: "TEXT"}


def settings_page() -> str:
    """Every setting by group, then the presets side by side."""
    lines = [
        "# All settings",
        WRITTEN,
        "`--set GROUP.NAME=VALUE` changes a setting of a preset, as in `--set model.n_layer=6`, and may be repeated; a "
        "TOML file for `--config` holds the same names in the tables `[data]`, `[model]` and `[train]`. Values are "
        "TOML's; `none` is no value. What contradicts itself is refused before anything is made. "
        "[adding-a-part.md](adding-a-part.md) says how to add a choice.",
    ]
    described = [(*setting.split(" = ", 1), meaning) for setting, meaning in describe_settings().items()]
    for group, settings in Config():
        lines += [f"## {group}", str(type(settings).__doc__)]
        rows = [
            (code(name), code(default), meaning) for name, default, meaning in described if name.startswith(f"{group}.")
        ]
        lines.append(table(("setting", "default", "meaning"), rows))
    return page([*lines, "## Presets side by side", *preset_lines()])


def preset_lines() -> Iterator[str]:
    """What each preset claims, and all settings in which one differs from the defaults."""
    yield table(("preset", "what it is"), [line.split(": ", 1) for line in describe_presets().values()])
    yield "The settings that a preset changes; a dash is the default. `storyloom presets NAME` gives the reasons."
    values = {name: flat(load_preset(name)) for name in describe_presets()}
    rows = []
    for setting, default in flat(Config()).items():
        chosen = [preset[setting] for preset in values.values()]
        if any(value != default for value in chosen):
            rows.append((code(setting), *("-" if value == default else shown(value) for value in chosen)))
    yield table(("setting", *values), rows)


def flat(config: Config) -> dict[str, Any]:
    """`GROUP.NAME` and its value."""
    groups = config.model_dump().items()
    return {f"{group}.{name}": value for group, settings in groups for name, value in settings.items()}


def commands_page() -> str:
    """Every command with its arguments and options, in the order of the help page."""
    lines = [
        "# The command line",
        WRITTEN,
        "`storyloom COMMAND --help` says the same. Exit status: 0 done; 2 you can fix it (one line on standard error "
        "says how); 1 our fault; 130 after Ctrl-C. With `--json` standard output holds one JSON object, nothing else.",
    ]
    for path, command in verbs("storyloom", typer.main.get_command(build_app())):
        lines += [f"## {path}", command.help.strip(), *command_lines(path, command)]
    return page(lines)


def verbs(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """All commands that do something, from the top down, each with the words that call it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from verbs(f"{path} {name}", inner)


def command_lines(path: str, command: Any) -> Iterator[str]:
    """How a command is called, and what each of its words means."""
    kinds = get_type_hints(command.callback)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    words = [each.metavar if each.required else f"[{each.metavar}]" for each in arguments]
    words += [spelled(each, kinds) for each in options if each.required]
    if any(not each.required for each in options):
        words.append("[OPTIONS]")
    yield code(" ".join([path, *words]))
    rows = [(code(each.metavar), each.help, default_of(each)) for each in arguments]
    rows += [(code(spelled(each, kinds)), each.help, default_of(each)) for each in options]
    if rows:
        yield table(("", "meaning", "default"), rows)


def spelled(option: Any, kinds: dict[str, Any]) -> str:
    """An option as it is typed."""
    name = "/".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return name
    return f"{name} {option.metavar or metavar(kinds[option.name])}"


def metavar(kind: Any) -> str:
    """What stands for a value of a kind, also where there may be none: `int | None`."""
    return next(word for known, word in METAVARS.items() if known in (kind, *get_args(kind)))


def default_of(parameter: Any) -> str:
    """What holds where an argument or option is left out."""
    if parameter.required:
        return "required"
    is_said = parameter.default not in (None, False, "")
    return code(str(parameter.default)) if is_said else ""


def page(parts: Iterable[str]) -> str:
    """Paragraphs to a page."""
    return "\n\n".join(parts) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; a cell may hold `|`."""
    cells = [list(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def code(text: str) -> str:
    """As it is typed."""
    return f"`{text}`"


def shown(value: Any) -> str:
    """A value as it stands in TOML."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


PAGES = {"settings.md": settings_page, "command-line.md": commands_page}


def main() -> None:
    """Write all pages."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
