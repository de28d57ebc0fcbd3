"""Subtitles (.srt, .vtt): what is said, sentence by sentence, without numbers, time codes and marks."""

from __future__ import annotations

import html
import re

from engine.data import documents
from engine.data.rows import Table, counted
from engine.errors import DataError

PAUSE_S = 3.0
"""A longer silence ends a row, also in the middle of a sentence."""
_LONGEST = 1000
_TIME = re.compile(r"^\s*(?:(\d+):)?(\d{1,2}):(\d{2})[,.](\d{1,3})\s*-->\s*(?:(\d+):)?(\d{1,2}):(\d{2})[,.](\d{1,3})")
_MARK = re.compile(r"</?[A-Za-z0-9][^<>]*>|\{\\[^{}]*\}")
_SENTENCE_END = re.compile(r"""[.!?…。！？♪][)\]"'”’»]*$""")


def read(text: str, name: str) -> Table:
    """One row a sentence or, where cues end in none, up to the next pause; places are times.

    A line that repeats the one before it, as in subtitles that scroll, is taken once.
    """
    pieces: list[tuple[str, str]] = []
    last_line, last_end, cues = "", 0.0, 0
    for start, end, lines in _cues(text):
        cues += 1
        spoken = []
        for line in lines:
            if line != last_line:
                spoken.append(line)
                last_line = line
        said = "\n".join(spoken) if any(line.startswith(("-", "–")) for line in spoken) else " ".join(spoken)
        if not said:
            last_end = end
            continue
        if pieces and start - last_end <= PAUSE_S and not _ended(pieces[-1][1]):
            pieces[-1] = (pieces[-1][0], f"{pieces[-1][1]} {said}")
        else:
            pieces.append((_clock(start), said))
        last_end = end
    if not pieces:
        raise DataError(f"{name} holds no subtitles.", "Give a .srt or .vtt file with time codes and text.")
    told = f"{name} is subtitles: {counted(cues, 'cue', 'cues')} read as {counted(len(pieces), 'row', 'rows')}."
    return documents.table(pieces, name, [told])


def _ended(said: str) -> bool:
    return len(said) > _LONGEST or _SENTENCE_END.search(said) is not None


def _cues(text: str) -> list[tuple[float, float, list[str]]]:
    """Beginning and end in seconds, and the lines up to the empty one. What stands outside of cues is passed over."""
    found: list[tuple[float, float, list[str]]] = []
    inside = False
    for line in re.split(r"\r\n|\n|\r", text):
        times = _TIME.match(line)
        if times:
            found.append((_seconds(times.groups()[:4]), _seconds(times.groups()[4:]), []))
            inside = True
        elif not line.strip():
            inside = False
        elif inside:
            plain = " ".join(html.unescape(_MARK.sub("", line)).split())
            if plain:
                found[-1][2].append(plain)
    return found


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"
