"""Eight plots about a toy that the hero takes out, from a kite in a tree to a quarrel in a puddle.

They do not know how the story began; they end with the evening and a moral of the shared frame.
"""

from __future__ import annotations

from ..notation import Written, by, lines

OUTING: dict[str, Written] = {
    "toy_plots": "{wish=to play}{thing=@thing}{place=@place}{hero} took {hero.his} {+color} ([air]|[water]|6*[land])",
    "air": "{+thing:air} to {+place:trees}.[best] [way]\n[stuck]",
    "water": "{+thing:water} to {+place:water}.[best] [way]\n[adrift]",
    "land": "{+thing:land} to {+place:trees}.[best] [way]\n[land_plots]",
    "best": " It was the (best|finest|prettiest) {thing} in the (world|village|house|land).",
    # A ball or a bear does not break when it falls.
    "land_plots": by(
        "thing.breaks",
        yes="([lost]|2*[visited]|[borrowed]|[gift]|[broken])",
        no="([lost]|2*[visited]|[borrowed]|[gift])",
    ),
    "visited": "{helper=@helper}A [friend] came by. ([shared]|[quarrel])",
}

SCENES: dict[str, Written] = OUTING | {
    "stuck": lines(
        "{plot=stuck}{trouble=stuck in a tree}The {thing} (flew|rose|sailed|danced) (high|far|up) into the"
        " (blue|clear|wide|bright) sky. But the wind (turned|grew strong|grew wild), and the {thing} was caught in"
        " a [big] (oak|apple|pear|plum|peach) tree. [sad]",
        "[meets] {+animal:climbs}[named] {helper} (climbed|hurried|jumped) from branch to branch, (pulled|shook)"
        " it free, and brought it down. [thanks]",
        "{ending=brought down}[night_thing]",
        "[of_help]",
    ),
    "adrift": lines(
        "{plot=adrift}{trouble=drifted away}The {thing} (floated|rocked|sailed|danced)"
        " (softly|proudly|slowly|gently) on the water. But a (big|sudden|strong|cold) (wave|wind) came, and it"
        " drifted away. [sad]",
        "[meets] {+animal:swims}[named] {helper} (swam|hurried) after the toy, gave it a (push|pull), and brought"
        " it back. [thanks]",
        "{ending=brought back}[night_thing]",
        "[of_help]",
    ),
    "lost": lines(
        "{plot=lost}{trouble=lost}There {hero} played for a (long|little) (time|while) and took a nap [spot]. When"
        " {hero.he} woke up, {hero.his} toy was gone! [sad]",
        "[meets] {+animal:land}[named] They looked (high and low|up and down|here and there|near and far). At last"
        " {helper} saw something {color} in the (grass|leaves|flowers|hay). It was the {thing}! [thanks]",
        "{ending=found}[night_thing]",
        "[of_help]",
    ),
    "shared": lines(
        '{plot=shared}{trouble=did not want to share}"May I play with your {thing}?" asked {helper} [kindly]. "No,'
        ' it is mine," said {hero} (loudly|at once|quickly|proudly), and {helper} (turned|walked|ran|went) away.',
        "But it was (no fun|lonely|too quiet) to play alone. {hero} [ran] after {helper}. [sorry] {hero.He} held"
        " out the toy, and {helper} was [glad]. [play]",
        "{ending=shared}[night_thing]",
        "[of_sharing]",
    ),
    "borrowed": lines(
        "{plot=borrowed}{trouble=taken by a dog}{helper=@helper}Suddenly a [small] dog (took|stole) the {thing}"
        ' and ran away. "(Stop|Come back|Wait|No)!" [cried] {hero}, but the dog was too (fast|quick|clever). [sad]',
        'Then a [friend] came by. "That is my dog, and he wants to play," said {helper} [kindly]. {hero} threw a'
        " (stick|bone|ball) [spot], and the dog gave it back. [thanks] [play]",
        "{ending=given back}[night_thing]",
        "[of_help]",
    ),
    "gift": lines(
        '{plot=gift}{trouble=a sad child}{helper=@helper}[spot_there] sat a [friend]. "I wish I had a {thing}'
        ' too," said {helper} [sadly]. {hero} thought about it for a (moment|while|long time).',
        'Then {hero.he} held out the toy. "It is (yours|for you|a gift)," said {hero} [kindly]. [friend_thanks] [play]',
        "{ending=given away}[night_helper]",
        "[of_sharing]",
    ),
    "spot_there": "(Behind|Beside|Near|Next to) a (bench|stone|log|fence|bush|bridge|wall|tree)",
    "quarrel": lines(
        '{plot=quarrel}{trouble=a quarrel}Soon both of them wanted the {thing}. "(Let go|Give it to me|It is my'
        ' turn|No)!" [cried] {helper}. They pulled until they (fell|rolled) into a (big|deep|cold|dark)'
        " (puddle|hole|pond).",
        'They looked at each other and (laughed|smiled|were sorry). [sorry] "I am sorry too," said {helper}'
        " [kindly]. They (washed|cleaned) the toy and took turns. [play]",
        "{ending=made up}[night_helper]",
        "[of_sharing]",
    ),
    "broken": lines(
        "{plot=broken}{trouble=broken}{helper=@elder}But suddenly the {thing} fell on a (stone|rock|path|log) and"
        " broke into [some] pieces. [sad] {hero.He} took them home in {hero.his} (hat|pocket|bag|basket).",
        '"(Do not worry|Do not be sad|Cheer up|Never mind|Do not cry), we can mend it," said {hero.his} {+elder}'
        " [kindly]. They worked with {+tool} and {+tool2} until it was (as good as new|better than before|strong"
        " again). {hero} was [glad].",
        "{ending=mended}[dream]",
        "[of_patience]",
    ),
}
