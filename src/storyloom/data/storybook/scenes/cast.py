"""Who and what can appear: children, relatives, animals, pets, places, things, food and plain describing words.

The tables are written one entity a line, or as words in a row where the name is the only form. A plus sign stands for
a blank inside a name. Nothing here knows the scenes; they draw from here by slot and by tag.
"""

from __future__ import annotations

from ..grammar import Entity, Slot

GIRL = (("he", "she"), ("him", "her"), ("his", "her"), ("child", "girl"))
BOY = (("he", "he"), ("him", "him"), ("his", "his"), ("child", "boy"))


def _row(words: str, *tags: str, forms: tuple[tuple[str, str], ...] = ()) -> tuple[Entity, ...]:
    """Entities that have a name, the tags and the forms given for all."""
    names = [word.replace("+", " ") for word in words.split()]
    return tuple(Entity(name, (("name", name), *forms), tags) for name in names)


def _one(name: str, *tags: str, **forms: str) -> Entity:
    return Entity(name, (("name", name), *forms.items()), tags)


def _kind_of(what: str, words: str) -> tuple[Entity, ...]:
    """Entities called by their kind alone, such as `plum` for a plum cake."""
    return tuple(Entity(f"{word} {what}", (("name", word),), (what,)) for word in words.split())


def _with_article(words: str, *tags: str) -> tuple[Entity, ...]:
    """Entities with a form `a` that has the right article."""
    return tuple(
        Entity(each.key, (*each.forms, ("a", f"{'an' if each.key[0] in 'aeiou' else 'a'} {each.key}")), tags)
        for each in _row(words)
    )


# No child, animal or pet shares a name with another, so that a name alone tells who is meant.
GIRLS = _row(
    "Mia Lily Anna Rosie Emma Lucy Ella Nora Ruby Grace Sara Molly Clara Alice Zoe Maya Kate Jane", "girl", forms=GIRL
)
BOYS = _row(
    "Tom Ben Sam Max Leo Jack Finn Oscar Noah Hugo Peter Luke Adam Owen Toby Felix Paul Simon", "boy", forms=BOY
)
TALKING = _row("Bella Dot Olive Penny Fern", "animal", forms=GIRL) + _row(
    "Pip Rusty Otis Moss Benny", "animal", forms=BOY
)
ELDERS = _row("mother grandmother aunt", forms=GIRL) + _row("father grandfather uncle", forms=BOY)

ANIMALS = (
    _one("squirrel", "land", "climbs", came="ran by"),
    _one("cat", "land", "climbs", came="came by"),
    _one("bird", "land", "climbs", came="flew by"),
    _one("mouse", "land", came="looked out"),
    _one("rabbit", "land", came="hopped by"),
    _one("fox", "land", came="walked by"),
    _one("duck", "swims", came="swam by"),
    _one("frog", "swims", came="jumped out"),
    _one("turtle", "swims", came="swam by"),
    _one("beaver", "swims", came="looked up"),
)
BABIES = (
    _one("duckling", mother="duck", call="quack"),
    _one("kitten", mother="cat", call="meow"),
    _one("lamb", mother="sheep", call="baa"),
    _one("chick", mother="hen", call="cluck"),
)

PLACES = (
    *(_one(name, "trees", "walk", at=f"in {name}") for name in ("the park", "the garden", "the forest")),
    *(_one(name, "trees", "walk", at=f"in {name}") for name in ("the orchard", "the meadow", "the valley")),
    *(_one(name, "trees", "walk", at=f"on {name}") for name in ("the hill", "the farm")),
    *(_one(name, "water", at=f"by {name}") for name in ("the pond", "the lake", "the river", "the stream")),
    *(_one(name, "stage", at=f"at {name}") for name in ("the school", "the fair", "the market")),
)

TOYS = (
    _row("kite plane rocket", "air", "toy")
    + _row("boat ship raft", "water", "toy")
    + _row("doll car train drum hoop puppet robot truck", "land", "toy", forms=(("breaks", "yes"),))
    + _row("ball bear", "land", "toy", forms=(("breaks", "no"),))
)
FINDS = _row("ring key coin book", "found")
TOOLS = _row("glue string wool wood")
DISHES = _row("cup plate bowl vase", "dish")
SEEDS = _kind_of("seed", "bean pumpkin rose sunflower")
SKILLS = _row("juggle whistle skate climb+trees", "skill")
ACTS = _row("sing dance read+a+poem tell+a+story", "act")
CHORES = (
    _one("hens", "chore", ask="feed my hens", did="fed the hens"),
    _one("rabbits", "chore", ask="feed my rabbits", did="fed the rabbits"),
    _one("flowers", "chore", ask="water my flowers", did="watered the flowers"),
    _one("fish", "chore", ask="feed my fish", did="fed the fish"),
)
CAKES = _kind_of("cake", "apple plum banana carrot honey chocolate")
SHADOWS = _row("bear wolf dragon giant", "shadow")

