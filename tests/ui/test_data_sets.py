"""Several data sets in one run: what stands ready, in which order, and what a page sends of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import DataError
from engine.specs.spec import RunSpec
from tests.ui.test_screens import SAMPLE, given, updates
from ui import data_sets, owner, sources
from ui.data_sets import MOST, About, Ready, Sets
from ui.screens import data
from ui.screens.start import StartScreen

EVIL = "'><script>alert(1)</script>"


def one(name: str) -> Ready:
    return Ready({"source": name}, name, "2 rows: texts with labels")


def names(sets: Sets, opened: str) -> str:
    return " ".join(entry["source"] for entry in sets.entries({"source": opened} if opened else None))


def test_the_order_in_which_they_were_given_stays() -> None:
    sets = Sets().closed(one("a")).closed(one("b")).closed(one("c"))
    assert names(sets, "") == "a b c" and names(sets, "d") == "a b c d"
    entry, sets = sets.opened(1)
    assert entry == {"source": "b"} and names(sets, "b") == "a b c"
    assert names(sets.without(0), "b") == "b c"
    assert names(sets.closed(one("b")), "d") == "a b c d"
    assert Sets.read(sets.text()) == sets and Sets().text() == "" and Sets.read("") == Sets()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"ready": 1, "place": 0}', '{"ready": [{}], "place": 0}', '{"ready": []}']
)
def test_what_is_no_list_of_data_sets_is_refused_in_words(text: str) -> None:
    with pytest.raises(DataError, match="can't be read"):
        Sets.read(text)


def test_a_place_outside_the_list_is_its_nearest_end() -> None:
    record = json.loads(Sets().closed(one("a")).text()) | {"place": 99}
    assert names(Sets.read(json.dumps(record)), "b") == "a b"


def test_there_is_an_end_to_how_many() -> None:
    sets = Sets()
    for number in range(MOST - 1):
        sets = sets.closed(one(str(number)))
    with pytest.raises(DataError, match=f"at most {MOST} data sets"):
        sets.closed(one("more"))


def test_the_list_shows_names_as_text_and_where_the_open_one_belongs() -> None:
    assert data_sets.listed(Sets(), "a") == ""
    sets = Sets([one(EVIL), one("b")], 1)
    markup = data_sets.listed(sets, EVIL)
    assert "<script" not in markup and markup.count("<li") == 3
    assert markup.index("data-set='0'") < markup.index("open below") < markup.index("data-set='1'")
    assert "go on without" in data_sets.listed(sets, "") and "go on without" not in markup


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("480 labelled 2", About(480, True, 2)),
        ("7 other 1", About(7, False, 1)),
        ("7 plain:text,chat 1", About(7, plain=True, good_for=("text", "chat"))),
        ("", About()),
        ("x y z", About()),
        ("1 labelled 99999", About(1, True, MOST)),
    ],
)
def test_what_is_known_of_the_data_is_read_as_it_was_written(text: str, known: About) -> None:
    assert About.read(text) == known and About.read(known.text()) == known


# --- on the page


def values(sent: list[Any], changed: list[Any]) -> list[Any]:
    """What the data's inputs send after an act changed them (updates, or untouched)."""
    return [update.get("value", before) for update, before in zip(changed, sent, strict=False)]


def opened(screen: StartScreen, source: str) -> list[Any]:
    return given(screen, {screen.rows.source._id: source})[1 : 1 + len(screen.rows.inputs)]


def act(screen: StartScreen, sent: list[Any], **asked: Any) -> list[Any]:
    event: Any = SimpleNamespace(_data=asked)
    return values(sent, data._act(screen.rows)(event, *sent))


def added(screen: StartScreen, sent: list[Any]) -> list[Any]:
    return values(sent, data._add(screen.rows)(*sent))


def spec(screen: StartScreen, sent: list[Any]) -> RunSpec:
    all_inputs = given(screen, {})
    return screen.spec([all_inputs[0], *sent, *all_inputs[1 + len(sent) :]])


def test_a_second_data_set_is_given_while_the_first_stands_ready(screen: StartScreen) -> None:
    sent = added(screen, opened(screen, SAMPLE))
    found, *_, ready, _, _, listed = data._look(screen.rows)(*sent)[:8]
    assert (found, ready) == ("", data.READY)
    assert "banking-intents" in listed and "600 rows: texts with labels" in listed
    assert [entry.source for entry in spec(screen, sent).data] == [SAMPLE]  # nothing was given yet: as before

    other = sources.kept("text,label\n" + "".join(f"Text {n},{'ab'[n % 2]}\n" for n in range(40)))
    sent = [other, *sent[1:]]
    assert [entry.source for entry in spec(screen, sent).data] == [SAMPLE, other]

    sent = act(screen, sent, act="open", set=0)
    assert sent[0] == SAMPLE and [entry.source for entry in spec(screen, sent).data] == [SAMPLE, other]
    sent = act(screen, sent, act="remove", set=0)
    assert [entry.source for entry in spec(screen, sent).data] == [SAMPLE]


@pytest.mark.parametrize("asked", [{}, {"set": "0"}, {"set": True}, {"set": 7}, {"act": "remove", "set": -1}])
def test_an_act_on_no_data_set_is_refused(screen: StartScreen, asked: dict[str, Any]) -> None:
    sent = added(screen, opened(screen, SAMPLE))
    with pytest.raises(DataError):
        act(screen, sent, **asked)


def test_nobody_learns_from_a_ready_data_set_of_somebody_else(screen: StartScreen) -> None:
    theirs = sources.kept("text,label\na,b\nc,d\n")
    sent = added(screen, opened(screen, theirs))
    sent[0] = SAMPLE
    with owner.acting("v-" + "b" * 24):
        with pytest.raises(DataError, match="not there any more"):
            spec(screen, sent)
        with pytest.raises(DataError, match="not there any more"):
            act(screen, sent, act="open", set=0)


def test_all_data_sets_of_a_run_are_shown_again(screen: StartScreen) -> None:
    entries = [{"source": SAMPLE, "split": {"test": 0.3}}, {"source": SAMPLE, "system": "Be brief."}]
    wanted = RunSpec.parse({"model": {"id": "embedded:smollm2-135m"}, "data": entries, "tuner": "multitask-prompt"})
    record = wanted.as_dict()
    sets = Sets([data.ready(entry) for entry in record["data"][1:]])
    sent = [record["name"], *(item["value"] for item in screen.rows.show(record["data"][0], sets))]
    again = screen.spec([*sent, *updates(screen, wanted)[len(sent) :]])
    assert again == wanted
