"""The door: every handler and every route passes through here before anything is done.

Every Gradio handler is a public endpoint, whether a button for it is in sight or not. So each one is wrapped by
`door`, each route by `guarded`; runs are taken from `ui.owner.own` and files from `ui.screens.data.require_source`.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from engine.errors import DataError, MachineError, ModelError, RunError, SettingError, UserError

BROKEN = "Something broke. The details are in the server's log."
log = logging.getLogger("tunesmith")


def told(error: UserError) -> str:
    """A user error in words: the problem, then what to do."""
    problems = "\n".join(error.problems) if isinstance(error, SettingError) else error.problem
    return f"{problems}\n{error.fix}".strip()


def door(handler: Callable[..., Any], markup: bool = True) -> Callable[..., Any]:
    """Wrap a Gradio handler: user errors are shown in words, anything else stands only in the server's log.

    markup: whether the words are shown by a page, which reads them as HTML, or go to a program.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*arguments: Any, **keywords: Any) -> Any:
            with _telling(markup):
                yield from handler(*arguments, **keywords)

        return streaming

    @functools.wraps(handler)
    def plain(*arguments: Any, **keywords: Any) -> Any:
        with _telling(markup):
            return handler(*arguments, **keywords)

    return plain


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
    """Wrap a route: problems are told as JSON, with 404 for runs and 422 for other things a person can mend."""

    def answer(request: Request) -> Response:
        try:
            return handler(request)
        except UserError as error:
            status = 404 if isinstance(error, RunError) else 422
            return JSONResponse({"problem": error.problem, "fix": error.fix}, status)
        except Exception:
            log.exception("A request broke: %s", request.url.path)
            return JSONResponse({"problem": BROKEN, "fix": ""}, 500)

    return answer