HOBBIES = (
    _one("paint", ing="painting", about="painted a picture of"),
    _one("draw", ing="drawing", about="drew a picture of"),
    _one("sing", ing="singing", about="sang a song about"),
    _one("write", ing="writing poems", about="wrote a poem about"),
    _one("dance", ing="dancing", about="made up a dance about"),
    _one("tell", ing="telling stories", about="told a story about"),
    _one("rhyme", ing="making up rhymes", about="made up a rhyme about"),
    _one("play", ing="playing the piano", about="played a tune about"),
)
# Every kind goes with every one of these.
KINDS = _row("old new big small funny pretty red blue green yellow round strange white brown tall little")
LIKES = _row("boats stones hats songs books trains trees shells kites flowers birds clocks hills houses shoes maps")

PETS = _row("cat dog kitten puppy")
PET_NAMES = _row("Button Biscuit Pepper Cookie Ginger Muffin Patch Socks")
COLORS = _row("red blue green yellow white purple pink golden", "bright") + _row("brown black")
TRAITS = _row("kind brave cheerful curious gentle clever quiet friendly lively thoughtful polite merry")
SNACKS = _with_article("apple pear plum peach sandwich cookie carrot muffin banana bun")
FOODS = _row(
    "soup rice bread noodles potatoes carrots beans pancakes dumplings corn cheese pie eggs peas toast pudding"
)
LOOKS = _row("small little young funny fat sleepy hungry busy proud shy noisy friendly", "mood") + _row(
    "brown white gray black spotted", "coat"
)
BEASTS = _row("goat cow horse donkey sheep pig hen goose butterfly snail bee pony rooster lizard crow toad")
DREAMS = _row("castle ship pony dragon whale palace mountain tower bridge fish cloud rainbow island parrot")

SLOTS = (
    Slot("hero", GIRLS + BOYS),
    Slot("helper", GIRLS + BOYS + TALKING, differs_from=("hero",)),
    Slot("elder", ELDERS),
    Slot("animal", ANIMALS),
    Slot("baby", BABIES),
    Slot("pet", PETS),
    Slot("petname", PET_NAMES),
    Slot("petlook", LOOKS),
    Slot("place", PLACES),
    Slot("thing", TOYS + FINDS + DISHES + SEEDS + SKILLS + ACTS + CHORES + CAKES + SHADOWS),
    Slot("color", COLORS),
    Slot("trait", TRAITS),
    Slot("trait2", TRAITS, differs_from=("trait",)),
    Slot("hobby", HOBBIES),
    Slot("kind", KINDS),
    Slot("tool", TOOLS),
    Slot("tool2", TOOLS, differs_from=("tool",)),
    Slot("like", LIKES),
    Slot("kind2", KINDS, differs_from=("kind",)),
    Slot("kind3", KINDS, differs_from=("kind", "kind2")),
    Slot("like2", LIKES, differs_from=("like",)),
    Slot("like3", LIKES, differs_from=("like", "like2")),
    Slot("snack", SNACKS),
    Slot("snack2", SNACKS, differs_from=("snack",)),
    Slot("food", FOODS),
    Slot("food2", FOODS, differs_from=("food",)),
    Slot("look", LOOKS),
    Slot("food3", FOODS, differs_from=("food", "food2")),
    Slot("look2", LOOKS, differs_from=("look",)),
    Slot("look4", LOOKS[:12]),
    Slot("look5", LOOKS[12:]),
    Slot("wearing", COLORS[:8]),
    Slot("look3", LOOKS, differs_from=("look", "look2")),
    Slot("beast", BEASTS),
    Slot("beast2", BEASTS, differs_from=("beast",)),
    Slot("beast3", BEASTS, differs_from=("beast", "beast2")),
    Slot("dream", DREAMS),
    Slot("dreamcolor", COLORS),
    Slot("dream2", DREAMS, differs_from=("dream",)),
    Slot("dreamcolor2", COLORS, differs_from=("dreamcolor",)),
    Slot("newcolor", COLORS, differs_from=("color",)),
)
