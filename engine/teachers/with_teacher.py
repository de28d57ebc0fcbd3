"""What objectives have in common that name a teacher in their settings (`teacher`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.methods.job import Objective


class WithTeacher(Objective):
    """Stands before the other base of an objective. Settings: `teacher`, a model's name; empty for none."""

    def models(self, settings: Any) -> list[str]:
        return [settings.teacher.strip()] if settings.teacher.strip() else []

    def renamed(self, settings: Any, rename: Callable[[str], str]) -> Any:
        names = self.models(settings)
        return settings.model_copy(update={"teacher": rename(names[0])}) if names else settings
