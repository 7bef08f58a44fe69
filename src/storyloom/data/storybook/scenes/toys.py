"""Plots about a toy that the hero takes out: stuck in a tree, adrift, lost, shared.

It does not know how the story began or who the hero is.
"""

from __future__ import annotations

from ..notation import Written, lines

SCENES: dict[str, Written] = {
    "plots": "{wish=to play}[day] {hero} took {hero.his} {+color} ([air]|[water]|[land])",
    "air": "{+thing:air} to {+place:trees}. [stuck]",
    "water": "{+thing:water} to {+place:water}. [adrift]",
    "land": "{+thing:land} to {+place:trees}. ([lost]|[shared])",
    "stuck": lines(
        "{plot=stuck}{trouble=stuck in a tree}The {thing} (flew|sailed) (high|far) up into the sky. Then the wind"
        " (turned|grew stronger), and the {color} {thing} was caught at the top of a tall tree. [sad]",
        "[meets] {+animal:climbs}[asks]"
        ' "My {thing} is stuck in the tree," said {hero}. [comfort] {helper} went up from branch to branch,'
        " pulled the {color} {thing} free, and brought it down. [thanks]",
        "{ending=brought down}[toy_evening] [help_moral]",
    ),
    "adrift": lines(
        "{plot=adrift}{trouble=drifted away}The {thing} (floated|rocked) (softly|proudly) on the water. Then a wave"
        " (came|rolled by), and the {color} {thing} drifted away. [sad]",
        "[meets] {+animal:swims}[asks]"
        ' "My {thing} is drifting away," said {hero}. [comfort] {helper} swam out, gave the {color} {thing} a push,'
        " and brought it back to the bank. [thanks]",
        "{ending=brought back}[toy_evening] [help_moral]",
    ),
    "lost": lines(
        "{plot=lost}{trouble=lost}{hero} played all morning and then took a nap under a tree. When {hero.he} woke up,"
        " the {color} {thing} was gone. [sad]",
        "[meets] {+animal:finds}[asks]"
        ' "I have lost my {thing}," said {hero}. [comfort] They looked (under every bush|behind every tree|in the tall'
        " grass). At last, {helper} saw something {color} (under a pile of leaves|behind a stone|beside a bench). It was"
        " the {thing}! [thanks]",
        "{ending=found}[toy_evening] [help_moral]",
    ),
    "shared": lines(
        "{plot=shared}{trouble=did not want to share}{helper=@helper}A (girl named {+helper:girl}|boy named {+helper:boy}) was sitting"
        ' there alone. "May I play too?" asked {helper}. "No, it is mine," said {hero}, and held the {color} {thing}'
        " tight. {helper} (looked at the ground|turned away|walked away slowly).",
        "But playing alone was (no fun|boring) at all. {hero} ran to {helper} and held out the {thing}."
        ' "I am sorry," {hero.he} said. "We can share it." {helper} smiled, and they played (together until noon|until'
        " the sun went down|for a long time).",
        "{ending=shared}[toy_evening] [share_moral]",
    ),
}
