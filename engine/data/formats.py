"""How the rows of a table are laid out, with the reason, and what else they could be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engine.data import columns
from engine.data.columns import Column
from engine.data.rows import Table, listed

ROLES: dict[str, tuple[str, ...]] = {
    "chat": ("messages", "output", "system", "tools"),
    "sharegpt": ("conversations", "output", "system", "tools"),
    "alpaca": ("instruction", "input", "output", "instances", "system"),
    "prompt-completion": ("prompt", "completion", "system"),
    "marked": ("text", "marks", "words", "tags"),
    "labelled": ("text", "second", "label", "system"),
    "text": ("text",),
}
"""The parts that columns can play in each format."""

TITLES = {
    "chat": "chat messages",
    "sharegpt": "ShareGPT conversations",
    "alpaca": "instructions with answers (Alpaca)",
    "prompt-completion": "prompts with answers",
    "marked": "texts with marked words",
    "labelled": "texts with labels",
    "text": "plain texts",
    "preferences": "preference pairs",
    "unknown": "nothing known",
}

_TURNED = ("chat", "sharegpt")
"""Differ in the names of keys alone, so a person who chose one is served with the other."""
_WORDS = ("text", "texts")
_VALUES = ("text", "texts", "number", "switch", "date")
_SHORT = 20


@dataclass(frozen=True)
class Guess:
    """`columns` maps roles to column names. `format` is one of ROLES, or "preferences" or "unknown"."""

    format: str
    columns: dict[str, str]
    why: str
    alternatives: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    """Columns of 0 and 1 that are a label each, in place of a column of labels."""

    @property
    def used(self) -> list[str]:
        """All columns that play a part."""
        return [*dict.fromkeys(self.columns.values()), *self.labels]


def recognise(
    table: Table,
    given: Mapping[str, str] | None = None,
    only: str = "auto",
    template: bool = False,
    marks: Sequence[str] = (),
) -> Guess:
    """The format of a table.

    given: columns that a person has chosen by role; the rest is guessed around them. only: the format that a
    person has chosen. template: a prompt template stands in for the column of the person's message. marks: columns of
    0 and 1 that a person has chosen as labels.
    """
    given = given or {}
    looked = columns.look(table)
    # A column that divides the rows is no label of theirs, unless a person says so.
    found = {
        name: column
        for name, column in looked.items()
        if columns.normal(name) not in columns.SPLITS or name in given.values()
    }
    if only == "auto" and not given and {"chosen", "rejected"} <= {columns.normal(name) for name in table.columns}:
        why = "There are columns chosen and rejected."
        return Guess("preferences", {}, why, [name for name in ROLES if _MATCHERS[name](found, {}, template)])
    if marks:
        return _marked(found, given, marks, template)
    asked = _TURNED if only in _TURNED else (only,)
    wanted = [name for name in ROLES if (only == "auto" or name in asked) and set(given) <= set(ROLES[name])]
    guesses: list[tuple[float, str, dict[str, str], str]] = []
    for name in wanted:
        match = _MATCHERS[name](found, given, template)
        if match is not None:
            guesses.append((match[0], name, match[1], match[2]))
    # The surest match; among equals the first format.
    guesses.sort(key=lambda guess: -guess[0])
    if not guesses:
        return Guess("unknown", {}, _nothing(found, only))
    _, name, roles, why = guesses[0]
    ordered = {role: roles[role] for role in ROLES[name] if role in roles}
    # Turns hold texts, but nobody means them as a text by itself.
    others = [guess[1] for guess in guesses[1:] if not (name in _TURNED and guess[1] == "text")]
    labels = _flags(found) if name == "labelled" and "label" not in ordered else []
    return Guess(name, ordered, why, others, labels)


def choices(table: Table) -> list[str]:
    """Columns that texts can be taken from."""
    return [name for name, column in columns.look(table).items() if column.kind in _WORDS]


Match = tuple[float, dict[str, str], str] | None
_CERTAIN, _SURE, _LIKELY, _WEAK, _LAST = 4.0, 3.0, 2.0, 1.0, 0.5


def _turns(role: str) -> Callable[[Mapping[str, Column], Mapping[str, str], bool], Match]:
    def match(found: Mapping[str, Column], given: Mapping[str, str], template: bool) -> Match:
        # Both kinds are read alike; the kind of the column says which of the two formats it is.
        name = given.get(role) or _of_kind(found, role)
        if name is None:
            return None
        roles = {role: name, **given}
        for extra in ("system", "tools"):
            column = columns.find(found, extra, ("text", "nested", "texts"), roles.values())
            if extra not in roles and column is not None:
                roles[extra] = column
        keys = "role and content" if role == "messages" else "from and value"
        return _CERTAIN, roles, f"The column {name!r} holds lists of turns with {keys}."

    return match


def _of_kind(found: Mapping[str, Column], kind: str) -> str | None:
    fitting = [name for name, column in found.items() if column.kind == kind]
    named = columns.find(found, kind, (kind,))
    # Two without a telling name are a prompt and its completion, each as turns.
    return named or (fitting[0] if len(fitting) == 1 else None)


def _alpaca(found: Mapping[str, Column], given: Mapping[str, str], template: bool) -> Match:
    roles = dict(given)
    if "instruction" not in roles:
        name = columns.find(found, "instruction", _WORDS, roles.values())
        by_name = {columns.normal(name): name for name, column in found.items() if column.kind in _WORDS}
        if name is None and "context" in by_name:
            # A question about a text (as in SQuAD) is an instruction with an input.
            name = by_name.get("question")
        if name is None:
            return None
        roles["instruction"] = name
    instances = next(
        (name for name, column in found.items() if columns.normal(name) == "instances" and column.kind == "nested"),
        None,
    )
    if instances and "output" not in roles:
        roles["instances"] = instances
        return _SURE + 0.2, roles, f"Each row has an instruction and, in {instances!r}, inputs with outputs."
    _fill(roles, found, "output", _VALUES)
    if "output" not in roles:
        return None
    _fill(roles, found, "input", (*_VALUES, "empty"))
    _fill(roles, found, "system", ("text",))
    return (
        _SURE + 0.2,
        roles,
        f"{roles['instruction']!r} is the instruction and {roles['output']!r} the answer, by their names.",
    )


def _pairs(found: Mapping[str, Column], given: Mapping[str, str], template: bool) -> Match:
    roles = dict(given)
    sure = _LIKELY
    _fill(roles, found, "completion", (*_VALUES, "messages"))
    _fill(roles, found, "prompt", (*_VALUES, "messages"))
    _fill(roles, found, "system", ("text",))
    missing = [role for role in ("prompt", "completion") if role not in roles and not (role == "prompt" and template)]
    if missing:
        rest = [name for name, column in found.items() if column.kind in _WORDS and name not in roles.values()]
        if not (len(rest) == len(missing) and (given or len(found) == 2)):
            return None
        for role in missing:
            roles[role] = rest.pop(0)
        sure = _WEAK
    elif columns.normal(roles.get("prompt", "")) in columns.QUESTIONS:
        sure = _SURE + 0.1
    asked = repr(roles["prompt"]) if "prompt" in roles else "The template"
    how = "by their order, as no name tells" if sure == _WEAK else "by their names"
    return sure, roles, f"{asked} is the prompt and {roles['completion']!r} the answer, {how}."


def _labelled(found: Mapping[str, Column], given: Mapping[str, str], template: bool) -> Match:
    roles = dict(given)
    small = {name: column for name, column in found.items() if column.few_values}
    named = columns.find(found, "label", ("text", "number", "switch", "texts"), roles.values())
    # A column called label may hold a few rows only; then its name decides.
    vague = named is not None and columns.normal(named) in _VAGUE_LABELS
    fits = named is not None and (
        named in small
        or found[named].kind == "texts"
        or (found[named].mean_length <= _SHORT and (not vague or found[named].numeric))
    )
    flags = _flags(found)
    sure = _SURE
    if "label" not in roles and len(flags) > 1 and not (fits and named not in flags):
        return _by_flags(found, roles, flags, template)
    if "label" not in roles:
        if named is not None and fits:
            roles["label"] = named
            sure = _SURE if not vague else _WEAK + 0.1
            if vague and named in small and columns.normal(named) not in _SCORES:
                sure = _LIKELY + 0.1
        elif len(found) <= 3 and len(small) == 1:
            roles["label"], sure = next(iter(small)), _LIKELY - 0.2
        else:
            return None
    less = _read_texts(found, roles, template, sure == _SURE)
    if less is None:
        return None
    label = found[roles["label"]]
    said = f"{_read(roles)} and the label in {label.name!r}, with {label.distinct:,} different values."
    return sure - less, roles, said


def _read_texts(found: Mapping[str, Column], roles: dict[str, str], template: bool, sure: bool) -> float | None:
    """Find the text, or both, for `roles`; by how much less sure that makes it, or None where there is none.

    sure: whether the labels are, so that any column of words will do.
    """
    pair = columns.text_pair(found, roles.values())
    if pair and not template and not {"text", "second"} & roles.keys():
        roles["text"], roles["second"] = pair
    _fill(roles, found, "text", _WORDS)
    if "text" in roles:
        return 0.0
    rest = [name for name, column in found.items() if column.kind in _WORDS and name not in roles.values()]
    rest = [name for name in rest if not found[name].few_values]
    if rest and (len(rest) <= 2 or sure):
        roles["text"] = max(rest, key=lambda name: found[name].mean_length)
        return 0.5
    return 0.0 if template else None


def _read(roles: Mapping[str, str]) -> str:
    if "text" not in roles:
        return "The template makes the text"
    if "second" in roles:
        return f"Two texts are read together, {roles['text']!r} and {roles['second']!r},"
    return f"The text is in {roles['text']!r}"


_SCORES = {"score", "similarity", "similarity_score"}
_VAGUE_LABELS = {"target", "type", "rating", "stars", "tag", *_SCORES}
_NO_LABELS = {"accepted", "correct", "good", "liked", "id", "index"}
"""Names of columns of 0 and 1 that say something of a row and name no label."""
_MOST_BESIDE = 2
"""Columns beside texts and columns of 0 and 1 with which these are still taken for labels."""


def _flags(found: Mapping[str, Column]) -> list[str]:
    return [name for name, column in found.items() if column.flags and columns.normal(name) not in _NO_LABELS]


def _by_flags(found: Mapping[str, Column], roles: dict[str, str], flags: list[str], template: bool) -> Match:
    """A text, and two columns of 0 and 1 or more, each of which is a label."""
    words = {name: column for name, column in found.items() if name not in flags}
    if _read_texts(words, roles, template, False) is None or len(words) - len(roles) > _MOST_BESIDE:
        return None
    return _WEAK + 0.1, roles, f"{_read(roles)}, and {len(flags)} columns of 0 and 1 are labels: {listed(flags, 6)}."


def _marked(found: Mapping[str, Column], given: Mapping[str, str], marks: Sequence[str], template: bool) -> Guess:
    """As a person says: labels in columns of 0 and 1."""
    roles = {role: name for role, name in given.items() if role != "label"}
    words = {name: column for name, column in found.items() if name not in marks}
    if _read_texts(words, roles, template, True) is None:
        return Guess("unknown", {}, _nothing(words, "labelled"))
    ordered = {role: roles[role] for role in ROLES["labelled"] if role in roles}
    why = f"{_read(roles)}, and {len(marks)} columns are labels: {listed(list(marks), 6)}."
    return Guess("labelled", ordered, why, labels=list(marks))


def _plain(found: Mapping[str, Column], given: Mapping[str, str], template: bool) -> Match:
    name = given.get("text") or columns.find(found, "text", ("text",))
    words = [column.name for column in found.values() if column.kind == "text"]
    if name is None and len(words) == 1 and len(found) <= 2:
        name = words[0]
    if name is None:
        return None
    return _LAST, {"text": name}, f"The column {name!r} holds texts, and no other column says what to answer."


def _marks(found: Mapping[str, Column], given: Mapping[str, str], template: bool) -> Match:
    """Words with a tag each, or a text with begin, end and label of what is marked in it."""
    roles = dict(given)
    if not {"text", "marks"} & roles.keys():
        _fill(roles, found, "words", ("texts",))
        _fill(roles, found, "tags", ("texts", "numbers"))
        if {"words", "tags"} <= roles.keys():
            return _CERTAIN, roles, f"{roles['words']!r} holds words, and {roles['tags']!r} a tag for each."
        roles = dict(given)
    if {"words", "tags"} & roles.keys():
        return None
    _fill(roles, found, "marks", ("marks",))
    fitting = [name for name, column in found.items() if column.kind == "marks"]
    if "marks" not in roles and len(fitting) == 1:
        roles["marks"] = fitting[0]
    _fill(roles, found, "text", ("text",))
    words = [name for name, column in found.items() if column.kind == "text"]
    if "text" not in roles and len(words) == 1:
        roles["text"] = words[0]
    if not {"text", "marks"} <= roles.keys():
        return None
    said = f"The text is in {roles['text']!r}, and {roles['marks']!r} says from where to where its words are marked."
    return _CERTAIN, roles, said


_MATCHERS: dict[str, Callable[[Mapping[str, Column], Mapping[str, str], bool], Match]] = {
    "chat": _turns("messages"),
    "sharegpt": _turns("conversations"),
    "alpaca": _alpaca,
    "prompt-completion": _pairs,
    "marked": _marks,
    "labelled": _labelled,
    "text": _plain,
}


def _fill(roles: dict[str, str], found: Mapping[str, Column], role: str, kinds: tuple[str, ...]) -> None:
    if role not in roles:
        name = columns.find(found, role, kinds, roles.values())
        if name is not None:
            roles[role] = name


def _nothing(found: Mapping[str, Column], only: str) -> str:
    texts = [name for name, column in found.items() if column.kind in (*_WORDS, "messages", "conversations")]
    if not texts:
        return "No column holds text."
    wanted = TITLES[only] if only != "auto" else "a conversation, a question with its answer, or a text with its label"
    return f"No names or contents of columns show {wanted}. Columns with text: {listed(texts, 20)}."
