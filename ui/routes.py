"""The page's own routes, besides Gradio's: what its scripts load and ask for."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from ui import account, chain_feed, data_feed, feed, history, push
from ui.theme import STATIC


def routes() -> list[BaseRoute]:
    return [
        Mount("/tunesmith/static", StaticFiles(directory=STATIC)),
        *feed.routes(),
        *chain_feed.routes(),
        *account.routes(),
        *data_feed.routes(),
        *push.routes(),
        *history.routes(),
    ]
