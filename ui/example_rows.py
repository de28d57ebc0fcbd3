"""The rows of the example files (ui/example_files.py), made up for them."""

from __future__ import annotations

LABELS = [
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
SEVERAL = [
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
NUMBERS = [
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
QUESTIONS = [
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
TALKS = [
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
PAIRS = [
    ("She took the early train to Lyon.", "She travelled by train.", "follows"),
    ("The shop is closed on Mondays.", "On Mondays the shop is open.", "contradicts"),
    ("He bought three apples and a pear.", "He bought fruit.", "follows"),
    ("The bridge was built in 1902.", "The bridge is made of steel.", "open"),
    ("Nobody came to the meeting.", "The room was full of people.", "contradicts"),
    ("The soup has been on the stove since noon.", "Somebody is cooking.", "follows"),
    ("Their house has a red door.", "Their house has two floors.", "open"),
    ("It has not rained for a month.", "It rained yesterday.", "contradicts"),
    ("All windows were broken by the storm.", "The storm did damage.", "follows"),
    ("My sister plays the cello.", "My sister is older than I am.", "open"),
    ("The lecture begins at nine sharp.", "The lecture starts in the evening.", "contradicts"),
    ("Two of the five lamps don't work.", "Three lamps work.", "follows"),
    ("The cat sleeps on the sofa.", "The cat is black.", "open"),
    ("He has never been abroad.", "He spent last summer in Spain.", "contradicts"),
    ("The museum shows paintings of the sea.", "There are paintings in the museum.", "follows"),
    ("Our bus was late again.", "The driver was new.", "open"),
]
TASKS = [
    ("Write it as a polite question.", "Send me the bill.", "Could you please send me the bill?"),
    ("Write it as a polite question.", "I need it by Friday.", "Could I have it by Friday, please?"),
    ("Write it as a polite question.", "Call me back.", "Would you call me back, please?"),
    ("Write it in one word.", "A place where books are lent.", "Library"),
    ("Write it in one word.", "A person who bakes bread.", "Baker"),
    ("Write it in one word.", "What falls from the sky in winter.", "Snow"),
    ("Name the opposite.", "early", "late"),
    ("Name the opposite.", "empty", "full"),
    ("Name the opposite.", "to remember", "to forget"),
    ("Name three colours of the rainbow.", "", "Red, green and violet."),
    ("Name a month with 30 days.", "", "April."),
    ("Say what a receipt is for.", "", "It shows what was bought, when, and for how much."),
]
TEXTS = [
    "Dough that has rested overnight in the cold needs an hour in a warm room before it is shaped.",
    "Rye takes up more water than wheat. If you change the flour, change the water, too.",
    "Salt slows the yeast down. Put it in last, and never on the yeast itself.",
    "A loaf is done when it sounds hollow from below, or when its middle has 96 degrees.",
    "Steam in the first ten minutes keeps the crust soft for long enough that the bread can open.",
    "Cut the loaf before it goes into the oven, about a finger deep and at a flat angle.",
    "Old bread makes good crumbs: dry it, grind it, and keep it in a jar.",
    "Sourdough that smells of vinegar wants to be fed more often, and kept warmer.",
    "Bread that is cut while it is hot sticks to the knife. Wait for an hour.",
    "Seeds soak overnight, so that they don't take their water out of the dough.",
    "A pinch of sugar wakes dry yeast up. Fresh yeast needs none.",
    "The softer a dough is, the larger the holes in its crumb will be.",
]
HANDBOOK = """# How we lend bicycles

## Before the ride

Every bicycle is looked over in the morning: brakes, tyres, lights and chain. What is wrong is written on the
board by the door, and the bicycle stays inside. A helmet is lent with each bicycle, for free. Children under
twelve ride only beside somebody who is grown up.

The deposit is 50 euros, in cash or on a card. Look at an identity card, and write down its number, but never
keep it.

## Prices

An hour costs 4 euros, a day 15, a week 60. Cargo bicycles cost twice as much. Whoever brings a bicycle back
late pays for each hour that was begun, but never more than for a day.

## After the ride

Look the bicycle over together with the guest. A flat tyre is ours to mend. A bent wheel or a broken light is
paid for, at the prices on the list; wear is not. Give the deposit back at once.

If a bicycle was stolen, go to the police with the guest, and take the number of the frame with you. It stands
in the book.
"""
LETTER = """Dear neighbours,

On Saturday from ten o'clock we clear the yard. There is a skip for what nobody wants any more, but not for
paint, oil or batteries: these go to the depot in the harbour street.

Whoever has a drill may bring it. The bench by the wall needs new boards, which lie ready in the cellar.

At one there is soup, and bread from the third floor. The children plant beans along the fence; gloves are in
the shed.
"""
NOTICE = """<html><head><title>Notice</title></head><body><h1>The lift</h1>
<p>From the third to the seventh of May the lift stands still, since its cables are changed.</p>
<p>Heavy things can be brought up on the fourth, between eight and ten, by the goods lift in the yard.
Ask at the desk.</p>
</body></html>
"""
PLACES: list[tuple[str, dict[str, str]]] = [
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
