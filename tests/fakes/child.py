"""A child process that does what it is told, for tests of those who ask children.

The orders stand in the request under "do", or in the last message of a conversation.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from engine.children import serve
from engine.errors import ModelError, SettingError


def handle(request: dict[str, Any], send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
    if "text" in request:
        return send([[request["text"], 0.75], ["rate", 0.25]])
    order, _, rest = str(request.get("do") or request["messages"][-1]["content"]).partition(" ")
    match order:
        case "echo":
            send(rest)
        case "words":
            for word in rest.split():
                send(word)
        case "pid":
            send(str(os.getpid()))
        case "count":
            _count(send, cancelled)
        case "sleep":
            time.sleep(float(rest))
            send("awake")
        case "spin":
            while not cancelled():
                pass
        case "allocate":
            send(len(bytearray(int(rest))))
        case "print":
            print(rest)
            sys.stdout.flush()
            send("printed")
        case "refuse":
            raise ModelError("It is no model.", "Take another.")
        case "refuse-settings":
            raise SettingError(["One.", "Two."], "Mend them.")
        case "crash":
            raise KeyError(rest)
        case "exit":
            os._exit(int(rest))
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "environment":
            send(os.environ.get(rest))


def _count(send: Callable[[Any], None], cancelled: Callable[[], bool]) -> None:
    number = 0
    while not cancelled():
        number += 1
        send(str(number))
        time.sleep(0.002)


if __name__ == "__main__":
    serve(handle)
