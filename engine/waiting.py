"""How long threads of a computation spin before they sleep. Without heavy imports: it is said before torch loads."""

from __future__ import annotations

from collections.abc import MutableMapping

_SPINS = "2000"


def wait_briefly(environment: MutableMapping[str, str]) -> None:
    """Let threads that wait for each other spin for some microseconds; what the environment says already stays.

    OpenMP's default is to spin for long: as soon as another program wants a core, a run is five times slower, and so
    is the page. Not to spin at all makes each of a small model's many short operations wait for the system to wake a
    thread: LoRA on MiniLM with two threads took 27 s for an epoch then, 15 s with these spins and 14 s with ten times
    as many; beside a busy program 0.20, 0.29 and 0.89 s for a step. Other runtimes than GNU's know the policy alone.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", _SPINS)
        environment["OMP_WAIT_POLICY"] = "passive"
