"""The comparison as a document, every measured figure from the lines of results and nowhere else."""

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile

from results import Row
from systems_contestants import (
    CONTESTANTS,
    MINUTES_OF_OURS,
    OURS,
    OURS_ON_CHARACTERS,
    RIVAL_ON_CHARACTERS,
    Contestant,
    Job,
)

from storyloom.config.loading import preset_text
from storyloom.reporting.references import DESCRIBED

INTRODUCTION = """# Story models side by side

Five published story models, rebuilt from their descriptions as presets, and ours, `laptop`: trained here on the same
text, measured on the same stories, in nats/token and in bits/byte. Only bits/byte compare models with different tokens.
Smaller is better; ± is the standard error over stories. It leaves out what another seed would change, which for
`laptop` is 0.008 to 0.012 bits/byte: every row is a single run.

This page is written by `make systems TEXT=TRAIN.txt VAL=VALID.txt` (`benchmarks/systems.py`) from
`benchmarks/systems.jsonl`. The commands that repeat a single run stand with each system below.
"""
EQUAL = """## Equal wall-clock on this machine: {minutes:g} minutes asked of each

{minutes:g} minutes from prepared text on: probing the machine's speed, compiling with nothing kept from before,
training, evaluating; the last column has what it took. This is what so little time makes of each here, and says
little about what large systems do with their hours. `laptop`'s settings were chosen by trials on stories held out of
this same training text ([ablations.md](ablations.md)); the others have those of their descriptions. Measured is the
best checkpoint by those validation stories that are evaluated during training. *memory* is the peak of the process;
training losses are the first update's and the mean of the last hundredth of the updates.
"""
CHARACTERS = """### On characters

Both have the same folder of data: the first megabyte, cleaned, a tenth of its stories held out, where a byte is a
character. Their bits/byte compare with each other and with nothing else on this page. Ours is `laptop` as it stands,
which was not tuned on characters.
"""
PUBLISHED = """## Against the published figures, in bits/byte

What the descriptions report, beside ours on the validation stories named above. They report nats/token, and the
bits/byte are our conversion: at about 4.0 bytes a token of GPT-2's vocabulary. `gpt-5m` names no tokenizer, and its
figure rests on the guess that a token is a character of one byte. Two of the four are training losses, and not of
held-out stories. Texts, tokens and hardware differ, too, as the last column says: read it as an order of magnitude.
"""
LADDER = """The runs of ours that these minutes come from, each a training of its own from the first update to the last:
"""
SYSTEMS = """## The systems

What each preset's header says of the description, of what is ours in it, and of what is fixed; then the commands, and
how the model of the equal minutes begins a story, by the system's own ways to decode.
"""
EQUAL_HEAD = """| system | parameters | updates | tokens | epochs | tokens/s | memory, MB | training, nats/token \
| training, bits/byte | validation, nats/token | validation, bits/byte | minutes |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""
PUBLISHED_HEAD = """| system | published | about bits/byte | ours | minutes of ours to reach it | what differs |
| --- | --- | ---: | ---: | ---: | --- |"""
LADDER_HEAD = """| minutes asked | taken | updates | tokens | nats/token | bits/byte |
| ---: | ---: | ---: | ---: | ---: | ---: |"""
MISSING = "not run yet"
DEFAULT_MINUTES = 10.0
SHOWN = 300  # characters of a sample
WIDTH = 110  # of its lines


def document(rows: Sequence[Row]) -> str:
    """All of it as Markdown: also with no line at all."""
    rows = current(rows)
    parts = [INTRODUCTION, circumstances(rows)]
    for minutes in equal_minutes(rows):
        parts += [EQUAL.format(minutes=minutes), equal_table(by_text(own_split=False), minutes, rows)]
        parts += [CHARACTERS, equal_table(by_text(own_split=True), minutes, rows), on_characters(minutes, rows)]
    parts += [PUBLISHED, published_table(rows), LADDER, ladder_table(rows)]
    parts += [SYSTEMS, *(section(name, contestant, rows) for name, contestant in CONTESTANTS.items())]
    return "\n".join(parts)


def circumstances(rows: Sequence[Row]) -> str:
    """Texts, machine, versions and days of all lines, as a list."""
    if not rows:
        return "Nothing has been measured yet.\n"
    finished = [row for row in rows if "failed" not in row]
    facts = {
        "text": (text_name(row, "text") for row in rows),
        "validation": (text_name(row, "val") for row in rows),
        "machine": (f"{row['cpu']}, {row['cores']} cores" for row in rows),
        "versions": (f"Python {row['python']}, torch {row['torch']}, storyloom {row['storyloom']}" for row in rows),
        "days": (row["date"] for row in rows),
        "runs": [f"{len(rows)}, together {sum(row['minutes_taken'] for row in finished):.0f} minutes"],
    }
    return "".join(f"- {name}: {'; '.join(dict.fromkeys(each))}\n" for name, each in facts.items())


def text_name(row: Row, role: str) -> str:
    """A text with its checksum and size."""
    return f"`{row[role]}` (SHA-256 {row[f'{role}_sha256']}..., {row[f'{role}_bytes']:,} bytes)"


def current(rows: Iterable[Row]) -> list[Row]:
    """The lines of systems as they are now: those of a preset or settings that have changed since are left out."""
    asked = ((row, row["system"], row["minutes_asked"]) for row in rows if row["system"] in CONTESTANTS)
    return [row for row, name, minutes in asked if Job(name, CONTESTANTS[name], minutes).found_in([row])]


def equal_minutes(rows: Iterable[Row]) -> list[float]:
    """For how many minutes others than ours were trained."""
    return sorted({row["minutes_asked"] for row in rows if row["system"] != OURS}) or [DEFAULT_MINUTES]


def by_text(*, own_split: bool) -> list[str]:
    """The systems that are measured on the validation stories, or on those held out of their own text."""
    return [name for name, contestant in CONTESTANTS.items() if contestant.own_split == own_split]


def found(name: str, minutes: float, rows: Sequence[Row]) -> Row | None:
    """The line of a system at these minutes."""
    return Job(name, CONTESTANTS[name], minutes).found_in(rows)


def equal_table(names: Iterable[str], minutes: float, rows: Sequence[Row]) -> str:
    """A line for each system."""
    lines = [table_row(f"`{name}`", *equal_cells(found(name, minutes, rows))) for name in names]
    return "\n".join([EQUAL_HEAD, *lines, ""])


def equal_cells(row: Row | None) -> list[str]:
    """A finished run's figures, in the order of the columns."""
    if row is None or "failed" in row:
        return [*[""] * 9, MISSING if row is None else f"failed: {row['failed']}", ""]
    memory = row["peak_memory"]
    counts = [f"{row['parameters'] / 1e6:.2f}M", f"{row['updates']:,}", f"{row['tokens']:,}", f"{row['epochs']:.2f}"]
    training = [
        f"{row[f'first_training_{kind}']:.2f} to {row[f'last_training_{kind}']:.{places}f}"
        for kind, places in (("nats_per_token", 2), ("bits_per_byte", 3))
    ]
    return [
        *counts,
        f"{row['tokens_per_second']:,}",
        "-" if memory is None else f"{memory / 1e6:,.0f}",
        *training,
        f"{row['nats_per_token']:.3f}",
        bits(row) + ("" if row["comparable"] or CONTESTANTS[row["system"]].own_split else ", not comparable"),
        f"{row['minutes_taken']:.1f}",
    ]


