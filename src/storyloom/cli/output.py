"""What several verbs print in the same way."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2  # columns between two columns of a table
NARROWEST_NAME = 12  # columns; a name is folded to no less


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on standard output. JSON has no nan, which a figure is where there is too little text for it."""
    sys.stdout.write(json.dumps(_without_nan(content), ensure_ascii=False, allow_nan=False) + "\n")


def tell_aside(text: str) -> None:
    """A line on standard error; a command does not fail because nobody can read its notes."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A name and its figures a row; on a terminal too narrow for that, a figure a line. No figure is ever cut.

    Args:
        heads: of the columns; a line break in one is kept.
        rows: as many cells each, the first one a name, which may be folded; printed as they are, brackets too.
    """
    console = Console(file=sys.stdout)
    if _narrowest(heads, rows) > console.width:
        for name, *figures in rows:
            sys.stdout.write(f"{name}\n")
            for head, figure in zip(heads[1:], figures, strict=True):
                sys.stdout.write(f"  {' '.join(head.split())}: {figure}\n")
        return
    table = Table(heads[0], box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for head in heads[1:]:
        table.add_column(Text(head), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _narrowest(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns of the terminal that a table needs with its figures whole."""
    cells = [[line for cell in column for line in cell.split("\n")] for column in zip(heads, *rows, strict=True)]
    names, *figures = (max(map(cell_len, column)) for column in cells)
    return min(names, NARROWEST_NAME) + sum(GAP + width for width in figures)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if value != value else value
