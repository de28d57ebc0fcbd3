"""What objectives have in common that name a teacher in their settings (`teacher`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from engine.methods.objective import Objective
from engine.settings import Section


class WithTeacher(Objective):
    """Stands before the other base of an objective. Settings: `teacher`, a model's name; empty for none."""

    Planned: ClassVar[type[Section]]
    """Its settings in a plan of stages, where a teacher of another name is another model than the one that learns: the
    same files may stand for both, as they began alike."""

    def models(self, settings: Any) -> list[str]:
        return [settings.teacher.strip()] if settings.teacher.strip() else []

    def renamed(self, settings: Any, rename: Callable[[str], str]) -> Any:
        names = self.models(settings)
        return settings.model_copy(update={"teacher": rename(names[0])}) if names else settings

    def planned(self, settings: Any, model: str, stands_for: Callable[[str], str]) -> Any:
        names = self.models(settings)
        found = self.renamed(settings, stands_for)
        return self.Planned(**found.model_dump()) if names and names[0] != model.strip() else found
