"""Tables that fit a terminal, or give way before a figure is cut."""

import pytest

from storyloom.cli.output import print_table

HEADS = ("run", "bits/byte", "tokens", "minutes of\nupdates")
ROWS = [("[red]a", "0.8164 +- 0.0061", "11,234,567", "9.9"), ("second", "1.1", "5", "1,000.0")]


def test_a_wide_terminal_has_a_row_a_run(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    print_table(HEADS, ROWS)
    above, head, first, second = capsys.readouterr().out.splitlines()
    assert (above.split(), head.split()) == (["minutes", "of"], ["run", "bits/byte", "tokens", "updates"])
    assert first.split() == ["[red]a", "0.8164", "+-", "0.0061", "11,234,567", "9.9"]
    assert second.split() == list(ROWS[1])
    assert len(first) == len(second)  # figures are aligned on the right


@pytest.mark.parametrize("columns", range(1, 61))
def test_no_terminal_is_too_narrow_for_a_figure(monkeypatch, capsys, columns):
    """With `COLUMNS=20` no figure could be read: columns were cut to nothing."""
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(HEADS, ROWS)
    out = capsys.readouterr().out
    assert [cell for row in ROWS for cell in row[1:] if cell not in out] == []


def test_a_narrow_terminal_has_a_figure_a_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    print_table(HEADS, ROWS[:1])
    assert capsys.readouterr().out.splitlines() == [
        "[red]a",
        "  bits/byte: 0.8164 +- 0.0061",
        "  tokens: 11,234,567",
        "  minutes of updates: 9.9",
    ]


def test_a_long_name_is_folded_before_the_table_gives_way(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    print_table(HEADS, [("a-very-long-name-of-a-run-" * 3, *ROWS[0][1:])])
    lines = capsys.readouterr().out.splitlines()
    assert any(all(figure in line for figure in ROWS[0][1:]) for line in lines)
