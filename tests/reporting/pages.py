"""A page of ours and its charts, parsed."""

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

BLOCKS = {"p", "pre", "td", "th", "dd"}  # each on lines of its own
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Its text by section, its elements, and whether all that is opened is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.stories: list[str] = []
        """What stands in the paragraphs of stories, as a reader sees it."""
        self.text: dict[str, str] = {}
        """Of each section by its id, "" for what is outside."""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()
        assert self._open == [], "something is left open"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(self.elements[-1])
        if dict(attrs).get("class") == "story":
            self.stories.append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open[-1][0] == tag, f"{self._open[-1][0]} is closed by {tag}"
        self._open.pop()
        if tag in BLOCKS:
            self.handle_data("\n")

    def handle_data(self, data):
        if any(tag in ("style", "svg") for tag, _ in self._open):
            return
        section = next((attributes["id"] for tag, attributes in self._open if tag == "section"), "")
        self.text[section] = self.text.get(section, "") + data
        if self._open and self._open[-1][1].get("class") == "story":
            self.stories[-1] += data

    def rows(self, section: str) -> list[str]:
        """The lines of a section that hold anything, without the space around them."""
        return [line.strip() for line in self.text[section].splitlines() if line.strip()]


def is_self_contained(page: Page) -> bool:
    """Nothing is fetched and nothing runs: no address but within the page, no script, no handler."""
    attributes = [(name, value or "") for _, found in page.elements for name, value in found.items()]
    addresses = [value for name, value in attributes if name in ("src", "href", "action", "srcset", "data")]
    styles = page.html[page.html.index("<style>") : page.html.index("</style>")]
    return (
        not {"script", "link", "img", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
        and not any(name.startswith("on") for name, _ in attributes)
        and all(address.startswith("#") for address in addresses)
        and "url(" not in styles
        and "@import" not in styles
    )


def parsed(svg):
    return ET.fromstring(svg)


def axis(svg, anchor):
    """A line through an upright axis' ticks, whose labels begin or end there: value = slope x height + offset."""
    ticks = []
    for group in parsed(svg).iter("g"):
        label, mark = group.find("g/text"), group.find(".//use")
        if "ytick" in group.get("id", "") and f"text-anchor: {anchor}" in label.get("style"):
            ticks.append((float(mark.get("y")), float(label.text)))
    return np.polyfit(*zip(*ticks, strict=True), 1)
