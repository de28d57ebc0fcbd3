"""Builds the page and launches it: `python app.py [--demo] [--host H] [--port P] [--share] [--home DIR]`."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import gradio as gr

    from ui import security

SECONDS_BETWEEN_LOOKS = 5.0
LOOKS_BETWEEN_SWEEPS = 120
"""What visitors left for too long is looked for every ten minutes."""
QUEUED_CALLS = 64
SECONDS_BETWEEN_TURNS = 0.02
"""How often Gradio's queue looks for work. By itself it does so a thousand times a second, which at rest takes a tenth
of a slow core from the runs beside it."""
MAX_FILE_SIZE = "512mb"


def main() -> None:
    options = _options()
    if options.home:
        os.environ["TUNESMITH_HOME"] = os.path.abspath(options.home)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

    # After the environment is set: gradio and the hub's library read it when they are imported.
    from engine.errors import UserError
    from engine.runs import queue
    from ui import limits, owner, security, sharing, shell

    try:
        sharing.open_as(sharing.decided(options.host, options.share))
        limits.check()
        queue.reconcile()
    except UserError as error:
        sys.exit(f"{error.problem}\n{error.fix}")
    hosts = security.host_rule(options.host)
    page = shell.build()
    _launch(page, options, hosts)
    address = _tell_where(options)
    if options.demo:
        with owner.acting(owner.HOST):
            print(f"The sample run is at {address}?run={shell.sample_run().id}", flush=True)
    if options.share:
        _tell_link(page, hosts)
    threading.Thread(target=_look_after_runs, daemon=True).start()
    page.block_thread()


def _options() -> argparse.Namespace:
    # A Space is reached from outside of its container, whatever it is started with.
    is_space = os.environ.get("SYSTEM") == "spaces"
    parser = argparse.ArgumentParser(description="Tunesmith: fine-tune language models in a browser.")
    parser.add_argument("--demo", action="store_true", help="start the sample run and open the page on it")
    parser.add_argument(
        "--host",
        default="0.0.0.0" if is_space else "127.0.0.1",
        help="address to listen on (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: %(default)s)")
    parser.add_argument(
        "--share",
        action="store_true",
        help="also make a public link, with a password (TUNESMITH_PASSWORD, or asked for, or made)",
    )
    parser.add_argument("--home", help="folder for runs and files (default: TUNESMITH_HOME, or this checkout)")
    return parser.parse_args()


def _launch(page: gr.Blocks, options: argparse.Namespace, hosts: security.Hosts) -> None:
    from starlette.middleware import Middleware

    from ui import rate, routes, security, sessions, sign_in, theme, uploads

    gates = [
        Middleware(security.Guard, allowed=hosts),
        Middleware(sign_in.SignIn),
        Middleware(rate.Rate),
        Middleware(sessions.Sessions),
    ]
    uploads.keep_apart()
    page.queue(max_size=QUEUED_CALLS)
    page._queue.sleep_when_free = SECONDS_BETWEEN_TURNS
    page._queue.progress_update_sleep_when_free = SECONDS_BETWEEN_TURNS
    page.launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        theme=theme.theme(),
        head=theme.head(),
        favicon_path=theme.favicon(),
        show_error=False,
        run_history=False,
        footer_links=[],
        enable_monitoring=False,
        ssr_mode=False,
        max_file_size=MAX_FILE_SIZE,
        quiet=True,
        prevent_thread_lock=True,
        app_kwargs={"middleware": gates, "routes": routes.routes()},
    )


def _tell_where(options: argparse.Namespace) -> str:
    """Say where the page is, and how the person at the machine opens it as its host."""
    from ui.sharing import page

    shown = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
    address = f"http://{shown}:{options.port}/"
    print(f"Tunesmith is at {address}", flush=True)
    if page().is_own:
        return address
    print("Each visitor sees their own runs and files. Open it as the host, who can stop any run, by this link:")
    print(f"  {_host_address(address)}?host={page().host_key}", flush=True)
    if page().made:
        print(f"  Password for visitors: {page().password}", flush=True)
    if page().password is None and page().kind != "space":
        print(
            "It has no password: everybody who can reach this machine can use it. Set TUNESMITH_PASSWORD.", flush=True
        )
    return address


def _host_address(address: str) -> str:
    name = os.environ.get("SPACE_HOST", "").partition(",")[0].strip()
    return f"https://{name}/" if name else address


def _tell_link(page: gr.Blocks, hosts: security.Hosts) -> None:
    """Answer to the name of the share link; without one the page stays up for this machine."""
    from ui import sign_in

    name = urlsplit(page.share_url or "").hostname
    if not name:
        print(
            "There is no public link: Gradio's service did not make one, or its program could not be fetched (see "
            "above). The page is up for this machine. Check the network and start again, or let others in with "
            "--host 0.0.0.0.",
            flush=True,
        )
        return
    hosts.add(name)
    sign_in.encrypted_hosts.add(name)
    print(f"The public link is {page.share_url} and lasts for at most a week. Visitors need the password.", flush=True)


def _look_after_runs() -> None:
    """Take up runs whose processes died while the page is up, and hold visitors to their limits."""
    import logging

    from engine.runs import queue
    from ui import limits, retention

    looks = 0
    while True:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        duties = [queue.reconcile, limits.look_after_runs]
        duties += [retention.sweep] if looks % LOOKS_BETWEEN_SWEEPS == 0 else []
        looks += 1
        for duty in duties:
            try:
                duty()
            except Exception:
                logging.getLogger("tunesmith").exception("Looking after the runs failed; it is tried again.")


if __name__ == "__main__":
    main()
