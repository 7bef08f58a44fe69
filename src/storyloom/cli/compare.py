"""`storyloom compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storyloom.cli.output import print_json, print_table, tell_aside

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
    tell_aside("note: runs on one text are scored story by story, which takes as long as evaluating them")
    page = comparison.write(out)
    if as_json:
        print_json({**comparison.as_dict(), "page": typer.format_filename(page)})
    else:
        _print_figures(comparison.figures)
        typer.echo(f"page: {typer.format_filename(page)}")


def _print_figures(compared: list[Figures]) -> None:
    """A line for each run, and why one has no difference to the first; the names as they are, brackets too."""
    heads = ("run", "bits/byte", "difference", "tokens", "minutes of\nupdates")
    rows = [
        (
            each.name,
            _with_stderr(each.bits_per_byte, each.bits_per_byte_stderr, ".4f"),
            _with_stderr(each.difference_bits_per_byte, each.difference_bits_per_byte_stderr, "+.4f"),
            f"{each.tokens:,}",
            f"{each.minutes:.1f}",
        )
        for each in compared
    ]
    print_table(heads, rows)
    for each in compared:
        if each.why_no_difference:
            typer.echo(f"{each.name} cannot be held against the first run: {each.why_no_difference}")


def _with_stderr(value: float | None, stderr: float | None, form: str) -> str:
    if value is None:
        return "-"
    return f"{value:{form}}" + ("" if stderr is None or stderr != stderr else f" +- {stderr:.4f}")
