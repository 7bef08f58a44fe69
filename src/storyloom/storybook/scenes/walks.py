"""Seven plots that begin with a walk: somebody is met, something is found, the weather turns.

They do not know how the story began; they end with the evening and a moral of the shared frame.
"""

from __future__ import annotations

from ..notation import Written, lines

SCENES: dict[str, Written] = {
    "walk_plots": "{wish=to go for a walk}{place=@place}{hero} [ran] to ({+place:walk}|{+place:water}) with"
    " {+snack.a} and {+snack2.a} in {hero.his} (basket|bag|pocket)."
    " [way]\n([baby]|[trapped]|[lunch]|[honest]|[fog]|[storm]|[newfriend])",
    "baby": lines(
        "{plot=baby}{thing=@baby}{trouble=a lost baby animal}There {hero.he} found a [small] {+baby}. It was alone"
        ' and (cold|afraid|wet|hungry). "(Do not worry|Do not be sad|Cheer up|Be brave|Never mind|Do not cry),'
        ' little one," said {hero} [kindly]. "We will find your mother."',
        "[meets] {+animal:land}[named] They looked (high and low|up and down|here and there|near and far). At last"
        " they heard a (loud|happy|deep) (cry|call|voice). It was the mother! [thanks]",
        "{ending=home again}([told]|Before bed, {hero} {+hobby.about} the {baby}. Then {hero.he} dreamed of"
        " [dreams].|[dream])",
        "[of_kindness]",
    ),
    "trapped": lines(
        "{plot=trapped}{thing=@animal}{trouble=a trapped animal}{helper=@helper}Then {hero.he} heard a"
        " (soft|sad|strange|small) cry. A [small] {+animal:land} was caught (under a branch|in a net|in a bush|in"
        " a fence)! {hero} (ran|hurried) there and set it free.",
        '"(Thank you|Thanks|Hello|Oh, thank you), I am {+helper}," it said [kindly]. On the way home, {hero} lost'
        " the (path|road|way), but {helper} came and showed it to {hero.him}. [thanks]",
        "{ending=kindness came back}[night_helper]",
        "[of_kindness]",
    ),
    "lunch": lines(
        "{plot=lunch}{thing=@snack}{trouble=a hungry animal}{helper=@helper}When {hero} sat down [spot] to eat, a"
        ' [small] {+animal:land} named {+helper} {animal.came}. "I am so hungry," said {helper} [sadly].',
        '"(Here|Look|Please|Come), this is for you," said {hero} [kindly]. {helper} ate it (all up|slowly|in one'
        " bite|happily) and showed {hero.him} a (field|hill|garden) full of (wild|red|sweet)"
        " (berries|plums|flowers). [thanks]",
        "{ending=a shared lunch}[night_helper]",
        "[of_kindness]",
    ),
    "honest": lines(
        "{plot=honest}{thing=@thing}{trouble=a lost thing}{helper=@helper}{hero.He} found a {+color}"
        " {+thing:found} [spot]. {hero.He} wanted to keep it, but somebody (missed it|needed it|had lost it).",
        'Soon a [friend] came by. "Is this yours?" asked {hero} [kindly]. "Yes, it was a gift from my'
        ' (mother|father|aunt|uncle|grandmother|grandfather)," said {helper} [gladly]. [friend_thanks] They shared'
        " the food.",
        "{ending=given back}[night_helper]",
        "[of_truth]",
    ),
    "fog": lines(
        "{plot=fog}{thing=fog}{trouble=lost the way}Then a (thick|gray|cold|white) fog came down. {hero} could not"
        " see the (path|road|way|trees) and turned (left|right|around), but everything looked the same. [sad]",
        "[meets] {+animal:land}[named] {helper} led {hero.him} (past|around|behind) the"
        " (mill|barn|fence|school|tower|shop) and over the (bridge|hill|field). There was the light of {hero.his}"
        " home! [thanks]",
        "{ending=safe at home}[night_helper]",
        "[of_help]",
    ),
    "storm": lines(
        "{plot=storm}{thing=storm}{trouble=a storm}{helper=@helper}Soon the sky grew (dark|black|gray), and a"
        " (big|loud|wild|strong) storm began. {hero} ran into (a barn|a cabin|an old mill). A [small]"
        " {+animal:land} named {+helper} was there too.",
        'The thunder was (loud|strong|near|deep), and {hero} was (afraid|so afraid|very afraid). "(Do not worry|Do'
        " not be afraid|Cheer up|Be brave|Never mind|Do not cry), it is only the sky (playing the"
        ' drum|dancing|singing|laughing)," said {helper} [kindly]. They shared the food until the sun came out.'
        " [thanks]",
        "{ending=the sun came out}[night_helper]",
        "[of_courage]",
    ),
    "newfriend": lines(
        "{plot=newfriend}{thing=@snack}{trouble=nobody to play with}{helper=@helper}[spot_there] sat a [friend],"
        ' who was new in the village and (so|very|quite|really) (shy|quiet|lonely). {hero} shared the food. "Thank'
        ' you," said {helper} [sadly].',
        '"I love {+topickind} {+topic}," said {hero} [kindly]. "I love {topickind} {topic} too!" [cried] {helper}'
        " [gladly]. {hero} was [glad]. [play]",
        "{ending=a new friend}[night_helper]",
        "[of_kindness]",
    ),
}
