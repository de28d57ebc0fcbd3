"""Marked words as tags of tokens, and back: words of a text, tags of its tokens, and the marks that tags come to.

Tags are those of the scheme BIO: B- begins a mark, I- goes on with it, O is outside of all. Scripts and cards of
results hold this file's functions as they stand.
"""

import re
import unicodedata

ALONE = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Letters that are words by themselves."""
WORD = re.compile(rf"[{ALONE}]|[^\W{ALONE}]+|[^\w\s]")


def words_of(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends: letters and digits in a row, a sign, or one Chinese or Japanese letter.

    A mark that changes the letter before it (an accent, a vowel of Hindi) belongs to that letter's word.
    """
    found: list[tuple[int, int]] = []
    joins = False
    for match in WORD.finditer(text):
        begin, end = match.span()
        is_mark = not match[0].isascii() and unicodedata.category(match[0][0]).startswith("M")
        if found and found[-1][1] == begin and (is_mark or (joins and match[0][0].isalnum())):
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
        joins = is_mark
    return found


def places_of(text: str, offsets: list[tuple[int, int]], special: list[int]) -> list[tuple[int, int]]:
    """The characters that each token stands for, without spaces before them; (0, 0) of one that stands for none.

    offsets: as the tokenizer gives them. special: 1 for each token that frames the text.
    """
    found = []
    for (begin, end), framing in zip(offsets, special, strict=True):
        while begin < end and text[begin].isspace():
            begin += 1
        found.append((0, 0) if framing or begin == end else (begin, end))
    return found


def tags_of(
    places: list[tuple[int, int]], spans: list[tuple[int, int, str]], core: tuple[int, int] | None = None
) -> list[str | None]:
    """The tag of each token; None for one that stands for nothing, or lies outside of the characters `core`.

    spans: begin, end and label of each mark. One that begins before the text, in a part of a longer one, goes on in it.
    """
    tags: list[str | None] = []
    begun = {place for place, span in enumerate(spans) if span[0] < 0}
    for begin, end in places:
        own = next((place for place, span in enumerate(spans) if begin < span[1] and span[0] < end), None)
        if begin == end:
            tags.append(None)
            continue
        tag = "O" if own is None else f"{'I' if own in begun else 'B'}-{spans[own][2]}"
        if own is not None:
            begun.add(own)
        tags.append(tag if core is None or core[0] <= begin < core[1] else None)
    return tags


def word_tags(
    text: str, places: list[tuple[int, int]], spans: list[tuple[int, int, str]], core: tuple[int, int] | None = None
) -> list[str | None]:
    """The tag of each token as `tags_of` gives them, where the answer of a word is that of its last token.

    So it is in models that read from left to right, which have not read a word before its end. A token has the tag of
    the word in which it ends.
    """
    words = words_of(text)
    own: dict[int, str | None] = {}
    for (begin, end), tag in zip(words, tags_of(words, spans, core), strict=True):
        own.update(dict.fromkeys(range(begin, end), tag))
    return [None if begin == end else own.get(end - 1) for begin, end in places]


def last_tokens(words: list[tuple[int, int]], places: list[tuple[int, int]]) -> list[int]:
    """The token in which each word ends, whose tag is the word's; -1 where none stands for its end."""
    at = {character: token for token, (begin, end) in enumerate(places) for character in range(begin, end)}
    return [at.get(end - 1, -1) for _, end in words]


def first_tokens(words: list[tuple[int, int]], places: list[tuple[int, int]]) -> list[int]:
    """The token in which each word begins, whose tag is the word's; -1 where none stands for its beginning."""
    at: dict[int, int] = {}
    for token, (begin, end) in enumerate(places):
        for character in range(begin, end):
            at.setdefault(character, token)
    return [at.get(begin, -1) for begin, _ in words]


def marks_of(words: list[tuple[int, int]], tags: list[str]) -> list[tuple[int, int, str, list[int]]]:
    """Begin, end and label of each mark, and which words are in it. An I- that goes on with nothing begins a mark."""
    found: list[tuple[int, int, str, list[int]]] = []
    goes_on = ""
    for place, ((begin, end), tag) in enumerate(zip(words, tags, strict=True)):
        label = tag[2:]
        if tag != "O" and tag.startswith("I-") and label == goes_on:
            first, _, _, inside = found[-1]
            found[-1] = (first, end, label, [*inside, place])
        elif tag != "O":
            found.append((begin, end, label, [place]))
        goes_on = label if tag != "O" else ""
    return found
