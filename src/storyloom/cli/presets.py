"""`storyloom presets`."""

from typing import Annotated

import typer


def presets(name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this one.")] = None) -> None:
    """List the named configurations, or print one."""
    from storyloom.config import describe_presets, preset_text

    if name is not None:
        typer.echo(preset_text(name), nl=False)
        return
    for claim in describe_presets().values():
        typer.echo(claim)
