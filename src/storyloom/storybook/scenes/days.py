"""Ten plots of other days: learning, a show, the dark, birthdays, a promise, the truth, a seed, a wish, an ill friend.

They do not know how the story began; they end with the evening and a moral of the shared frame.
"""

from __future__ import annotations

from ..notation import Written, lines

LEARNING: dict[str, Written] = {
    "skill": lines(
        "{plot=skill}{wish=to learn}{trouble=it went wrong}{thing=@thing}{place=the park}{helper=@helper}{hero}"
        " wanted to learn to {+thing:skill}. {hero.He} tried it in the park [some] times, but it always went"
        " wrong. [sad]",
        'Then a [friend] came by. "It was hard for me too," said {helper} [kindly]. "(Try again|Go on|Do not give'
        ' up), and I will (help|watch|count|wait)." {hero} tried [some] more times, and at last it worked!'
        " [thanks] [play]",
        "{ending=learned}[night_helper]",
        "[of_patience]",
    ),
    "show": lines(
        "{plot=show}{wish=to be in a show}{trouble=afraid of the"
        " stage}{thing=@thing}{place=@place}{helper=@helper}there was a (big|merry|fine) show {+place.at:stage},"
        " and {hero} was going to {+thing:act}. But when {hero.he} saw all the (people|children|faces|eyes),"
        " {hero.his} (hands|legs|feet) began to shake. [sad]",
        'A [friend] was waiting there too. [comfort] "(Hold my hand|Count to ten|Think of {+topickind} {+topic})."'
        " It helped! {hero} went out on the stage, and everybody (clapped|cheered|smiled). [thanks]",
        "{ending=everybody clapped}[night_helper]",
        "[of_courage]",
    ),
    "dark": lines(
        "{plot=dark}{wish=to sleep}{trouble=afraid of the dark}{thing=@thing}{place=the bedroom}{helper=@elder}But"
        " {hero} was afraid of the dark. One (cold|windy|quiet|long|cool) evening, {hero.he} saw a [big]"
        " {+thing:shadow} on the wall! {hero.He} hid under the (chair|table|bed|rug) and (called|cried|shouted).",
        '{hero.His} {+elder} came with a (lamp|candle|light). "(Do not worry|Do not be afraid|Cheer up|Be'
        " brave|Never mind|Do not cry), it is only the shadow of (my coat|my hat|the chair|a tree|a basket|the"
        ' door)," said {hero.his} {elder} [kindly]. {hero} looked at it and laughed. "What a (silly|funny|strange)'
        ' shadow!" [cried] {hero} [gladly].',
        "{ending=not afraid any more}They (read|laughed|sang) for a while. [dream]",
        "[of_courage]",
    ),
    "seed": lines(
        "{plot=seed}{wish=to grow something}{trouble=nothing grew}{thing=@thing}{place=the"
        " garden}{helper=@helper}{hero} planted a {+thing:seed} seed [spot]. {hero.He} gave it water every day,"
        " but after [some] (days|weeks) there was nothing to see. [sad]",
        'Then a [friend] came by. "A seed is slow," said {helper} [kindly]. "It needs (sun|rain|time|love) and a'
        ' (song|story|poem|kind word)." So {hero} waited. After [some] (days|weeks) a green leaf came out, and it'
        " grew as tall as (the fence|the door|a chair). [thanks]",
        "{ending=it grew}[night_helper]",
        "[of_patience]",
    ),
}

