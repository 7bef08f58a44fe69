"""`storyloom report`."""

from pathlib import Path
from typing import Annotated

import typer

import storyloom


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder; the run may be unfinished.")],
    out: Annotated[Path | None, typer.Option(help="The page to write. Default: report.html in the run folder.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="best or last. Default: best, if there is one by now.")] = None,
) -> None:
    """Write a run as one HTML page: curves, what they say, stories, settings."""
    page = storyloom.write_report(run, out=out, checkpoint=checkpoint)
    typer.echo(f"report: {typer.format_filename(page)}")
