"""`python -m engine COMMAND`: the same calls as the page's buttons.

Exit codes: 0 done, 1 a bug, 2 a problem that the person can solve (told in two lines), 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys

from engine import __version__
from engine.cli import chaining, data, methods, noting, proposing, running, sharing, talking
from engine.errors import SettingError, UserError


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m engine", description="Fine-tune language models without a page.")
    top.add_argument("--version", action="version", version=f"Tunesmith {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (running, chaining, noting, data, proposing, talking, sharing, methods):
        module.add(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return int(options.call(options) or 0)
    except UserError as error:
        if getattr(options, "json", False):
            print(json.dumps({"problem": error.problem, "fix": error.fix}, ensure_ascii=False))
        problems = error.problems if isinstance(error, SettingError) else [error.problem]
        print("\n".join([*problems, error.fix]).strip(), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; Python would complain about it at exit
        return 0


if __name__ == "__main__":
    sys.exit(main())
