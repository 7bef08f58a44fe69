"""The frame that all stories share, and the sentences that plots share: the opening, feelings, help, the evening.

It does not know the plots: it hands over to the scene `plots` in the middle, and plots call its scenes by name.
"""

from __future__ import annotations

from ..notation import Written

OPENING: dict[str, Written] = {
    "story": "{hero=@hero}[who]\n[plots]",
    "who": ["[once]", "[home]", "[loves]"],
    "once": "(Once upon a time|Long ago|Not long ago|Many years ago) there (was|lived) a {+trait} and {+manner}"
    " (girl named {+hero:girl}|boy named {+hero:boy}).",
    "home": "{hero} lived in a (small|tall|cozy|little|pretty|round|white|yellow|red|blue|green|pink)"
    " (house|cottage|cabin|tower) (by the sea|near the mill|on a quiet street|in the village|behind the"
    " school|under a big oak|near the shop|beside a bridge) with a {+doorcolor} {+door} and a {+yardkind}"
    " {+yard}.",
    "loves": "{hero} loved {+likekind} {+like}, {+like2kind} {+like2}, {+like3kind} {+like3} and {+joy.ing}.",
    "day": "One (sunny|bright|warm|windy|cool|quiet|fresh|lovely|clear|fine|mild|golden)"
    " (morning|afternoon|Saturday|Sunday),",
    "way": "On the way, {hero.he} (saw|met|passed|greeted) [beasts].",
    "beasts": "a {+cattlelook} {+cattle}, a {+poultrylook} {+poultry} and a {+crawlerlook} {+crawler}",
    "child": "(girl named {+helper:girl}|boy named {+helper:boy})",
    "friend": "[child] in a {+wearing} (hat|coat|scarf|shirt)",
}

WORDS: dict[str, Written] = {
    "small": "(small|little|young|white|brown|black|gray|spotted)",
    "big": "(big|tall|strange|dark|round|funny)",
    "glad": "(so|very|quite|really) (happy|glad|pleased|thankful|cheerful|merry)",
    "kindly": "(softly|gently|kindly|warmly|calmly|with a smile|with a nod|with a wink)",
    "sadly": "(sadly|quietly|slowly|with a sigh|with a sob|in a small voice|with wet eyes|softly)",
    "gladly": "(happily|loudly|at once|with a grin|with a laugh|with a big smile|with bright eyes|proudly)",
    "cried": "(said|cried|called|shouted)",
    "ran": "(ran|went|walked|hurried)",
    "some": "(two|three|four|five|six|ten)",
    "spot": "(behind|beside|near|next to) a (bench|stone|log|fence|bush|bridge|wall|tree)",
}

HELP: dict[str, Written] = {
    "sad": (
        "{hero} felt (so|very|quite|really) (sad|upset|unhappy|worried|gloomy).",
        "{hero} (began to cry|sat down and sighed|did not know what to do|wanted to cry).",
        "A tear rolled down {hero.his} (cheek|nose|chin|face).",
    ),
    # An animal that talks: the plot draws its kind between `meets` and `named`.
    "meets": "(Just then|Soon|Suddenly|After a while), a {+mood} {+coat}",
    "named": "{helper=@helper} named {+helper} {animal.came}. [comfort]",
    "comfort": '"(Do not worry|Do not be sad|Cheer up|Be brave|Never mind|Do not cry), (I can help|I know what to'
    ' do|I have an idea|I have a plan|we can do it|wait and see)," said {helper} [kindly].',
    "thanks": '"(Thank you|Thanks|Bless you|Oh, thank you), {helper}, you are (so kind|a true friend|so'
    ' good|wonderful|my hero|the best)!" [cried] {hero} [gladly].',
    "friend_thanks": '"(Thank you|Thanks|Bless you|Oh, thank you), {hero}, you are (so kind|a true friend|so'
    ' good|wonderful|my hero|the best)!" [cried] {helper} [gladly].',
    "sorry": '"I am (sorry|so sorry|very sorry|really sorry), {helper}," said {hero} [sadly].',
    "play": "They (played|laughed|danced|sang) until (sunset|they were tired|they were hungry|they had to go"
    " home|the sun went down|it was time to eat).",
}

EVENING: dict[str, Written] = {
    # Each evening is told in one of three ways; the second needs something to paint or to sing about.
    "told": "At supper, over {+dinner}, {+green} and {+sweet}, {hero} told {hero.his} {+elder} (everything|all"
    " about it|the whole story|about the day), and {hero.his} {elder} gave {hero.him} a"
    " (big|warm|long|soft) (hug|kiss).",
    "dream": "That night, {hero} fell asleep (by the fire|on the rug|in a warm bed|under the window) and dreamed"
    " of [dreams].",
    "dreams": "a {+sightcolor} {+sight} and a {+fliercolor} {+flier}",
    "night_thing": "([told]|Before bed, {hero} {+hobby.about} the {thing}. Then {hero.he} dreamed of"
    " [dreams].|[dream])",
    "night_helper": "([told]|Before bed, {hero} {+hobby.about} {helper}. Then {hero.he} dreamed of [dreams].|[dream])",
    "night": "([told]|[dream])",
}

MORALS: dict[str, Written] = {
    "moral": "(From that day on|After that|Ever since|From then on), {hero} knew that",
    "of_help": "{moral=help}[moral] (friends are everywhere|it is good to ask for help|small friends can be a big"
    " help|nobody has to be sad alone).",
    "of_sharing": "{moral=sharing}[moral] (sharing is fun|toys are for sharing|a friend is better than a"
    " toy|giving feels good).",
    "of_kindness": "{moral=kindness}[moral] (kindness always comes back|a kind heart makes friends|being kind is"
    " easy|it is good to be kind).",
    "of_courage": "{moral=courage}[moral] (brave people are afraid too|fear does not last|everybody is afraid"
    " sometimes|it is good to be brave).",
    "of_patience": "{moral=patience}[moral] (good things take time|it is good to keep trying|slow work is good"
    " work|good things come slowly).",
    "of_truth": "{moral=truth}[moral] (it is best to be honest|doing the right thing feels good|honest children"
    " have friends|an honest heart is happy).",
    "of_promise": "{moral=promise}[moral] (a promise is a promise|friends keep a promise|it is good to keep a"
    " promise|promises are for keeping).",
    "of_friends": "{moral=friendship}[moral] (a good friend is a treasure|friends do not forget|a friend makes"
    " every day better|laughing together is best).",
}

SCENES: dict[str, Written] = OPENING | WORDS | HELP | EVENING | MORALS
