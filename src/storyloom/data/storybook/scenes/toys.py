"""Eight plots about a toy that the hero takes out, from a kite in a tree to a quarrel in a puddle.

They do not know how the story began; they end with the evening and a moral of the shared frame.
"""

from __future__ import annotations

from ..notation import Written, by, lines

OUTING: dict[str, Written] = {
    "toy_plots": "{wish=to play outside}{thing=@thing}{place=@place}{hero} took {hero.his} {+color} ([air]|[water]|6*"
    "[land])",
    "air": "{+thing:air} to {+place:trees}. [way]\n[stuck]",
    "water": "{+thing:water} to {+place:water}. [way]\n[adrift]",
    "land": ["{+thing:land} to {+place:trees}. [way]\n[land_plots]"],
    # A ball or a bear does not break when it falls.
    "land_plots": by(
        "thing.breaks",
        yes="([lost]|[shared]|[borrowed]|[gift]|[quarrel]|[broken])",
        no="([lost]|[shared]|[borrowed]|[gift]|[quarrel])",
    ),
}

SCENES: dict[str, Written] = OUTING | {
    "stuck": lines(
        "{plot=stuck}{trouble=stuck in a tree}The {thing} (flew|rose|sailed|danced) (high|far|up and up) into the (blue|"
        "clear|wide|bright) sky. Then the wind (turned|grew strong|blew harder|changed), and the {color} {thing} was"
        " caught in a (tall|big|thick|bent) (oak|pine|maple|willow|cherry|apple) tree. [sad]",
        "[meets] {+animal:climbs}[asks]"
        ' "My {thing} is stuck in the tree," said {hero} [sadly]. [comfort] {helper} (climbed|hurried|went|jumped) from'
        " branch to branch, (pulled|shook|tugged) the {thing} free, and (brought|carried) it down. [thanks]",
        "{ending=brought down}[night_thing]",
        "[of_help]",
    ),
    "adrift": lines(
        "{plot=adrift}{trouble=drifted away}The {thing} (floated|rocked|bobbed|danced) (softly|proudly|lightly) on the"
        " water. Then a (big|sudden|strong|cold) (wave|wind) came, and the {color} {thing} drifted (far away|out of"
        " reach|into the reeds). [sad]",
        "[meets] {+animal:swims}[asks]"
        ' "My {thing} has drifted away," said {hero} [sadly]. [comfort] {helper} (swam|paddled|splashed) out, gave the'
        " {thing} a (push|shove|nudge), and brought it back to {hero}. [thanks]",
        "{ending=brought back}[night_thing]",
        "[of_help]",
    ),
    "lost": lines(
        "{plot=lost}{trouble=lost}{hero} played (all morning|for a long time|until noon) and then took a nap (under a"
        " tree|in the sun|in the soft grass). When {hero.he} woke up, the {color} {thing} was (gone|nowhere to be seen|"
        "not there). [sad]",
        "[meets] {+animal:land}[asks]"
        ' "I have lost my {thing}," said {hero} [sadly]. [comfort] They looked (behind every tree|under every bush|up and'
        " down|here and there). At last {helper} saw something {color} (under|behind|beside) a (bench|stone|log|fence|"
        "pile of leaves|basket). It was the {thing}! [thanks]",
        "{ending=found}[night_thing]",
        "[of_help]",
    ),
    "shared": lines(
        "{plot=shared}{trouble=did not want to share}{helper=@helper}A [friend] was (standing|sitting|waiting|walking)"
        ' there all alone. "May I play with your {thing}?" asked {helper} [kindly]. "No, it is mine," said {hero}, and'
        " {helper} (looked at the ground|turned away|walked away|became very quiet).",
        "But playing alone was (no fun|boring|lonely|dull). {hero} (ran|went|hurried|walked) to {helper} and held out"
        ' the {color} {thing}. [sorry] "We can share it." {helper} was [very] [glad]. [play]',
        "{ending=shared}[night_thing]",
        "[of_sharing]",
    ),
    "borrowed": lines(
        "{plot=borrowed}{trouble=taken by a dog}{helper=@helper}Suddenly a (big|young|wild|naughty) dog (took|grabbed|"
        'stole|snatched) the {color} {thing} and ran off. "(Stop|Come back|Wait|Hey)!" (cried|called|shouted) {hero}, but'
        " the dog was too (fast|quick|clever). [sad]",
        'Then a [friend] came (along|by|running). "That is my dog," said {helper} [kindly]. "He only wants to play.'
        ' Throw him this (stick|bone|branch|cone)." {hero} threw it (far|high) into the grass, and the dog dropped the'
        " {thing}. [thanks] [play]",
        "{ending=given back}[night_thing]",
        "[of_help]",
    ),
    "gift": lines(
        "{plot=gift}{trouble=a sad child}{helper=@helper}There {hero} met a [friend], who looked [very] (sad|unhappy|"
        'lonely). "I wish I had a {thing} like that," said {helper} [sadly]. {hero} thought about it for a (moment|while|'
        "minute|long time).",
        'Then {hero.he} held out the {color} {thing}. "It is (yours|for you|a gift) now," said {hero} [kindly]. {helper}'
        " (hugged {hero.him}|danced around|jumped up and down|beamed) and was [very] [glad]. [play]",
        "{ending=given away}[night_helper]",
        "[of_sharing]",
    ),
    "quarrel": lines(
        "{plot=quarrel}{trouble=a quarrel}{helper=@helper}A [friend] came to play. But soon both of them wanted the {color}"
        ' {thing}. "(Let go|Give it to me|It is my turn)!" (cried|shouted|yelled) {helper}. They pulled and pulled until'
        " they (fell|tumbled|rolled) into a (big|deep|cold|muddy) (puddle|ditch|hole).",
        "They looked at each other, wet and (dirty|brown|muddy|dripping), and began to (laugh|giggle). [sorry]"
        ' "So am I," said {helper} [kindly]. They (washed|cleaned|wiped) the {thing} and took turns. [play]',
        "{ending=made up}[night_helper]",
        "[of_sharing]",
    ),
    "broken": lines(
        "{plot=broken}{trouble=broken}{helper=@elder}But then the {color} {thing} slipped from {hero.his} hands, hit a"
        " (stone|rock|wall|root), and broke in (two|three|half). [sad] {hero} (picked up|gathered) the pieces and carried"
        " them home in {hero.his} (hat|pocket|bag|sleeve).",
        '"(Do not worry|Never mind|Do not be sad|Let me see)," said {hero.his} {elder} [kindly]. "We can mend it with'
        ' some (glue|string|tape|wire|thread) and a little (time|care|luck|work)." They worked at the table until'
        " the {thing} was (as good as new|whole again|better than before). {hero} was [very] [glad].",
        "{ending=mended}Before bed, {hero} {hobby.about} the {color} {thing}. [sleep]",
        "[of_patience]",
    ),
}
