"""The door: every handler and every route passes through here before anything is done.

It says on whose behalf (`ui.owner`): Gradio hands each handler its request, routes have it anyway.

Every Gradio handler is a public endpoint, whether a button for it is in sight or not. So each one is wrapped by
`door`, each route by `guarded`; runs are taken from `ui.owner.own` and files from `ui.sources.require`.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any, get_type_hints

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from engine.errors import DataError, MachineError, ModelError, RunError, SettingError, UserError
from ui import owner

_REQUEST = "asked_by"
BROKEN = "Something broke. The details are in the server's log."
log = logging.getLogger("tunesmith")


def told(error: UserError) -> str:
    """A user error in words: the problem, then what to do."""
    problems = "\n".join(error.problems) if isinstance(error, SettingError) else error.problem
    return f"{problems}\n{error.fix}".strip()


def door(handler: Callable[..., Any], markup: bool = True) -> Callable[..., Any]:
    """Wrap a Gradio handler: it acts for whoever asked; user errors are shown in words, others stand in the log alone.

    Gradio gives what is wrapped its request first and then the inputs. Called without a request, it acts for whoever
    is being answered.

    markup: whether the words are shown by a page, which reads them as HTML, or go to a program.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*arguments: Any, **keywords: Any) -> Any:
            who, given = _asked_by(arguments)
            with _telling(markup):
                steps = handler(*given, **keywords)
                try:
                    while True:
                        # Gradio takes each step in a context of its own, so each is told anew who asks.
                        with owner.acting(who):
                            try:
                                step = next(steps)
                            except StopIteration:
                                return
                        yield step
                finally:
                    with owner.acting(who):
                        steps.close()

        return _asking_for_the_request(streaming, handler)

    @functools.wraps(handler)
    def plain(*arguments: Any, **keywords: Any) -> Any:
        who, given = _asked_by(arguments)
        with _telling(markup), owner.acting(who):
            return handler(*given, **keywords)

    return _asking_for_the_request(plain, handler)


def _asked_by(arguments: tuple[Any, ...]) -> tuple[owner.Visitor, tuple[Any, ...]]:
    """Who asks, and what was given besides."""
    if arguments and isinstance(arguments[0], gr.Request):
        return owner.of(arguments[0]) or owner.visitor(), arguments[1:]
    return owner.visitor(), arguments


def _asking_for_the_request(wrapper: Callable[..., Any], handler: Callable[..., Any]) -> Callable[..., Any]:
    """Give a wrapper the signature of what it wraps with the request before it, which Gradio goes by."""
    signature = inspect.signature(handler)
    request = inspect.Parameter(_REQUEST, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    if any(parameter.kind is inspect.Parameter.POSITIONAL_ONLY for parameter in signature.parameters.values()):
        request = request.replace(kind=inspect.Parameter.POSITIONAL_ONLY)
    hints = get_type_hints(handler)
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[request, *signature.parameters.values()]
    )
    wrapper.__annotations__ = {_REQUEST: gr.Request, **hints}
    del wrapper.__wrapped__  # type: ignore[attr-defined]
    return wrapper


_TITLES: dict[type[UserError], str] = {
    SettingError: "Some settings can't be used",
    DataError: "This data can't be used yet",
    ModelError: "This model can't be used",
    MachineError: "This machine can't do that",
    RunError: "This run can't do that",
}


@contextmanager
def _telling(markup: bool) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        words = escape(told(error)).replace("\n", "<br>") if markup else told(error)
        title = _TITLES.get(type(error), "That can't be done")
        raise gr.Error(words, duration=None, title=title, print_exception=False) from None
    except gr.Error:
        raise
    except Exception as error:
        log.error("A handler broke.", exc_info=error)
        raise gr.Error(BROKEN, duration=None, title="A fault of this program", print_exception=False) from None


def guarded(handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Wrap a route: it acts for whoever asked. Problems are told as JSON, with 404 for runs and 422 for others."""

    def answer(request: Request) -> Response:
        try:
            with owner.acting(owner.of(request) or owner.visitor()):
                return handler(request)
        except UserError as error:
            status = 404 if isinstance(error, RunError) else 422
            return JSONResponse({"problem": error.problem, "fix": error.fix}, status)
        except Exception:
            log.exception("A request broke: %s", request.url.path)
            return JSONResponse({"problem": BROKEN, "fix": ""}, 500)

    return answer
