"""What objectives and tuners have in common: how they are named, explained and ordered, and what joins them.

A tuner needs what an objective gives; neither knows the other.
"""

from __future__ import annotations

from abc import ABC
from typing import ClassVar, Literal

from engine.settings import Section

Wants = Literal["messages", "labelled", "text"]
KindName = Literal["one label", "several labels", "number", "marked words"]
"""What a classifier answers a text with."""
AskedKind = Literal["auto", "one label", "several labels", "number", "marked words"]
Heads = Literal["shared", "separate"]
"""Whether the labels of several data sets are those of one head, or each set has one of its own."""
Capability = Literal["gradients", "answers", "class scores", "trainable base", "pooled features"]
TOLD: dict[Capability, str] = {
    "gradients": "a loss that weights can learn from",
    "answers": "answers in words",
    "class scores": "a score for each label",
    "trainable base": "base weights that may learn",
    "pooled features": "one vector for each text",
}
"""Capabilities in words for people."""


class Method(ABC):
    """What objectives and tuners have in common: how they are named, explained and ordered."""

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    paper: ClassVar[str] = ""
    order: ClassVar[int] = 100
    recommended: ClassVar[bool] = False
    usual: ClassVar[bool] = False
    """Whether it is one of the few that are in sight at once, where there are many."""
    Settings: ClassVar[type[Section]]
