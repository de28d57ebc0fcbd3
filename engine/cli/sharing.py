"""push: give a finished run's result to the Hub."""

from __future__ import annotations

import getpass
import json
import sys
import time
from argparse import Namespace, _SubParsersAction
from typing import Any

from engine.errors import UserError
from engine.publishing import push
from engine.runs import store

SECONDS_BETWEEN_LOOKS = 0.3


def add(commands: _SubParsersAction[Any]) -> None:
    to_hub = commands.add_parser(
        "push",
        help="push a finished run's result to the Hub, with a model card made from its records",
        description="The token is taken from HF_TOKEN or a saved login (hf auth login), or asked for.",
    )
    to_hub.add_argument("run", metavar="RUN")
    to_hub.add_argument("--repo", required=True, metavar="NAME", help="owner/name, or a name under your own account")
    to_hub.add_argument("--private", action="store_true", help="only you, or your organisation, can see it")
    to_hub.add_argument("--merged", action="store_true", help="full weights in place of the adapter")
    to_hub.add_argument("--update", action="store_true", help="write into a repository that is there already")
    to_hub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    to_hub.set_defaults(call=_push)


def _push(options: Namespace) -> int:
    run = store.get(options.run)
    request = push.Request(options.repo, options.private, options.merged, options.update)
    push.check_name(request.repo)
    token = _token(options)
    push.begin(run, request, token)
    if token is None:
        raise UserError(
            "The push waits for a sign-in: there is no token.",
            "Set HF_TOKEN or sign in with `hf auth login`, then give this command again.",
        )
    state = _followed(run, options)
    if state["state"] != push.DONE:
        raise UserError(state.get("problem", ""), state.get("fix", ""))
    kind = "private" if state["private"] else "public"
    print(json.dumps(state, ensure_ascii=False) if options.json else f"Pushed ({kind}): {state['url']}")
    return 0


def _token(options: Namespace) -> str | None:
    """The token of this machine, or one that is typed, unseen; None where nobody is there to type."""
    from huggingface_hub import get_token

    known = get_token()
    if known is None and sys.stdin.isatty() and not options.json:
        known = getpass.getpass("Token of the Hub that may write (it is not shown or kept): ").strip()
    return known or None


def _followed(run: store.Run, options: Namespace) -> dict[str, Any]:
    """Tell how the push goes until it ends; its state then. It goes on if this is interrupted."""
    said = ""
    try:
        while True:
            state = push.status(run) or {"state": push.FAILED}
            if state["state"] != push.RUNNING:
                return state
            if state["doing"] != said and not options.json:
                said = state["doing"]
                print(said, file=sys.stderr, flush=True)
            time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        print(f"\nThe push goes on. Its state is in {run.folder / push.FOLDER / 'state.json'}", file=sys.stderr)
        raise
