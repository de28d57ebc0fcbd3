"""Each upload has an address of its own.

Gradio's follows from what is in a file: of two equal ones that are dropped at once, on one page or on two pages of one
machine, the first would be taken away (`ui.sources.uploaded`) before the second is read.
"""

from __future__ import annotations

import uuid
from typing import Any

from gradio import route_utils


class Upload(route_utils.GradioUploadFile):
    """An upload whose hash, by which its folder is named, follows from more than its content."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.sha.update(uuid.uuid4().bytes)


def keep_apart() -> None:
    """From now on, in this process."""
    setattr(route_utils, "GradioUploadFile", Upload)  # noqa: B010 - no type checker lets a class be replaced