HOME: dict[str, Written] = {
    "cake": lines(
        "{plot=cake}{wish=to bake a cake}{trouble=spilled}{thing=@thing}{place=the kitchen}{helper=@helper}{hero}"
        " wanted to bake a (big|sweet|round|fine) {+thing:cake} cake for a birthday. But a {+pet} jumped onto the"
        " table, and the (eggs|milk|flour|butter) fell on the floor. [sad]",
        "Then a [friend] came by. [comfort] They worked until the cake was (brown|ready). It was a bit"
        " (flat|small|soft), but very (sweet|good|pretty). [thanks]",
        '{ending=a good cake}"I love this cake," said {hero.his} {+elder} [gladly]. They ate it after the'
        " {+dinner}, the {+green} and the {+sweet}, and there was some for everybody. [dream]",
        "[of_help]",
    ),
    "surprise": lines(
        "{plot=surprise}{wish=a birthday}{trouble=forgotten}{thing=@thing}{place=home}{helper=@helper}{hero}"
        " waited for a birthday (song|hug|kiss|cake), but nobody said a word. Then a [friend] [ran] by with a"
        " (big|heavy|round) (bag|box|basket) and did not stop. [sad]",
        "But when {hero} went to the kitchen, it was full of {+color:bright} (balloons|flowers|lamps), with a"
        ' (big|sweet|round|soft|fine) {+thing:cake} cake on the table. "(We did not forget you|We love you|Happy'
        ' birthday), {hero}!" [cried] {helper} and {hero.his} {+elder}. {hero} was [glad]. [play]',
        "{ending=a surprise}[dream]",
        "[of_friends]",
    ),
    "truth": lines(
        "{plot=truth}{wish=to play inside}{trouble=broken}{thing=@thing}{place=home}{helper=@elder}{hero} was"
        " (playing|singing|dancing) in the house. Suddenly a {+color} {+thing:dish} fell from the"
        " (table|chair|shelf) and broke into [some] pieces. [sad] Should {hero.he} say that it was the {+pet}?",
        'But {hero} [ran] to {hero.his} {+elder}. "I broke it, and I am (sorry|so sorry|very sorry|really sorry),"'
        ' said {hero} [sadly]. "(Thank you for the truth|I am glad you told me|It does not matter)," said'
        " {hero.his} {elder} [kindly]. Together they made a new one and painted it {+newcolor}.",
        "{ending=forgiven}[dream]",
        "[of_truth]",
    ),
}

FRIENDS: dict[str, Written] = {
    "promise": lines(
        '{plot=promise}{wish=to keep a promise}{trouble=forgot}{thing=@thing}{place=next door}came by. "Please'
        ' {+thing.ask:chore} while I am away," said {helper} [kindly]. "I promise," said {hero} [gladly]. But soon'
        " {hero} forgot all about it.",
        'In the evening, {hero} jumped up. "Oh no, my promise!" (cried|called|shouted) {hero}, and ran through the'
        " (rain|wind|cold|dark) with a (lamp|candle|light). {hero.He} kept the promise. The next day, {helper} was"
        " [glad]. [friend_thanks] [play]",
        "{ending=kept}[night_helper]",
        "[of_promise]",
    ),
    "wish": lines(
        "{plot=wish}{wish=a toy}{trouble=a heavy cart}{thing=@thing}{place=the hill}{helper=@helper}Late one"
        ' (cold|windy|dark|quiet|long|clear) evening, {hero} saw a falling star. "I wish for a {+color}'
        ' {+thing:toy}," {hero.he} said (softly|quietly|slowly|in a small voice).',
        "The next (morning|day|afternoon), a [friend] came by with a heavy (cart|bag|basket|box) full of"
        " (wood|apples|stones|hay|potatoes|books). {hero} helped to (pull|push|carry) it up the hill."
        " [friend_thanks] Then {helper} held out a {color} {thing}! The wish had come true, and {hero} was [glad]."
        " [play]",
        "{ending=wish granted}[night_thing]",
        "[of_kindness]",
    ),
    "sick": lines(
        "{plot=sick}{wish=to help a friend}{trouble=ill}{thing=@snack}{place=next door}was ill in bed and felt"
        " (so|very|quite|really) (sad|upset|unhappy|worried|gloomy|lonely). {hero} packed {+snack.a} and"
        " {+snack2.a} in a (basket|bag|box) and [ran] next door.",
        "There {hero} {+hobby.about} [beasts]. {helper} laughed and ate everything. [friend_thanks] After [some]"
        " days, {helper} was well again. [play]",
        "{ending=well again}[night]",
        "[of_friends]",
    ),
}

PLOTS: dict[str, Written] = {
    "plots": "(23*[day] [day_plots]|[dark]|[wish])",
    "day_plots": "(8*[toy_plots]|7*[walk_plots]|[skill]|[show]|[seed]|[cake]|[surprise]|[truth]|2*[next_door])",
    "next_door": "{helper=@helper}a [child] ([promise]|[sick])",
}

SCENES: dict[str, Written] = PLOTS | LEARNING | HOME | FRIENDS
