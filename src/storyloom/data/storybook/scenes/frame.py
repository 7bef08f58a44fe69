"""The frame that all stories share: who it is about at the beginning, and the evening at the end.

It does not know the plots: it hands over to the scene `plots` in the middle.
"""

from __future__ import annotations

from ..notation import Written

SCENES: dict[str, Written] = {
    "story": "{hero=@hero}{place=@place}{thing=@thing}[who]\n[plots]",
    "who": ["[once]", "[home]", "[loves]"],
    "once": "(Once upon a time|Long ago|Not long ago|Many years ago) there (was|lived) a {+trait} [child].",
    "child": "(girl named {+hero:girl}|boy named {+hero:boy})",
    "home": "{hero.He} lived in a (small|tall|cozy|little|pretty) (house|cottage) (by the sea|near a mill|on a quiet"
    " street|at the edge of the village|behind the school|under a big oak) with {hero.his} {+elder} and a"
    " (sleepy|fluffy|playful|lazy) {+pet} called {+petname}.",
    "loves": "(More than anything|Every day|Most of all), {hero} loved to {+hobby}.",
    "day": "One (sunny|bright|warm|windy|cool|quiet|fresh|golden) (morning|afternoon|day),",
    # Trouble and comfort.
    "sad": (
        "{hero} felt very sad.",
        "{hero} began to cry.",
        "{hero} did not know what to do.",
        "A tear rolled down {hero.his} cheek.",
        "{hero.He} sat down on the ground and sighed.",
    ),
    "meets": "(Just then|A moment later|All at once), a (small|little|friendly|young)",
    "asks": ' named {+helper:animal} {animal.came}.{helper=@helper} "(What is wrong|Why do you look so sad|What happened|Can'
    ' I help you), (my friend|dear child|little one)?" asked {helper}.',
    "comfort": '"(Do not worry|Do not be sad|Cheer up|Dry your tears)," said {helper}. "(I can help you|I know what'
    ' to do|I have an idea|We can do it together)."',
    "thanks": '"(Thank you,|Thank you so much,|Oh, thank you,) {helper}!" (said|cried|called) {hero}. "You are'
    ' (so kind|a true friend|very clever|wonderful)."',
    # The evening.
    "evening": [
        "[told]",
        "[praise]",
    ],
    "told": "That (evening|night), {hero} told {hero.his} {elder} (the whole story|all about it|everything).",
    "praise": '"(I am so proud of you|You did very well|What a day you had|That makes me happy)," said {hero.his}'
    " {elder}, and gave {hero.him} (a big hug|a warm kiss|a cup of milk|a piece of cake).",
    "sleep": (
        "Then {petname} curled up at {hero.his} feet, and {hero} fell asleep with a smile.",
        "Soon {hero} was fast asleep, and so was {petname}.",
        "Then {hero} and {petname} looked at the stars until it was time to sleep.",
    ),
    "moral": "From that day on, {hero} (knew|remembered|never forgot) that",
    "toy_evening": [
        "[evening]",
        "Before bed, {hero} {hobby.about} the {color} {thing}.",
        "[sleep]",
    ],
    "help_moral": "{moral=help}[moral] (a friend can be found anywhere|it is good to ask for help|even small friends"
    " can be a big help|kind words open every door).",
    "share_moral": "{moral=sharing}[moral] (sharing makes every game better|a toy is more fun with a friend|joy grows"
    " when it is shared).",
}
