"""The real worker on a machine whose memory ends soon after training begins: `python -m tests.fakes.squeezed_worker FOLDER`."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

from engine.runs import worker

SPARE_BYTES = 850_000_000
"""Private memory that training may take on top of what is there when it begins."""


def main(folder: Path) -> int:
    from engine.compute import loop

    begin = loop._Watch.on_train_begin

    def squeezed(self: Any, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        most = _private_bytes() + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))

    loop._Watch.on_train_begin = squeezed  # type: ignore[method-assign]
    return worker.main(folder)


def _private_bytes() -> int:
    """What RLIMIT_DATA counts."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
