"""What is chosen for a person in step 2, and what they have chosen themselves.

An input out of sight says which of objective and tuner was chosen for them: a pair ("chat lora"), an objective alone
("chat *", once they have chosen a tuner), or OWN_CHOICE, once they have chosen an objective. What is theirs stays; the
rest follows model and data.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine import objectives, tuners
from engine.methods.recommend import Recommendation

OWN_CHOICE = "own"
"""MOVES knows it, too."""
OWN_TUNER = "*"
PAIR = f"{objectives.DEFAULT} {tuners.DEFAULT}"
"""What is chosen at first, until something is known of the data."""
MOVES = """(moved, objective, tuner, auto) => {
    const [from, to, mark] = moved.split(">");
    if (auto === "own" || from !== `${objective} ${tuner}`) return [objective, tuner, auto];
    return [...to.split(" "), mark];
}"""
"""Takes what is chosen for a person, unless they have chosen something while the server thought about it.

moved: as `Followed.moved` says it. The pair and the note which of it is not theirs are written together: a look between
the two would mistake it for theirs.
"""


@dataclass(frozen=True)
class Followed:
    objective: str
    tuner: str
    whole: bool
    """Whether both were chosen for the person."""
    moved: str
    """The pair before, the pair after, and what the input says then."""


def followed(objective: str, tuner: str, auto: str, advised: Recommendation | None) -> Followed:
    """What stands there once a recommendation was heeded as far as the person left that open."""
    was = f"{objective} {tuner}"
    goal, _, change = auto.partition(" ")
    follows = objective == goal
    whole = follows and tuner == change
    if advised and follows:
        objective, tuner = advised.objective, advised.tuner if whole else tuner
    mark = f"{objective} {tuner if whole else OWN_TUNER}" if follows else OWN_CHOICE
    return Followed(objective, tuner, whole, f"{was}>{objective} {tuner}>{mark}")
