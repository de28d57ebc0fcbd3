"""Small files that show how rows are laid out, one for each format that is learned from."""

from __future__ import annotations

import csv
import io
import json

_LABELS = [
    ("The parcel arrived with a dent in one corner.", "damaged"),
    ("My cup was in pieces when I opened the box.", "damaged"),
    ("The lamp has a crack along its foot.", "damaged"),
    ("The glass of the frame is broken.", "damaged"),
    ("One leg of the table came bent.", "damaged"),
    ("It says delivered, but nothing is here.", "missing"),
    ("Two of the six chairs were not in the box.", "missing"),
    ("The screws for the shelf are not there.", "missing"),
    ("I waited at home all day and nobody came.", "missing"),
    ("The second of my two packages never came.", "missing"),
    ("I ordered the green one and got a blue one.", "wrong item"),
    ("This is size 40, I asked for 42.", "wrong item"),
    ("The book you sent is in another language.", "wrong item"),
    ("Instead of the kettle there was a toaster in it.", "wrong item"),
    ("These are curtains; my order was for a carpet.", "wrong item"),
]
_SEVERAL = [
    ("The parcel came two days late, with a dent in it.", "late;damaged"),
    ("Nobody answers my letters about the missing screws.", "missing;service"),
    ("It arrived a week after the date you gave me.", "late"),
    ("The box was torn and half of the cups were gone.", "damaged;missing"),
    ("I called four times and was cut off each time.", "service"),
    ("Everything came in time and in one piece, thank you.", ""),
    ("The lamp is cracked.", "damaged"),
    ("One of the two chairs is not there.", "missing"),
    ("Your driver was rude, and an hour late as well.", "service;late"),
    ("The table has scratches and a leg is not in the box.", "damaged;missing"),
    ("Still waiting for it, three weeks now.", "late"),
    ("The mirror broke on its way, and nobody at your desk cared.", "damaged;service"),
    ("A lovely jacket, just as in the picture.", ""),
    ("The manual was left out.", "missing"),
    ("Your answer took a month.", "service;late"),
    ("It came late, without its cable.", "late;missing"),
]
_NUMBERS = [
    ("Clean room, kind people, the best breakfast I know.", "9.5"),
    ("Good bed and a quiet street.", "8.2"),
    ("Friendly, but the bathroom was cold.", "6.4"),
    ("Too loud to sleep.", "3.1"),
    ("It was all right for one night.", "5.8"),
    ("Dirty sheets, and nobody at the desk.", "1.7"),
    ("A fine view and a fair price.", "8.6"),
    ("The room was small and smelled of smoke.", "3.4"),
    ("We will come back next year.", "9.1"),
    ("Nothing special, nothing wrong.", "6.0"),
    ("The heating was broken and they did not mend it.", "2.3"),
    ("Nice garden, slow lift.", "7.2"),
    ("A wonderful week, thanks to everybody there.", "9.8"),
    ("Breakfast was poor for that money.", "4.5"),
    ("Close to the station, and very clean.", "8.0"),
]
_PLACES = [
    ("Anna Brandt moved to Lisbon in May.", {"Anna Brandt": "person", "Lisbon": "place"}),
    ("The meeting with Northwind Traders is in Oslo.", {"Northwind Traders": "company", "Oslo": "place"}),
    ("Please send the contract to Omar Haddad.", {"Omar Haddad": "person"}),
    ("Brightwater Ltd opens an office in Nairobi.", {"Brightwater Ltd": "company", "Nairobi": "place"}),
    ("It rained the whole week.", {}),
    ("Mei Lin and Paul Novak met in Prague.", {"Mei Lin": "person", "Paul Novak": "person", "Prague": "place"}),
    ("She works for Fjord Energy.", {"Fjord Energy": "company"}),
    ("The train from Turin was late again.", {"Turin": "place"}),
    ("Ask Rosa Jiménez about the invoice.", {"Rosa Jiménez": "person"}),
    ("Northwind Traders bought Fjord Energy.", {"Northwind Traders": "company", "Fjord Energy": "company"}),
    ("Nobody answered the phone.", {}),
    ("Paul Novak flies to Nairobi on Monday.", {"Paul Novak": "person", "Nairobi": "place"}),
    ("The order goes to Brightwater Ltd in Lisbon.", {"Brightwater Ltd": "company", "Lisbon": "place"}),
    ("Omar Haddad lives near Oslo.", {"Omar Haddad": "person", "Oslo": "place"}),
    ("We sold the old car.", {}),
]
_QUESTIONS = [
    ("When is the library open?", "Monday to Friday from 9 to 19, Saturday from 10 to 14. Closed on Sundays."),
    ("How long may I keep a book?", "Four weeks. You can extend it twice, unless somebody waits for it."),
    ("What does a card cost?", "12 euros a year. It is free for everybody under 18."),
    ("Can I return books at night?", "Yes, in the box to the left of the entrance. It is emptied at 8."),
    ("How do I get a card?", "Bring an identity card to the desk. It takes five minutes."),
    ("What if I lose a book?", "Tell us. You pay what a new copy costs, and 2 euros for the work."),
    ("Do you have films?", "Around 3,000, on the second floor. You may keep them for a week."),
    ("Is there a place to study?", "40 desks on the third floor. No booking is needed."),
    ("Can I print here?", "Yes, for 10 cents a page. Send the file to the printer by the stairs."),
    ("May I bring a drink?", "Water in a closed bottle, anywhere. Coffee only in the hall."),
]
_TALKS = [
    (
        ("user", "My bicycle makes a clicking noise."),
        ("assistant", "Does it click when you pedal, or when you roll, too?"),
        ("user", "Only when I pedal."),
        ("assistant", "Then it is most likely the crank or a pedal. Tighten both and try again."),
    ),
    (
        ("user", "How hard should I pump my tyres?"),
        ("assistant", "The range stands on the side of the tyre. In its middle is right for most people."),
    ),
    (
        ("user", "The chain keeps coming off."),
        ("assistant", "Is it old, or did you change gears under load?"),
        ("user", "It is five years old."),
        ("assistant", "Then it is worn. Let a shop measure it, and change chain and sprockets together."),
    ),
    (
        ("user", "Can I wash it with a high-pressure cleaner?"),
        ("assistant", "Better not: it drives water into the bearings. Take a bucket and a brush."),
    ),
    (
        ("user", "My brakes squeal."),
        ("assistant", "Are they wet or dry when they do?"),
        ("user", "Dry."),
        ("assistant", "Clean the rims and roughen the pads with sandpaper. If it goes on, change the pads."),
    ),
    (
        ("user", "How often do I oil the chain?"),
        ("assistant", "Every 200 kilometres, and after each ride in the rain."),
    ),
    (
        ("user", "Do I need a service each year?"),
        ("assistant", "If you ride daily, yes. Otherwise every two years will do."),
    ),
    (("user", "What tools should I carry?"), ("assistant", "A pump, a spare tube, two tyre levers and a multi-tool.")),
    (
        ("user", "The saddle hurts."),
        ("assistant", "After how long?"),
        ("user", "After an hour or so."),
        ("assistant", "Then check its height and tilt first. It should be level, with your leg nearly straight below."),
    ),
    (("user", "Can I leave it outside in winter?"), ("assistant", "Yes, under a cover, with the chain oiled well.")),
]


def _csv(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([head, *rows])
    return out.getvalue()


def _talks() -> str:
    lines = ({"messages": [{"role": role, "content": text} for role, text in talk]} for talk in _TALKS)
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _marks() -> str:
    lines = []
    for text, named in _PLACES:
        marks = [
            {"start": text.index(words), "end": text.index(words) + len(words), "label": named[words]}
            for words in named
        ]
        lines.append(json.dumps({"text": text, "entities": marks}, ensure_ascii=False) + "\n")
    return "".join(lines)


FILES: dict[str, tuple[str, str]] = {
    "labels.csv": ("Texts with labels", _csv(("text", "label"), _LABELS)),
    "several-labels.csv": ("Texts with several labels", _csv(("text", "labels"), _SEVERAL)),
    "numbers.csv": ("Texts with numbers", _csv(("text", "rating"), _NUMBERS)),
    "marked-words.jsonl": ("Texts with marked names", _marks()),
    "questions.csv": ("Questions with answers", _csv(("question", "answer"), _QUESTIONS)),
    "conversations.jsonl": ("Conversations", _talks()),
}
"""By file name: what is in it, and its text."""
