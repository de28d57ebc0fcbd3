"""Which language each text is in, by py3langid: a table of letter groups of 97 languages, without a network."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

FEW_LETTERS = 60
"""Below, a text is too short to tell: of English lines of 20 to 40 letters one in ten is taken for another language."""
SURE = 0.9
"""Of 1. Kin such as Norwegian and Danish stay below, and are left in peace."""
_READ = 400
"""Characters of a text that are looked at."""
_PROSE = 0.85
"""Share of letters among what is no space: less is code, a formula or a table of numbers."""

NAMES = dict(
    entry.split(":")
    for entry in (
        "ar:Arabic bg:Bulgarian ca:Catalan cs:Czech cy:Welsh da:Danish de:German el:Greek en:English es:Spanish "
        "et:Estonian fa:Persian fi:Finnish fr:French he:Hebrew hi:Hindi hr:Croatian hu:Hungarian id:Indonesian "
        "it:Italian ja:Japanese ko:Korean la:Latin lt:Lithuanian lv:Latvian nl:Dutch no:Norwegian pl:Polish "
        "pt:Portuguese ro:Romanian ru:Russian sk:Slovak sl:Slovenian sr:Serbian sv:Swedish th:Thai tr:Turkish "
        "uk:Ukrainian ur:Urdu vi:Vietnamese zh:Chinese"
    ).split()
)


def told(texts: list[str]) -> list[str]:
    """The code of each text's language (ISO 639); "" where it is too short, no prose, or between languages."""
    return [_told(text) for text in texts]


def main(languages: list[str], texts: list[str]) -> str:
    """The language that most characters are in; "" where no text tells."""
    counts: Counter[str] = Counter()
    for language, text in zip(languages, texts, strict=True):
        if language:
            counts[language] += len(text)
    return min(counts, key=lambda language: (-counts[language], language), default="")


def name(language: str) -> str:
    return NAMES.get(language, f"language {language!r}")


def _told(text: str) -> str:
    # The beginning of a long text is often a heading, or what a machine wrote.
    part = text if len(text) <= 4 * _READ else text[len(text) // 4 :][:_READ]
    part = part[:_READ]
    letters = sum(map(str.isalpha, part))
    if letters < FEW_LETTERS and not _wide(part, letters):
        return ""
    if letters < _PROSE * len("".join(part.split())):
        return ""
    language, certainty = _identifier().classify(part)
    return language if certainty >= SURE else ""


def _wide(part: str, letters: int) -> bool:
    """Chinese, Japanese and Korean say three times as much with a character."""
    return 3 * letters >= FEW_LETTERS and sum(character >= "\u3040" for character in part) > letters // 2


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
