"""`storyloom compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from storyloom.cli.output import print_json

if TYPE_CHECKING:
    from storyloom.reporting import Figures


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Two to eight run folders.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("compare.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Set runs side by side: figures, and one HTML page with curves, settings and stories."""
    from storyloom.reporting import Comparison, check_place

    check_place(out)  # before anything is said, so that an error is one line
    comparison = Comparison(runs)
    typer.echo("note: runs on one text are scored story by story, which takes as long as evaluating them", err=True)
    page = comparison.write(out)
    if as_json:
        print_json({**comparison.as_dict(), "page": typer.format_filename(page)})
    else:
        _print_figures(comparison.figures)
        typer.echo(f"page: {typer.format_filename(page)}")


def _print_figures(compared: list[Figures]) -> None:
    """A line for each run, and why one has no difference to the first; the names as they are, brackets too."""
    table = Table("run", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("bits/byte", "difference", "tokens", "minutes of\nupdates"):
        table.add_column(head, justify="right", no_wrap=True)
    for each in compared:
        table.add_row(
            Text(each.name),
            _with_stderr(each.bits_per_byte, each.bits_per_byte_stderr, ".4f"),
            _with_stderr(each.difference_bits_per_byte, each.difference_bits_per_byte_stderr, "+.4f"),
            f"{each.tokens:,}",
            f"{each.minutes:.1f}",
        )
    Console(file=sys.stdout).print(table)
    for each in compared:
        if each.why_no_difference:
            sys.stdout.write(f"{each.name} cannot be held against the first run: {each.why_no_difference}\n")


def _with_stderr(value: float | None, stderr: float | None, form: str) -> str:
    if value is None:
        return "-"
    return f"{value:{form}}" + ("" if stderr is None or stderr != stderr else f" +- {stderr:.4f}")