def bits(row: Row) -> str:
    """Bits/byte with their standard error."""
    return f"{row['bits_per_byte']:.3f} ± {row['bits_per_byte_stderr']:.3f}"


def on_characters(minutes: float, rows: Sequence[Row]) -> str:
    """How much less ours is on the same characters, in a sentence."""
    ours, rival = (found(name, minutes, rows) for name in (OURS_ON_CHARACTERS, RIVAL_ON_CHARACTERS))
    if not (ours and rival) or "failed" in ours or "failed" in rival:
        return f"Ours against `{RIVAL_ON_CHARACTERS}`: {MISSING}.\n"
    change = ours["bits_per_byte"] / rival["bits_per_byte"] - 1
    return (
        f"Ours against `{RIVAL_ON_CHARACTERS}`: {ours['bits_per_byte']:.3f} and {rival['bits_per_byte']:.3f} bits per "
        f"character, {abs(change):.1%} {'less' if change < 0 else 'more'}.\n"
    )


def published_table(rows: Sequence[Row]) -> str:
    """A line for each published figure: what it was, and how soon ours is there."""
    ladder = [row for row in ladder_rows(rows) if row is not None and "failed" not in row]
    lines = []
    for name, contestant in CONTESTANTS.items():
        if contestant.differs is not None:
            figure, cells = "none", ("-", "-", "-")
            if (published := DESCRIBED.get(name)) is not None:
                kind = "training" if published.is_training_loss else "validation"
                figure = f"{kind} loss {published.nats_per_token} nats/token"
                cells = (f"{published.bits_per_byte:.2f}", *time_to(published.bits_per_byte, ladder))
            lines.append(table_row(f"{contestant.title} (`{name}`)", figure, *cells, contestant.differs))
    return "\n".join([PUBLISHED_HEAD, *lines, ""])


