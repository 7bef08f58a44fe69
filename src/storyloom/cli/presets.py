"""`storyloom presets`."""

import textwrap
from typing import Annotated

import typer


def presets(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this one.")] = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="List all settings instead, with their defaults and meanings.")
    ] = False,
) -> None:
    """List the named configurations, or print one."""
    from storyloom.config import describe_presets, describe_settings, preset_text

    if name is not None and settings:
        raise typer.BadParameter(f"--settings lists those of all presets: leave {name} out")
    if name is not None:
        typer.echo(preset_text(name), nl=False)
        return
    if settings:
        for setting, meaning in describe_settings().items():
            typer.echo(f"{setting}\n{textwrap.fill(meaning, 100, initial_indent='    ', subsequent_indent='    ')}")
        return
    for claim in describe_presets().values():
        typer.echo(claim)
