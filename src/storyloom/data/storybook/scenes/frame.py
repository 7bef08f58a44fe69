"""The frame that all stories share, and the sentences that plots share: the opening, feelings, help, the evening.

It does not know the plots: it hands over to the scene `plots` in the middle, and plots call its scenes by name.
"""

from __future__ import annotations

from ..notation import Written

OPENING: dict[str, Written] = {
    "story": "{hero=@hero}[who]\n[plots]",
    "who": ["[once]", "[home]", "[loves]"],
    "once": "(Once upon a time|Long ago|Not long ago|Many years ago) there (was|lived) a {+trait} [child].",
    "child": "(girl named {+hero:girl}|boy named {+hero:boy})",
    "home": "{hero.He} lived in a (small|tall|cozy|little|pretty|crooked|narrow|round) (house|cottage|cabin|tower)"
    " (by the sea|near the mill|on a quiet street|at the edge of the village|behind the school|under a big oak|across"
    " from the bakery|beside a bridge) with {hero.his} {+elder} and a (sleepy|fluffy|playful|lazy|plump|funny|clumsy|"
    "happy) {+pet} called {+petname}.",
    "loves": "{hero} loved {+like} and {+like2}, but most of all {hero.he} loved to {+hobby}.",
    "day": "One (sunny|bright|warm|windy|cool|quiet|fresh|lovely|clear|fine|mild|pleasant) (morning|afternoon|Saturday"
    "|Sunday),",
    "way": "On the way, {hero.he} (saw|met|passed|greeted) a {+look} {+beast} and a {+look2} {+beast2}.",
    "friend": "(girl named {+helper:girl}|boy named {+helper:boy})",
}

FEELINGS: dict[str, Written] = {
    "sad": (
        "{hero} felt (sad|upset|unhappy|worried|gloomy|terrible).",
        "{hero} (began to cry|sat down and sighed|did not know what to do|wanted to cry).",
        "A tear rolled down {hero.his} (cheek|nose|chin|face).",
    ),
    "glad": "(happy|glad|merry|proud|thankful|delighted|cheerful|joyful)",
    "very": "(so|very|quite|really)",
    "kindly": "(softly|gently|kindly|warmly|calmly|with a smile|with a nod|with a wink)",
    "sadly": "(sadly|quietly|slowly|with a sigh|with a sniff|in a small voice|in a low voice|with wet eyes)",
    "gladly": "(happily|loudly|at once|with a grin|with a laugh|with a big smile|with shining eyes|cheerfully)",
}

HELP: dict[str, Written] = {
    # An animal that talks: the plot draws its kind between `meets` and `asks`.
    "meets": "(Just then|A moment later|All at once|After a while), a (small|little|friendly|young|tiny|wise|fuzzy|"
    "cheerful)",
    "asks": " named {+helper:animal} {animal.came}.{helper=@helper}"
    ' "(What is wrong|Why are you sad|What happened|Can I help you), (my friend|dear child|little one|my dear)?" asked'
    " {helper} [kindly].",
    "comfort": '"(Do not worry|Do not be sad|Cheer up|Dry your tears|Be brave|Never mind)," said {helper} [kindly].'
    ' "(I can help you|I know what to do|I have an idea|We can do it together|I have a plan|Just wait and see)."',
    "thanks": '"(Thank you|Thanks|Bless you|Oh, thank you), {helper}!" (said|cried|called|shouted) {hero} [gladly].'
    ' "You are (so kind|a true friend|very clever|wonderful|my hero|the best)."',
    "sorry": '"I am (sorry|so sorry|very sorry|truly sorry), {helper}," said {hero} [sadly].',
    "play": "They (played|laughed|ran around|had fun) together until (noon|supper|the sun went down|the stars came out"
    "|they were tired|it was time to go home).",
}

EVENING: dict[str, Written] = {
    "told": "At supper, over (hot|warm|fresh|tasty|good|yummy) {+food} and {+food2}, {hero} told {hero.his} {elder}"
    " (the whole story|all about it|everything|what had happened).",
    "praise": '"(I am proud of you|You did very well|What a day you had|That makes me happy|How good of you|Well done),"'
    " said {hero.his} {elder} [kindly].",
    "sleep": "(Then|Soon|Later|At last) {petname} (curled up|lay down|fell asleep|rolled up) (at {hero.his} feet|beside"
    " {hero.him}|on the rug|by the fire), and {hero} dreamed of a {+dreamcolor} {+dream}.",
    "night_thing": "[told] [praise] Before bed, {hero} {hobby.about} the {color} {thing}. [sleep]",
    "night_helper": "[told] [praise] Before bed, {hero} {hobby.about} {helper}. [sleep]",
    "night": "[told] [praise] [sleep]",
}

MORALS: dict[str, Written] = {
    "moral": "(From that day on|After that|Ever since|From then on), {hero} (knew|remembered|never forgot|understood)"
    " that",
    "of_help": "{moral=help}[moral] (a friend can be found anywhere|it is good to ask for help|even small friends can"
    " be a big help|nobody has to be sad alone).",
    "of_sharing": "{moral=sharing}[moral] (sharing makes every game better|fun grows when it is shared|a friend is worth"
    " more than a toy|giving can feel better than having).",
    "of_kindness": "{moral=kindness}[moral] (kindness always comes back|a kind heart makes many friends|being kind costs"
    " nothing|little acts of kindness matter most).",
    "of_courage": "{moral=courage}[moral] (being brave means trying anyway|fear grows small when you face it|a friend"
    " can make you brave|brave people are sometimes afraid too).",
    "of_friends": "{moral=friendship}[moral] (a good friend is a treasure|friends do not forget each other|a friend makes"
    " every day brighter|laughing together is the best medicine).",
    "of_patience": "{moral=patience}[moral] (good things take time|it is worth trying again|nobody learns everything in"
    " one day|patience is a kind of magic).",
    "of_truth": "{moral=truth}[moral] (the truth is always best|honest words make things right|a promise is worth keeping"
    "|everybody can trust an honest child).",
}

SCENES: dict[str, Written] = OPENING | FEELINGS | HELP | EVENING | MORALS
