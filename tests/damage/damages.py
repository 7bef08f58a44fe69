"""What can happen to a file: each damage is a function of its bytes and a seeded random generator.

`None` in place of bytes stands for a folder of that name; a file that is not in the files any more is missing. A damage
that says nothing about a file (a line of a log, in a file without lines) returns nothing and is not counted.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

Files = dict[str, bytes | None]
Change = Callable[[bytes, random.Random], bytes | None]
OTHERS: tuple[Any, ...] = (None, True, -1, 0.5, 10**30, "", "x", [], [3], {}, {"a": 1})
TOML_OTHERS = ("true", "-1", "0.5", "10000000000000", '""', '"x"', "[]", "[3]", "{}", "nan", "1979-05-27")
SETTING = re.compile(rb"(?m)^([A-Za-z_][\w.]*) = .*$")


@dataclass(frozen=True)
class Damage:
    """One damage of one file of a folder.

    Args:
        kind: of `KINDS`.
        file: its path in the folder.
        seed: settles all that is drawn.
    """

    kind: str
    file: str
    seed: int

    def of(self, files: Mapping[str, bytes | None]) -> Files | None:
        """The folder's files after it; none if it leaves them as they are."""
        dice, after = random.Random(f"{self.kind} {self.file} {self.seed}"), dict(files)
        before = files[self.file]
        assert before is not None
        if self.kind == "missing":
            del after[self.file]
        elif self.kind == "a folder":
            after[self.file] = None
        elif self.kind == "swapped":
            other = dice.choice([name for name in sorted(files) if name != self.file])
            after[self.file], after[other] = files[other], before
        else:
            changed = KINDS[self.kind](before, dice)
            if changed is None:
                return None
            after[self.file] = changed
        return None if after == files else after


def flip(content: bytes, dice: random.Random) -> bytes | None:
    """One to three bits of one byte."""
    if not content:
        return None
    place = dice.randrange(len(content))
    return content[:place] + bytes([content[place] ^ dice.randrange(1, 8)]) + content[place + 1 :]


def cut(content: bytes, dice: random.Random) -> bytes | None:
    return content[: dice.randrange(len(content))] if content else None


def remove(content: bytes, dice: random.Random) -> bytes | None:
    """Some bytes in the middle."""
    if len(content) < 2:
        return None
    start = dice.randrange(len(content) - 1)
    return content[:start] + content[start + dice.randrange(1, 17) :]


def randomize(content: bytes, dice: random.Random) -> bytes:
    return dice.randbytes(dice.choice([1, 7, 101, len(content)]))


def retype(content: bytes, dice: random.Random) -> bytes | None:
    """Another type in place of a value of JSON, JSON lines, TOML or a safetensors header."""
    return _in_structure(
        content, dice, lambda owner, key: owner.__setitem__(key, _other(owner[key], dice)), replace=True
    )


def drop_key(content: bytes, dice: random.Random) -> bytes | None:
    return _in_structure(content, dice, lambda owner, key: owner.__delitem__(key), replace=False)


def duplicate_line(content: bytes, dice: random.Random) -> bytes | None:
    return _in_lines(content, dice, lambda line: [line, line])


def remove_line(content: bytes, dice: random.Random) -> bytes | None:
    return _in_lines(content, dice, lambda line: [])


def garble_line(content: bytes, dice: random.Random) -> bytes | None:
    return _in_lines(content, dice, lambda line: [dice.randbytes(len(line)).replace(b"\n", b"#")])


def _other(value: Any, dice: random.Random) -> Any:
    return dice.choice([other for other in OTHERS if type(other) is not type(value)])


def _in_lines(content: bytes, dice: random.Random, change: Callable[[bytes], list[bytes]]) -> bytes | None:
    lines = content.split(b"\n")
    if len(lines) < 3 or b"\0" in content:
        return None
    number = dice.randrange(len(lines) - 1)
    return b"\n".join([*lines[:number], *change(lines[number]), *lines[number + 1 :]])


def _in_structure(
    content: bytes, dice: random.Random, change: Callable[[Any, Any], None], replace: bool
) -> bytes | None:
    if (parsed := _json(content)) is not None:
        return json.dumps(_changed(parsed, dice, change), indent=2).encode() + b"\n"
    size = int.from_bytes(content[:8], "little")
    if 8 + size <= len(content) and (header := _json(content[8 : 8 + size])) is not None:
        new = json.dumps(_changed(header, dice, change)).encode()
        return len(new).to_bytes(8, "little") + new + content[8 + size :]
    lines = content.split(b"\n")
    if rows := [number for number, line in enumerate(lines) if _json(line) is not None]:
        number = dice.choice(rows)
        lines[number] = json.dumps(_changed(_json(lines[number]), dice, change), ensure_ascii=False).encode()
        return b"\n".join(lines)
    if b"\0" not in content and (settings := list(SETTING.finditer(content))):
        found = dice.choice(settings)
        line = found[1] + b" = " + dice.choice(TOML_OTHERS).encode() if replace else b""
        return content[: found.start()] + line + content[found.end() :]
    return None


def _json(content: bytes) -> Any:
    """Parsed, if it is an object or a list that is not empty."""
    try:
        parsed = json.loads(content)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict | list) and parsed else None


def _changed(parsed: Any, dice: random.Random, change: Callable[[Any, Any], None]) -> Any:
    owner, key = dice.choice(list(_places(parsed)))
    change(owner, key)
    return parsed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All pairs of a container and a key or index of it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


# The first three are no change of bytes; see `Damage.of`.
KINDS: dict[str, Change] = {
    "missing": flip,
    "a folder": flip,
    "swapped": flip,
    "byte flipped": flip,
    "cut": cut,
    "bytes removed": remove,
    "emptied": lambda content, dice: b"",
    "random bytes": randomize,
    "wrong type": retype,
    "key removed": drop_key,
    "line duplicated": duplicate_line,
    "line removed": remove_line,
    "line garbled": garble_line,
}


def damages(files: Files, seed: int) -> Iterator[tuple[Damage, Files]]:
    """Without end: every kind of damage to every file in random order, then again with other seeds."""
    dice = random.Random(seed)
    for number in count(seed * 1_000_003):
        pairs = [(kind, file) for kind in KINDS for file in sorted(files)]
        dice.shuffle(pairs)
        for kind, file in pairs:
            damage = Damage(kind, file, number)
            if (after := damage.of(files)) is not None:
                yield damage, after
