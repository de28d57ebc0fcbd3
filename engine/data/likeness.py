"""Texts that nearly repeat an earlier one: MinHash over runs of three words, then the runs compared one by one.

Broder, "On the resemblance and containment of documents", 1997. MinHash finds candidates fast; what is told of a pair
is exact: the Jaccard index of their runs, which is the share of those in either that both have.
"""

from __future__ import annotations

import re
import zlib

from engine.data import content

THRESHOLD = 0.8
"""At three words a run, one word changed in a paragraph of 30 leaves 0.81."""
FEW_WORDS = 10
"""Shorter texts are not compared: "Yes, sir." and "Yes, madam." are no copies."""
_RUN = 3
_PERMUTATIONS = 128
_CANDIDATES = 0.7
"""MinHash guesses; below the threshold, so that few pairs are missed."""
_WORD = re.compile(r"\w+")


def near(texts: list[str]) -> dict[int, tuple[int, float]]:
    """For each text that nearly repeats an earlier one: which (the likest one), and how like it is.

    Of texts that are alike, the first is kept, and the others are compared with those that are kept. Equal texts are
    passed over, by `content.key`.
    """
    from datasketch import MinHash, MinHashLSH

    kept = MinHashLSH(threshold=_CANDIDATES, num_perm=_PERMUTATIONS)
    first = MinHash(num_perm=_PERMUTATIONS, hashfunc=zlib.crc32)
    seen: set[str] = set()
    found: dict[int, tuple[int, float]] = {}
    for index, text in enumerate(texts):
        key = content.key(text)
        runs = _runs(text)
        if key in seen or not runs:
            continue
        seen.add(key)
        # Permutations are drawn once; each text would draw the same ones again.
        sketch = MinHash(
            num_perm=_PERMUTATIONS, hashfunc=zlib.crc32, permutations=first.permutations, scheme=first.scheme
        )
        sketch.update_batch(list(runs))
        like = [(_jaccard(runs, _runs(texts[other])), -other) for other in kept.query(sketch)]
        best = max(like, default=(0.0, 0))
        if best[0] >= THRESHOLD:
            found[index] = (-best[1], best[0])
        else:
            kept.insert(index, sketch)
    return found


def _runs(text: str) -> set[bytes]:
    words = _WORD.findall(text.casefold())
    if len(words) < FEW_WORDS:
        return set()
    return {" ".join(words[at : at + _RUN]).encode("utf-8", "replace") for at in range(len(words) - _RUN + 1)}


def _jaccard(one: set[bytes], other: set[bytes]) -> float:
    return len(one & other) / len(one | other)
