"""Ten plots of other days: learning, a show, the dark, birthdays, a promise, the truth, a seed, a wish, an ill friend.

They do not know how the story began; they end with the evening and a moral of the shared frame.
"""

from __future__ import annotations

from ..notation import Written, lines

LEARNING: dict[str, Written] = {
    "skill": lines(
        "{plot=skill}{wish=to learn}{trouble=it went wrong}{thing=@thing}{place=@place}{helper=@helper}{hero} wanted to"
        " learn to {+thing:skill}. {hero.He} went to {+place:trees} and tried it (two|three|four|five|six|ten) times, but"
        ' it always went wrong. [sad] "I will never learn to {thing}," {hero.he} said [sadly].',
        'Then a [friend] (came over|came along|sat down there). "It was hard for me too," said {helper} [kindly].'
        ' "(Try again|Try once more|Do not give up|Start slowly), and I will (help you|watch you|count for you|hold your'
        ' hand)." {hero} took a deep breath and tried again, and this time it worked! [thanks] [play]',
        "{ending=learned}[night_helper]",
        "[of_patience]",
    ),
    "show": lines(
        "{plot=show}{wish=to be in a show}{trouble=afraid of the stage}{thing=@thing}{place=@place}{helper=@helper}there"
        " was a (big|grand|great|merry) show {+place.at:stage}, and {hero} was going to {+thing:act}. But when {hero.he}"
        " saw all the people, {hero.his} (knees|hands|legs|fingers) began to shake. [sad]",
        'A [friend] was waiting there too. "I am also afraid," said {helper} [sadly]. "Let us (hold hands|count to ten|'
        'breathe slowly|think of {like})." It helped! {hero} went out to {thing}, and everybody (clapped|cheered|stood up'
        "|smiled). [thanks]",
        "{ending=everybody clapped}[night_helper]",
        "[of_courage]",
    ),
    "dark": lines(
        "{plot=dark}{wish=to sleep}{trouble=afraid of the dark}{thing=@thing}{place=the bedroom}{helper=@elder}But {hero}"
        " was afraid of the dark. One (cold|windy|dark|quiet|long|stormy) night, {hero.he} saw a (big|huge|black|tall)"
        " {+thing:shadow} on the wall! {hero.He} hid under the (blanket|pillow|bed) and called for {hero.his} {elder}.",
        '{hero.His} {elder} came in with a (lamp|candle|lantern). "(Do not worry|Do not be afraid|Look closely|Never mind),"'
        ' said {hero.his} {elder} [kindly]. "The {thing} is only the shadow of (my coat|your hat|the chair|the curtain|a'
        ' tree)." {hero} (touched|moved|looked at) it, and the {thing} was gone. "What a (silly|funny) {thing}!" said'
        " {hero} [gladly].",
        "{ending=not afraid any more}After that, they (talked|read|laughed|sang) for a while. [sleep]",
        "[of_courage]",
    ),
    "seed": lines(
        "{plot=seed}{wish=to grow something}{trouble=nothing grew}{thing=@thing}{place=the garden}{helper=@helper}{hero}"
        " planted a {+thing:seed} seed (in a pot|by the door|under the window|near the fence). {hero.He} gave it water every"
        " day, but after (two|three|four|five|six|ten) (days|weeks) there was nothing to see. [sad]",
        'Then a [friend] (looked over the fence|came along|came to visit). "A seed is slow," said {helper} [kindly]. "It'
        ' needs (sun|rain|time|love) and a (song|story|kind word|little luck)." So {hero} waited and waited. At last a'
        " green (leaf|tip|dot) came out, and it grew as tall as (the fence|the door|a chair|{hero.his} {elder}). [thanks]",
        "{ending=it grew}Before bed, {hero} {hobby.about} the {thing} seed. [sleep]",
        "[of_patience]",
    ),
}

