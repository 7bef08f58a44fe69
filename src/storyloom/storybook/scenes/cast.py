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


# Children and the animals that talk have their names from the same rows; nobody has the hero's.
GIRLS = _row("Mia Lily Anna Rosie Emma Nora Ruby Grace Sara Molly Zoe Kate", "girl", forms=GIRL)
BOYS = _row("Tom Ben Sam Max Leo Jack Finn Hugo Peter Luke Adam Felix", "boy", forms=BOY)
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
BABIES = _row("duckling kitten lamb chick")

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
    + _row("doll car train drum robot truck", "land", "toy", forms=(("breaks", "yes"),))
    + _row("ball bear", "land", "toy", forms=(("breaks", "no"),))
)
FINDS = _row("ring key coin book", "found")
TOOLS = _row("glue string wool wood")
DISHES = _row("cup plate bowl vase", "dish")
SEEDS = _kind_of("seed", "bean pumpkin rose sunflower")
SKILLS = _row("juggle whistle skate climb+trees", "skill")
ACTS = _row("sing dance read+a+poem tell+a+story", "act")
CHORES = (
    _one("hens", "chore", ask="feed my hens"),
    _one("rabbits", "chore", ask="feed my rabbits"),
    _one("flowers", "chore", ask="water my flowers"),
    _one("fish", "chore", ask="feed my fish"),
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
# Every kind goes with every one of these; only the first begins with a vowel, and stands after no article.
KINDS = _row("old new big small funny pretty red blue green yellow round strange white brown tall little")
TOYS_LIKED = _row("boats trains books kites maps clocks hats shoes")
NATURE = _row("stones trees shells flowers birds hills leaves clouds")
HOUSEHOLD = _row("songs houses drums bells dolls coats lamps cars")

PETS = _row("cat dog kitten puppy")
COLORS = _row("red blue green yellow white purple pink golden", "bright") + _row("brown black")
TRAITS = _row("brave bold clever lively merry cheerful curious proud")
MANNERS = _row("kind gentle quiet friendly calm polite shy thankful")
FRUIT = _with_article("apple pear plum peach banana carrot")
BAKED = _with_article("cookie muffin bun egg roll pie")
DINNERS = _row("soup rice bread noodles potatoes toast")
GREENS = _row("carrots beans corn eggs peas cheese")
SWEETS = _row("pancakes pie pudding cake plums jam")
LOOKS = _row("small little young funny fat sleepy hungry busy proud shy noisy friendly", "mood") + _row(
    "brown white gray black spotted", "coat"
)
# Rows of things that are named together have nothing in common, so that no list says a word twice.
CATTLE = _row("goat cow horse donkey sheep pig pony lamb")
POULTRY = _row("hen goose duck crow swan owl")
CRAWLERS = _row("bee moth snail toad ant worm")
SIGHTS = _row("castle ship garden hill tower bridge moon house")
FLIERS = _row("pony dragon whale fish bird cloud star train")
DOORS = _row("door roof gate fence")
YARDS = _row("garden window bench tree")

SLOTS = (
    Slot("hero", GIRLS + BOYS),
    Slot("helper", GIRLS + BOYS, differs_from=("hero",)),
    Slot("elder", ELDERS),
    Slot("animal", ANIMALS),
    Slot("baby", BABIES),
    Slot("pet", PETS),
    Slot("place", PLACES),
    Slot("thing", TOYS + FINDS + DISHES + SEEDS + SKILLS + ACTS + CHORES + CAKES + SHADOWS),
    Slot("color", COLORS),
    Slot("newcolor", COLORS, differs_from=("color",)),
    Slot("tool", TOOLS),
    Slot("tool2", TOOLS, differs_from=("tool",)),
    Slot("snack", FRUIT),
    Slot("snack2", BAKED),
    Slot("hobby", HOBBIES),
    Slot("topic", TOYS_LIKED + NATURE),
    Slot("topickind", KINDS),
    # Words that are said once, drawn by slots so that they come from the same rows.
    Slot("trait", TRAITS),
    Slot("manner", MANNERS),
    Slot("door", DOORS),
    Slot("doorcolor", COLORS[:8]),
    Slot("yard", YARDS),
    Slot("yardkind", KINDS[1:]),
    Slot("joy", HOBBIES),
    Slot("like", TOYS_LIKED),
    Slot("likekind", KINDS),
    Slot("like2", NATURE),
    Slot("like2kind", KINDS),
    Slot("like3", HOUSEHOLD),
    Slot("like3kind", KINDS),
    Slot("cattle", CATTLE),
    Slot("cattlelook", LOOKS),
    Slot("poultry", POULTRY),
    Slot("poultrylook", LOOKS),
    Slot("crawler", CRAWLERS),
    Slot("crawlerlook", LOOKS),
    Slot("mood", LOOKS[:12]),
    Slot("coat", LOOKS[12:]),
    Slot("wearing", COLORS[:8]),
    Slot("dinner", DINNERS),
    Slot("green", GREENS),
    Slot("sweet", SWEETS),
    Slot("sight", SIGHTS),
    Slot("sightcolor", COLORS),
    Slot("flier", FLIERS),
    Slot("fliercolor", COLORS),
)
