"""The words of the storybook: its cast, the scenes that plots share, and the plots."""

from __future__ import annotations

from ..grammar import Grammar
from ..notation import Written, read
from . import cast, days, frame, toys, walks

PARTS: tuple[dict[str, Written], ...] = (frame.SCENES, toys.SCENES, walks.SCENES, days.SCENES)


def storybook_grammar() -> Grammar:
    """Read all scenes into one grammar; raises `ValueError` where two have the same name."""
    scenes: dict[str, Written] = {}
    for part in PARTS:
        twice = scenes.keys() & part.keys()
        if twice:
            raise ValueError(f"scenes of the same name: {sorted(twice)}")
        scenes |= part
    return Grammar({slot.name: slot for slot in cast.SLOTS}, {name: read(written) for name, written in scenes.items()})
