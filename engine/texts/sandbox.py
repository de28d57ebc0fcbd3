"""The Jinja that chat templates are written for: sandboxed, with the additions that `transformers` gives them.

The sandbox guards the machine, not its time and memory: whoever must not be held up renders in a child process.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from engine.errors import ModelError

# Unicode noncharacters: no text that is meant to be read holds them.
OPEN, CLOSE = "\ufdd0", "\ufdd1"


class Refusal(jinja2.TemplateError):
    """Raised by the template itself, with a reason."""


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` around what a model learns."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it
    marks = False

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        if self.marks:
            before, after = (nodes.Output([nodes.TemplateData(mark)]) for mark in (OPEN, CLOSE))
            body = [before, *body, after]
        return nodes.Scope(body, lineno=line)


class _MarkedGeneration(_Generation):
    marks = True


class _Namespace(Namespace):
    """Jinja's namespace() without underscore names, which lead to Python's insides."""

    # No `self` in the signature: a template may name a value so.
    def __init__(*args: Any, **values: Any) -> None:
        attributes = dict(*args[1:], **values)
        for name in attributes:
            _refuse_underscore(name)
        Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)


class _Dict:
    """`dict(…)` and `dict.fromkeys(…)` without the type behind them."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


def _refuse_underscore(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace may not hold {name!r}")


def _raise_exception(message: str) -> None:
    raise Refusal(message)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    # Jinja's own filter escapes HTML characters, which models were not trained on.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@lru_cache(maxsize=16)
def compiled(source: str, marked: bool) -> jinja2.Template:
    """A template set up as `transformers` does, so that its text equals that of `apply_chat_template`.

    marked: whether OPEN and CLOSE are written around what stands in `{% generation %}` blocks.
    Raises ModelError where the source is not valid.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_MarkedGeneration if marked else _Generation, "jinja2.ext.loopcontrols"],
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise_exception,
        strftime_now=lambda format: datetime.now().strftime(format),
        dict=_Dict(),
        namespace=_Namespace,
    )
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ModelError(
            f"This model's chat template is not valid in line {error.lineno}: {error.message}.",
            "Choose another model, or mend its chat_template.jinja.",
        ) from None
