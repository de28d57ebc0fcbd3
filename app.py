"""Builds the page and launches it: `python app.py [--demo] [--host H] [--port P] [--home DIR]`."""

from __future__ import annotations

import argparse
import os
import threading
import time

SECONDS_BETWEEN_LOOKS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Tunesmith: fine-tune language models in a browser.")
    parser.add_argument("--demo", action="store_true", help="start the sample run and open the page on it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: %(default)s)")
    parser.add_argument("--home", help="folder for runs and files (default: TUNESMITH_HOME, or this checkout)")
    options = parser.parse_args()
    if options.home:
        os.environ["TUNESMITH_HOME"] = os.path.abspath(options.home)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

    # After the environment is set: gradio and the hub's library read it when they are imported.
    from starlette.middleware import Middleware

    from engine.runs import queue
    from ui import routes, security, shell, theme

    queue.reconcile()
    page = shell.build()
    page.queue(max_size=64)
    page.launch(
        server_name=options.host,
        server_port=options.port,
        theme=theme.theme(),
        head=theme.head(),
        favicon_path=theme.favicon(),
        show_error=False,
        run_history=False,
        footer_links=[],
        enable_monitoring=False,
        ssr_mode=False,
        max_file_size="512mb",
        quiet=True,
        prevent_thread_lock=True,
        app_kwargs={
            "middleware": [Middleware(security.Guard, allowed=security.host_rule(options.host))],
            "routes": routes.routes(),
        },
    )
    shown = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
    address = f"http://{shown}:{options.port}/"
    print(f"Tunesmith is at {address}", flush=True)
    if options.demo:
        print(f"The sample run is at {address}?run={shell.sample_run().id}", flush=True)
    threading.Thread(target=_look_after_runs, args=(queue.reconcile,), daemon=True).start()
    page.block_thread()


def _look_after_runs(reconcile: object) -> None:
    """Take up runs whose processes died while the page is up."""
    import logging

    while callable(reconcile):
        time.sleep(SECONDS_BETWEEN_LOOKS)
        try:
            reconcile()
        except Exception:
            logging.getLogger("tunesmith").exception("Looking after the runs failed; it is tried again.")


if __name__ == "__main__":
    main()
