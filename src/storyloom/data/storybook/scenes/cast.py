"""Who and what can appear: children, relatives, animals, pets, places, things, hobbies and plain describing words.

It does not know the scenes; they draw from here by slot and by tag.
"""

from __future__ import annotations

from ..grammar import Entity, Slot

GIRL = (("he", "she"), ("him", "her"), ("his", "her"), ("child", "girl"))
BOY = (("he", "he"), ("him", "him"), ("his", "his"), ("child", "boy"))

GIRLS = "Mia Lily Anna Rosie Emma Lucy Ella Nora Ruby Grace Sara Molly Clara Alice Poppy Zoe Maya Hannah Kate Jane"
BOYS = "Tom Ben Sam Max Leo Jack Finn Oscar Noah Hugo Peter Luke Adam Owen Toby Felix Henry Paul George Simon"


def _named(names: str, forms: tuple[tuple[str, str], ...], *tags: str) -> tuple[Entity, ...]:
    return tuple(Entity(name, (("name", name), *forms), tags) for name in names.split())


def _plain(words: str, *tags: str) -> tuple[Entity, ...]:
    """Entities of one word each; a plus sign stands for a blank."""
    return tuple(Entity(word, (("name", word),), tags) for word in words.replace("+", " ").split(" "))


def _thing(name: str, *tags: str, **forms: str) -> Entity:
    return Entity(name, (("name", name), *forms.items()), tags)


CHILDREN = _named(GIRLS, GIRL, "girl", "child") + _named(BOYS, BOY, "boy", "child")

# Animals that talk have names of their own, which no child has.
ANIMAL_NAMES = _named("Bella Dot Olive Penny Willow Fern", GIRL, "animal") + _named(
    "Pip Rusty Barney Otis Moss Chester", BOY, "animal"
)

ELDERS = tuple(
    Entity(name, (("name", name), *forms))
    for name, forms in (
        ("mother", GIRL),
        ("father", BOY),
        ("grandmother", GIRL),
        ("grandfather", BOY),
        ("aunt", GIRL),
        ("uncle", BOY),
    )
)

ANIMALS = (
    _thing("squirrel", "climbs", "finds", came="ran down from a branch"),
    _thing("cat", "climbs", "finds", came="came out of the bushes"),
    _thing("bird", "climbs", "finds", came="flew down from the sky"),
    _thing("mouse", "finds", came="peeped out of a hole"),
    _thing("rabbit", "finds", came="hopped out of the grass"),
    _thing("fox", "finds", came="stepped out of the shade"),
    _thing("duck", "swims", came="swam up to the bank"),
    _thing("frog", "swims", came="jumped out of the water"),
    _thing("turtle", "swims", came="put a green head out of the water"),
    _thing("beaver", "swims", came="looked up from the water"),
)

PETS = _plain("cat dog kitten puppy")
PET_NAMES = _plain("Button Biscuit Pepper Cookie Shadow Muffin Patch Socks")

PLACES = (
    _thing("the park", "trees", at="in the park"),
    _thing("the garden", "trees", at="in the garden"),
    _thing("the forest", "trees", at="in the forest"),
    _thing("the orchard", "trees", at="in the orchard"),
    _thing("the meadow", "trees", at="in the meadow"),
    _thing("the playground", "trees", at="on the playground"),
    _thing("the hill", "trees", at="on the hill"),
    _thing("the farm", "trees", at="on the farm"),
    _thing("the pond", "water", at="by the pond"),
    _thing("the lake", "water", at="by the lake"),
    _thing("the river", "water", at="by the river"),
    _thing("the stream", "water", at="by the stream"),
)

TOYS = (
    _plain("kite plane balloon glider", "air")
    + _plain("boat ship raft canoe", "water")
    + _plain("ball doll car train wagon drum hoop puppet robot truck", "land")
)

COLORS = _plain("red blue green yellow white purple pink orange")
TRAITS = _plain("kind brave cheerful curious gentle clever quiet friendly lively thoughtful")

HOBBIES = (
    _thing("paint", about="painted a picture of"),
    _thing("draw", about="drew a picture of"),
    _thing("sing", about="sang a song about"),
    _thing("write", about="wrote a poem about"),
    _thing("dance", about="made up a dance about"),
    _thing("tell stories", about="told a story about"),
)

SLOTS = (
    Slot("hero", CHILDREN),
    Slot("helper", CHILDREN + ANIMAL_NAMES, differs_from=("hero",)),
    Slot("elder", ELDERS),
    Slot("animal", ANIMALS),
    Slot("pet", PETS),
    Slot("petname", PET_NAMES),
    Slot("place", PLACES),
    Slot("thing", TOYS),
    Slot("color", COLORS),
    Slot("trait", TRAITS),
    Slot("hobby", HOBBIES),
)
