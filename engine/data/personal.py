"""Finds what looks like personal data: addresses, numbers that pass their checksum. A hint, not a guarantee."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}")
_PHONE = re.compile(r"(?<![\w.,/-])(?:\+\d{1,3}[ .-]?(?:\(0\)[ .-]?)?|\(0?\d{2,4}\)[ .-]?|0)\d(?:[ .-]?\d){7,12}(?!\w)")
_PHONE_US = re.compile(r"(?<![\w.-])(?:\d{3}[-.]|\(\d{3}\) ?)\d{3}[-.]\d{4}(?![\w.-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\w.-])[2-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}(?![\w.-])")
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:])")
_DIGITS = re.compile(r"\d[\d .()-]{6,}\d|:[0-9A-Fa-f]*:|[A-Z]{2}\d{2}")

KINDS = {
    "emails": "e-mail addresses",
    "phones": "phone numbers",
    "ibans": "bank accounts (IBAN)",
    "cards": "card numbers",
    "addresses": "IP addresses",
}


def kinds(text: str) -> list[str]:
    """Which kinds of personal data a text seems to hold, as keys of KINDS."""
    found = []
    if "@" in text and _EMAIL.search(text):
        found.append("emails")
    # Most texts hold no long number; this spares them the slower patterns.
    if not _DIGITS.search(text):
        return found
    ibans = [match.group() for match in _IBAN.finditer(text) if _iban(match.group())]
    cards = [match.group() for match in _CARD.finditer(text) if _luhn(match.group())]
    for number in (*ibans, *cards):
        text = text.replace(number, " ")
    if _PHONE.search(text) or _PHONE_US.search(text):
        found.append("phones")
    if ibans:
        found.append("ibans")
    if cards:
        found.append("cards")
    if any(_public(match.group()) for pattern in (_IPV4, _IPV6) for match in pattern.finditer(text)):
        found.append("addresses")
    return found


def masked(text: str) -> str:
    """The text with a word in brackets in place of each of them, such as [EMAIL]."""
    if "@" in text:
        text = _EMAIL.sub("[EMAIL]", text)
    if not _DIGITS.search(text):
        return text
    for pattern, holds, mark in _NUMBERS:
        text = pattern.sub(_marked(holds, mark), text)
    return text


def _marked(holds: Callable[[str], bool], mark: str) -> Callable[[re.Match[str]], str]:
    return lambda match: mark if holds(match.group()) else match.group()


def _iban(text: str) -> bool:
    """ISO 13616: the first four characters moved to the end, letters as 10 to 35, remainder 1 of 97."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _luhn(text: str) -> bool:
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    if not 13 <= len(digits) <= 19:
        return False
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def _public(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], bool], str], ...] = (
    (_IBAN, _iban, "[IBAN]"),
    (_CARD, _luhn, "[CARD]"),
    (_PHONE, bool, "[PHONE]"),
    (_PHONE_US, bool, "[PHONE]"),
    (_IPV4, _public, "[IP ADDRESS]"),
    (_IPV6, _public, "[IP ADDRESS]"),
)
"""What is masked, in this order: accounts and cards hold digits that look like phone numbers."""
