"""How a setting is declared: once, typed, with its label, help and limits.

    class Lora(Section):
        rank: int = setting(16, "Rank", "Width of the added matrices.", ge=1, le=1024)

The form, the YAML, the command line and the documentation are generated from this declaration.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import SettingError

S = TypeVar("S", bound="Section")
Kind = Literal["integer", "number", "text", "switch", "choice", "choices", "section", "other"]


class Section(BaseModel):
    """A group of settings. Unknown names and wrong values are refused; instances never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_strip_whitespace=False)
    only_with: ClassVar[Mapping[str, str]] = {}
    """Settings that do nothing while another one is off (0, empty), and aren't shown then: which that is, by name."""


def setting(
    default: Any,
    title: str,
    help: str,
    *,
    advanced: bool = False,
    lines: int = 1,
    offered: Callable[[], Sequence[str]] | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """Declare a setting. `...` as default makes it required. `advanced` hides it under 'More settings'.

    lines: how high the input of a text is.
    offered: which of the choices a form offers on this machine; one without any has no input.
    """
    limits = {name: value for name, value in (("ge", ge), ("gt", gt), ("le", le), ("lt", lt)) if value is not None}
    # Any: pydantic accepts these only as separate keyword arguments of differing types.
    keywords: dict[str, Any] = dict(limits)
    extra: dict[str, Any] = {"advanced": advanced, "offered": offered, "lines": lines}
    return Field(default, title=title, description=help, json_schema_extra=extra, **keywords)


@dataclass(frozen=True)
class Setting:
    """A declared setting as a form or a table needs it."""

    name: str
    title: str
    help: str
    kind: Kind
    default: Any
    advanced: bool
    required: bool
    optional: bool
    choices: tuple[str, ...]
    offered: tuple[str, ...]
    """The choices that can be had on this machine."""
    minimum: float | None
    maximum: float | None
    exclusive_minimum: bool
    lines: int = 1
    """How high the input of a text is."""
    only_with: str = ""
    """Another setting of the section, without which this one does nothing."""


def describe(section: type[Section]) -> list[Setting]:
    """All settings of a section in the order of their declaration."""
    described = []
    for name, field in section.model_fields.items():
        kind, optional, choices = _kind(field.annotation)
        minimum = maximum = None
        exclusive = False
        for limit in field.metadata:
            low = getattr(limit, "ge", None)
            above = getattr(limit, "gt", None)
            high = getattr(limit, "le", None)
            below = getattr(limit, "lt", None)
            minimum = low if low is not None else above if above is not None else minimum
            exclusive = exclusive or above is not None
            maximum = high if high is not None else below if below is not None else maximum
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        required = field.is_required()
        offered = extra.get("offered")
        described.append(
            Setting(
                name=name,
                title=field.title or name,
                help=field.description or "",
                kind=kind,
                default=None if required else field.get_default(call_default_factory=True),
                advanced=bool(extra.get("advanced", False)),
                required=required,
                optional=optional,
                choices=choices,
                offered=tuple(offered()) if callable(offered) else choices,
                minimum=minimum,
                maximum=maximum,
                exclusive_minimum=exclusive,
                lines=lines if isinstance(lines := extra.get("lines", 1), int) else 1,
                only_with=section.only_with.get(name, ""),
            )
        )
    return described


def parse(section: type[S], values: Mapping[str, Any], where: str) -> S:
    """Check `values` and build the section.

    Raises SettingError that lists every refused value with the label a person sees. `where` is the
    section's name in the spec ("training"), used in the messages.
    """
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        raise SettingError([_sentence(section, item, where) for item in error.errors()]) from None


def _kind(annotation: Any) -> tuple[Kind, bool, tuple[str, ...]]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if len(parts) == 1:
            kind, _, choices = _kind(parts[0])
            return kind, True, choices
        return "other", True, ()
    if origin is Literal:
        return "choice", False, tuple(str(choice) for choice in get_args(annotation))
    if origin in (list, tuple):
        inner = get_args(annotation)
        if inner and get_origin(inner[0]) is Literal:
            return "choices", False, tuple(str(choice) for choice in get_args(inner[0]))
        return "other", False, ()
    if isinstance(annotation, type):
        if issubclass(annotation, Section):
            return "section", False, ()
        for known, kind in _PLAIN:
            if issubclass(annotation, known):
                return kind, False, ()
    return "other", False, ()


# bool stands first: it is a subclass of int.
_PLAIN: tuple[tuple[type, Kind], ...] = ((bool, "switch"), (int, "integer"), (float, "number"), (str, "text"))


def _sentence(section: type[Section], item: Any, where: str) -> str:
    path = [str(part) for part in item["loc"]]
    place = ".".join([where, *path]) if where else ".".join(path)
    label = _label(section, path)
    if item["type"] == "extra_forbidden":
        known = ", ".join(sorted(section.model_fields))
        return f"{place}: there is no such setting. Known: {known}."
    if item["type"] == "missing":
        return f"{label} ({place}) is missing."
    message = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    given = item.get("input")
    shown = repr(given) if len(repr(given)) <= 60 else repr(given)[:57] + "..."
    return f"{label} ({place}) is {shown}; it should be {message}."


def _label(section: type[Section], path: list[str]) -> str:
    label = path[0] if path else section.__name__
    current: Any = section
    for part in path:
        if not (isinstance(current, type) and issubclass(current, Section)):
            break
        field = current.model_fields.get(part)
        if field is None:
            break
        label = field.title or part
        current = field.annotation
    return label