HOME: dict[str, Written] = {
    "cake": lines(
        "{plot=cake}{wish=to bake a cake}{trouble=spilled}{thing=@thing}{place=the kitchen}{helper=@helper}it was the"
        " birthday of {hero.his} {elder}, and {hero} wanted to bake a (big|sweet|round|soft|fine) {+thing:cake} cake. But"
        " {petname} jumped onto the table, and the (eggs|milk|flour|sugar|butter|cream) fell on the floor. [sad]",
        "Then a [friend] from next door (looked in|knocked|came in). [comfort] They (mixed|stirred|worked) and (baked|"
        "laughed) until the {thing} cake was (brown|done|ready). It was a bit (flat|crooked|burned|small), but it smelled"
        " (wonderful|sweet|lovely). [thanks]",
        '{ending=a good cake}"This is the best {thing} cake in the world," said {hero.his} {elder} [gladly]. They ate it'
        " after the {+food} and the {+food2}, and even {petname} had a (bite|piece|taste). [sleep]",
        "[of_help]",
    ),
    "surprise": lines(
        "{plot=surprise}{wish=a birthday}{trouble=forgotten}{thing=@thing}{place=home}{helper=@helper}{hero} woke up early,"
        " because it was {hero.his} birthday. But {hero.his} {elder} did not say a word about it. Then a [friend] from next"
        " door (ran|hurried|walked) by with a (big|heavy|round) (bag|box|basket) and did not stop. [sad]",
        "When {hero} came (home|inside|back) at noon, the room was full of {+color} (balloons|flowers|ribbons|lanterns),"
        ' with a (big|sweet|round|soft|fine) {+thing:cake} cake on the table. "Surprise!" (called|cried|shouted|sang)'
        ' {helper} and {hero.his} {elder}. "(We did not forget you|We love you|Happy birthday), {hero}!" {hero} was [very]'
        " [glad]. [play]",
        "{ending=a surprise}At bedtime, {hero} {hobby.about} the {thing} cake. [sleep]",
        "[of_friends]",
    ),
    "truth": lines(
        "{plot=truth}{wish=to play inside}{trouble=broken}{thing=@thing}{place=home}{helper=@elder}{hero} was (playing|"
        "running|jumping|dancing) in the (kitchen|hall|house). Suddenly the {+color} {+thing:dish} fell from the (table|"
        "shelf|window) and broke. It was the (best|oldest|finest) {thing} of {hero.his} {elder}! [sad] Should {hero.he} say"
        " that it was {petname}?",
        '"No," thought {hero}, and went to {hero.his} {elder}. "I broke your {thing}, and I am (sorry|so sorry|very sorry|'
        'truly sorry)," said {hero} [sadly]. "(Thank you for telling me|I am glad you told me|It was only a {thing}),"'
        " said {hero.his} {elder} [kindly]. They swept the floor together and made a new {thing} out of clay. {hero}"
        " painted it {+newcolor}.",
        "{ending=forgiven}Before bed, {hero} {hobby.about} the {newcolor} {thing}. [sleep]",
        "[of_truth]",
    ),
}

FRIENDS: dict[str, Written] = {
    "promise": lines(
        "{plot=promise}{wish=to keep a promise}{trouble=forgot}{thing=@thing}{place=next door}{helper=@helper}a [friend]"
        ' came to the door. "Please {+thing.ask:chore} while I am away," said {helper} [kindly]. "I promise," said {hero}'
        " [gladly]. But then {hero} (began|started) to {hobby} and forgot all about the {thing}.",
        'At (supper|bedtime), {hero} jumped up. "Oh no, the {thing}!" (cried|called|shouted) {hero}, and ran through the'
        " (rain|wind|cold|dark) with a (lamp|lantern|candle). {hero.He} {thing.did} and stayed until all was well. The next"
        ' day, {helper} came back and was [very] [glad]. "You kept your promise, {hero}," said {helper} [kindly]. [play]',
        "{ending=kept}[night_helper]",
        "[of_truth]",
    ),
    "wish": lines(
        "{plot=wish}{wish=a toy}{trouble=a heavy cart}{thing=@thing}{place=the hill}{helper=@helper}One (cold|windy|dark|"
        'quiet|long|clear) night, {hero} saw a falling star over the (roof|trees|hill|village). "I wish for a {+color}'
        ' {+thing:toy}," said {hero} [kindly].',
        "The next (morning|day|afternoon), a [friend] was pulling a heavy (cart|sack|sled) full of (wood|apples|stones|hay"
        "|potatoes) up the hill. {hero} (ran to help|pushed with all {hero.his} might|pulled too) until they were at the"
        " top. [friend_thanks] {helper} held out a (box|bag|parcel). In it was a {color} {thing}! The wish had come"
        " true. [play]",
        "{ending=wish granted}[night_thing]",
        "[of_kindness]",
    ),
    "sick": lines(
        "{plot=sick}{wish=to help a friend}{trouble=ill}{thing=@snack}{place=next door}{helper=@helper}a [friend] from next"
        " door was ill and had to stay in bed. {hero} packed {+snack.a} and {+snack2.a} in a (basket|bag|box) and went to"
        " visit. {helper} looked (pale|sad|tired|weak).",
        "{hero} sat down (by the bed|on a chair|at the window) and {hobby.about} a {+look} {+beast} and a {+look2} {+beast2}."
        " {helper} laughed and laughed, and ate the {snack} and the {snack2}. [friend_thanks] After (two|three|four|five|"
        "six|ten) days, {helper} was well again. [play]",
        "{ending=well again}[night]",
        "[of_friends]",
    ),
    "friend_thanks": '"(Thank you|Thanks|Bless you|Oh, thank you), {hero}!" (said|cried|called|shouted) {helper} [gladly].'
    ' "You are (so kind|a true friend|very clever|wonderful|my hero|the best)."',
}

PLOTS: dict[str, Written] = {
    "plots": "(23*[day] [day_plots]|[dark]|[wish])",
    "day_plots": "(8*[toy_plots]|7*[walk_plots]|[skill]|[show]|[seed]|[cake]|[surprise]|[truth]|[promise]|[sick])",
}

SCENES: dict[str, Written] = PLOTS | LEARNING | HOME | FRIENDS