def time_to(target: float, ladder: Sequence[Row]) -> tuple[str, str]:
    """Ours in the first of its runs that is there, and its minutes; else in its longest."""
    if not ladder:
        return MISSING, MISSING
    reached = first_at_or_below(target, ladder)
    if reached is None:
        return bits(ladder[-1]), f"not reached in {ladder[-1]['minutes_asked']:g}"
    return bits(reached), f"{reached['minutes_asked']:g} (took {reached['minutes_taken']:.1f})"


def first_at_or_below(target: float, ladder: Iterable[Row]) -> Row | None:
    """The first run with so few bits/byte."""
    return next((row for row in ladder if row["bits_per_byte"] <= target), None)


def ladder_rows(rows: Sequence[Row]) -> list[Row | None]:
    """Ours by minutes, shortest first, where they are finished."""
    return [found(OURS, minutes, rows) for minutes in MINUTES_OF_OURS]


def ladder_table(rows: Sequence[Row]) -> str:
    """A line for each run of ours."""
    lines = []
    for minutes, row in zip(MINUTES_OF_OURS, ladder_rows(rows), strict=True):
        if row is None or "failed" in row:
            lines.append(table_row(f"{minutes:g}", *[""] * 4, MISSING if row is None else f"failed: {row['failed']}"))
        else:
            counts = [f"{row['minutes_taken']:.1f}", f"{row['updates']:,}", f"{row['tokens']:,}"]
            lines.append(table_row(f"{minutes:g}", *counts, f"{row['nats_per_token']:.3f}", bits(row)))
    return "\n".join([LADDER_HEAD, *lines, ""])


def section(name: str, contestant: Contestant, rows: Sequence[Row]) -> str:
    """A system: its preset's own words, then for each equal time how it was run and what it tells."""
    parts = [f"### {contestant.title}: `{name}`\n"]
    if name == contestant.preset:
        parts.append(header_of(preset_text(contestant.preset)))
    if contestant.data_of is not None:
        parts.append(f"The preset `{contestant.preset}` on the data of `{contestant.data_of}`.\n")
    if contestant.settings:
        changed = ", ".join(f"`{setting}`" for setting in contestant.settings)
        parts.append(f"Changed for this comparison in the preset `{contestant.preset}`: {changed}.\n")
    for minutes in equal_minutes(rows):
        row = found(name, minutes, rows)
        parts.append(f"{minutes:g} minutes: {MISSING}.\n" if row is None else told(row))
    return "\n".join(parts)


def header_of(preset: str) -> str:
    """The comment that a preset begins with, as prose with its commands as blocks of code."""
    comment = takewhile(lambda line: line.startswith("#"), preset.splitlines())
    lines = [line.removeprefix("#").removeprefix(" ") for line in comment]
    parts = [
        indented(map(str.strip, group)) if is_command else "\n".join(group).strip() + "\n"
        for is_command, group in groupby(lines, lambda line: line.startswith("  "))
    ]
    return "\n".join(parts)


def told(row: Row) -> str:
    """How a run was made, and its samples."""
    parts = [f"{row['minutes_asked']:g} minutes, by\n", indented(row["commands"])]
    if "failed" in row:
        return "\n".join([*parts, f"failed: {row['failed']}.\n"])
    parts.append(f"{how_it_ran(row)}.\n")
    if not row["comparable"]:
        parts.append(f"Its bits/byte are not comparable: {row['why_not_comparable']}.\n")
    for sample in row["samples"]:
        story = sample["story"]
        shown = story if len(story) <= SHOWN else story[:SHOWN].rsplit(" ", 1)[0] + " ..."
        parts += [f"`{sample['command']}`\n", indented(wrapped(shown))]
    return "\n".join(parts)


def how_it_ran(row: Row) -> str:
    """Device, threads, precision, compilation, and what it was measured on."""
    compiled = "compiled" if row["compiled"] else "not compiled"
    return (
        f"On {row['device']} with {row['threads']} threads in {row['precision']}, the training step {compiled}; "
        f"measured on {row['held_out_stories']:,} stories, {row['held_out_bytes']:,} bytes "
        f"(SHA-256 {row['held_out_sha256']}...)"
    )


def wrapped(story: str) -> list[str]:
    """A story in lines for a page; what cannot be printed is shown as such."""
    shown = "".join(character if character.isprintable() or character == "\n" else "\ufffd" for character in story)
    return [line for paragraph in shown.split("\n") for line in textwrap.wrap(paragraph, WIDTH) or [""]]


def indented(lines: Iterable[str]) -> str:
    """A block of code that no backtick in it can end."""
    return "".join(f"    {line}".rstrip() + "\n" for line in lines)


def table_row(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"
