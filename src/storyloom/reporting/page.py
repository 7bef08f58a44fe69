"""What all pages share: the templates, how figures are written, and where a page may be put.

Everything that is filled into a template is escaped, stories above all, unless it is `Markup` that we drew ourselves.
"""

import math
import os
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from storyloom.errors import RunError
from storyloom.files import write_bytes

GENERATOR = '<meta name="generator" content="storyloom">'  # by which a page of ours is known
HEAD = 1000  # bytes in which it stands


def rounded(value: float | None, places: int = 3) -> str:
    """A figure to this many places; a dash where there is too little text for it.

    >>> rounded(1411.5113), rounded(0.78513, 2), rounded(None), rounded(float("nan"))
    ('1,411.511', '0.79', '–', '–')
    """
    return "–" if value is None or math.isnan(value) else f"{value:,.{places}f}"


def short(value: float) -> str:
    """A large number with three digits and its unit.

    >>> short(2_164_928), short(9_748_799_000), short(991), short(999_999)
    ('2.16M', '9.75B', '991', '1M')
    """
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:  # what three digits round up to it
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def rough(value: float) -> str:
    """Two digits, or all before the point where there are more.

    >>> rough(0.00312), rough(9.96), rough(1234.5)
    ('0.0031', '10', '1,234')
    """
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def megabytes(count: int) -> str:
    """Bytes as a reader counts them.

    >>> megabytes(9_748_799), megabytes(50_300)
    ('9.7 MB', '50.3 kB')
    """
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"


def with_code(text: str) -> Markup:
    """What stands between `backticks` as code, all of it escaped.

    >>> with_code("`a<b` or not")
    Markup('<code>a&lt;b</code> or not')
    """
    parts = [Markup("<code>{}</code>" if i % 2 else "{}").format(part) for i, part in enumerate(text.split("`"))]
    return Markup("").join(parts)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("storyloom.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(rounded=rounded, rough=rough, short=short, with_code=with_code)
    return environment


def render(template: str, **content: Any) -> str:
    """Fill in a template."""
    return _environment().get_template(template).render(generator=Markup(GENERATOR), **content)


def check_place(out: str | os.PathLike[str]) -> Path:
    """The path of a page that is to be written. Raises `RunError` where none may be put."""
    if not isinstance(out, str | os.PathLike) or "\0" in os.fspath(out):
        raise RunError(f"out is {out!r:.60}, of type {type(out).__name__}: give the path of the page to make")
    out = Path(out)
    if out.is_dir():
        raise RunError(f"{out} is a folder: name a file, {out / 'page.html'} for example")
    if not out.parent.is_dir():
        raise RunError(f"cannot write {out}: there is no folder {out.parent}: make it, or name another file")
    if out.exists() and not _is_ours(out):
        raise RunError(
            f"{out} exists already and is not a page of storyloom's: choose another `out`, or remove it first"
        )
    return out


def _is_ours(page: Path) -> bool:
    with page.open("rb") as file:
        return GENERATOR.encode() in file.read(HEAD)


def write_page(out: Path, html: str) -> Path:
    """Put a page in its place, wholly or not at all; what UTF-8 cannot hold, as in a folder's name, becomes `?`."""
    write_bytes(out, html.encode("utf-8", "replace"))
    return out
