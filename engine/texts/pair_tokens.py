"""Two texts that are read together (premise and hypothesis, question and answer) as one sequence of tokens.

Scripts and cards of results hold this file's functions as they stand.
"""


def lengths(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each of two texts are read where `room` are left: the longer one is cut first, at its end.

    As the tokenizers' own "longest first" does it.
    """
    if first + second <= room:
        return first, second
    short, long = sorted((first, second))
    short, long = (short, room - short) if 2 * short <= room else (room // 2, room - room // 2)
    return (short, long) if first <= second else (long, short)


def together(
    first: list[int], second: list[int], frame: list[list[int]], kinds: list[int], most: int
) -> tuple[list[int], list[int]]:
    """Token ids of both texts within `most` tokens, and of which text each is (0 or 1).

    first, second: ids of each text alone. frame: ids before, between and after them. kinds: of which text the ids of
    each part are: before, first, between, second, after.
    """
    before, between, after = frame
    one, other = lengths(len(first), len(second), max(0, most - len(before) - len(between) - len(after)))
    parts = [before, first[:one], between, second[:other], after]
    return [token for part in parts for token in part], [
        kind for part, kind in zip(parts, kinds, strict=True) for _ in part
    ]
