"""Seven plots that begin with a walk: somebody is met, something is found, the weather turns.

They do not know how the story began; they end with the evening and a moral of the shared frame.
"""

from __future__ import annotations

from ..notation import Written, lines

SCENES: dict[str, Written] = {
    "walk_plots": "{wish=to go for a walk}{place=@place}{hero} (went|walked|skipped|ran) to ({+place:walk}|{+place:water})"
    " with {+snack.a} and {+snack2.a} in {hero.his} (basket|bag|pocket|hat). [way]\n([baby]|[trapped]|[lunch]|[honest]"
    "|[fog]|[storm]|[newfriend])",
    "baby": lines(
        "{plot=baby}{thing=@baby}{trouble=a lost baby animal}There {hero.he} found a {+baby}. It was all alone and (cold|"
        'afraid|shaking|crying). "(Do not worry|Do not be afraid|Hush|Be brave), little {baby}," said {hero} [kindly].'
        ' "We will find your mother."',
        "[meets] {+animal:land}[asks]"
        ' "The {baby} has lost its mother," said {hero}. [comfort] They looked (up and down|here and there|high and low|'
        'near and far). At last they heard a (loud|happy|worried|deep) "{baby.Call}!" It was the mother {baby.mother}!'
        " [thanks]",
        "{ending=home again}[told] [praise] Before bed, {hero} {hobby.about} the {baby}. [sleep]",
        "[of_kindness]",
    ),
    "trapped": lines(
        "{plot=trapped}{thing=@animal}{trouble=a trapped animal}{helper=@helper}Then {hero.he} heard a (faint|soft|sad|"
        "strange) cry. A (small|little|young|tiny|fuzzy) {+animal:land} was caught (under a branch|in a net|in a thorn bush|"
        'between two stones). "(Hold still|Be brave|Do not worry|Do not be afraid)," said {hero} [kindly], and set it'
        " free.",
        '"(Thank you|Thanks|Bless you|Oh, thank you)," said the {animal} [kindly]. "My name is {+helper:animal}, and I'
        ' will not forget you." When {hero} could not find the way home, {helper} (came|ran|hurried) to show {hero.him} the'
        " (path|road|way|bridge). [thanks]",
        "{ending=kindness came back}[night_helper]",
        "[of_kindness]",
    ),
    "lunch": lines(
        "{plot=lunch}{thing=@snack}{trouble=a hungry animal}{helper=@helper}When {hero} sat down to eat, a (small|little|"
        'young|tiny|thin) {+animal:land} named {+helper:animal} {animal.came}. "(I am so hungry|I have had no breakfast|My'
        ' tummy is empty|I have nothing to eat)," said {helper} [sadly].',
        '{hero} was hungry too, but {hero.he} held out the {snack}. "(Here|Look|Please|Come), this is for you," said {hero}'
        ' [kindly]. {helper} ate it (all up|with joy|in one bite|bit by bit). "Now let me show you something." Behind a'
        " (hill|hedge|wall|rock) was a field of (wild|red|ripe|sweet) (berries|cherries|plums|roses). [thanks]",
        "{ending=a shared lunch}[night_helper]",
        "[of_sharing]",
    ),
    "honest": lines(
        "{plot=honest}{thing=@thing}{trouble=a lost thing}{helper=@helper}There, (in the grass|on the path|under a leaf|by"
        " a stone), lay a {+color} {+thing:found}. It was (so pretty|beautiful|shiny|lovely), and {hero} wanted to keep it."
        " But {hero.he} knew that somebody (missed it|was looking for it|had lost it).",
        'Soon a [friend] came by, looking at the ground. "Is this your {thing}?" asked {hero} [kindly]. "Yes! It was a'
        ' gift from my (mother|father|sister|brother|grandmother|grandfather)," said {helper} [gladly]. {helper} was'
        " [very] [glad], and they shared the {snack} and the {snack2}. [play]",
        "{ending=given back}[night_helper]",
        "[of_truth]",
    ),
    "fog": lines(
        "{plot=fog}{thing=fog}{trouble=lost the way}Soon a (thick|gray|cold|white) fog came down. {hero} could not see the"
        " (path|road|way|trees) any more. {hero.He} turned (left|right|around), but everything looked the same. [sad]",
        "[meets] ({+animal:land}|{+animal:swims})[asks]"
        ' "I cannot find the way home," said {hero} [sadly]. [comfort] Step by step, {helper} led {hero.him} (past|around|'
        "behind) the (mill|barn|well|fence|church|tower) and (over|across) the bridge. There was the light of {hero.his}"
        " house! [thanks]",
        "{ending=safe at home}[night_helper]",
        "[of_help]",
    ),
    "storm": lines(
        "{plot=storm}{thing=storm}{trouble=a storm}Soon the sky grew (dark|black|gray), and a (big|loud|wild|great) storm"
        " began. {hero} ran into (a barn|a cave|an old shed|a hollow tree). The thunder (boomed|rolled|crashed|roared),"
        " and {hero.he} was [very] (afraid|scared|frightened).",
        '{helper=@helper}A (small|little|young|tiny|wet) {+animal:land} named {+helper:animal} was hiding there too. "(Do'
        ' not worry|Do not be afraid|Be brave|Never mind)," said {helper} [kindly]. "It is only the sky (playing the drum|'
        'clapping its hands|moving its chairs|having a laugh)." They shared the {snack} and the {snack2} until the rain'
        " stopped and a (big|bright|wide|lovely) rainbow came out. [thanks]",
        "{ending=the rain stopped}[night_helper]",
        "[of_courage]",
    ),
    "newfriend": lines(
        "{plot=newfriend}{thing=@snack}{trouble=nobody to play with}{helper=@helper}A [friend] was (sitting|standing|"
        "waiting) there, new in the village and [very] (shy|quiet|lonely). {hero} was a little shy too, but {hero.he} said"
        ' hello and held out the {snack}. "Thank you," said {helper} [sadly].',
        '"I love {like}," said {hero} [kindly]. "I love {like} too!" said {helper} [gladly]. "And {like2}!" Then they both'
        " laughed, and they were not shy any more. [play]",
        "{ending=a new friend}[night_helper]",
        "[of_kindness]",
    ),
}
