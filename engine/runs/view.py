"""A run at a glance, for the page and the command line alike."""

from __future__ import annotations

from typing import Any

from engine.events import Failed, Finished, Progress
from engine.runs.store import Run


def summary(run: Run) -> dict[str, Any]:
    """Plain values: what a run is, how far it is, what it found. What isn't known is None.

    seconds: training time so far. eta_seconds: left, from the pace so far. before, after: the main score, 0 to 1.
    """
    events = run.last_events()
    steps = [event for event in events if isinstance(event, Progress)]
    trained = [event for event in steps if event.phase == "train" and event.total_steps]
    newest = trained[-1] if trained else None
    record: dict[str, Any] = {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "created": run.created,
        "phase": steps[-1].phase if steps else None,
        "phase_done": steps[-1].step if steps else None,
        "phase_total": steps[-1].total_steps if steps else None,
        "step": newest.step if newest else None,
        "total_steps": newest.total_steps if newest else None,
        "percent": round(100 * newest.step / newest.total_steps, 1) if newest else None,
        "seconds": newest.seconds if newest else None,
        "eta_seconds": _left(newest) if run.state == "running" else None,
        "tokens_per_second": newest.tokens_per_second if newest else None,
        "memory_bytes": newest.memory_bytes if newest else None,
        "loss": next((event.loss for event in reversed(trained) if event.loss is not None), None),
        "main": None,
        "before": None,
        "after": None,
        "artifact_bytes": None,
        "problem": None,
        "fix": None,
    }
    last = next((event for event in reversed(events) if isinstance(event, (Finished, Failed))), None)
    if isinstance(last, Finished) and run.state == "finished":
        record |= _found(last)
    elif isinstance(last, Failed) and run.state == "failed":
        record |= {"problem": last.problem, "fix": last.fix}
    return record


def _left(newest: Progress | None) -> float | None:
    if newest is None or not newest.step:
        return None
    return round(newest.seconds / newest.step * (newest.total_steps - newest.step), 1)


def _found(done: Finished) -> dict[str, Any]:
    main = done.metrics.get("main")
    before, after = done.metrics.get("before") or {}, done.metrics.get("after") or {}
    return {
        "main": main,
        "before": before.get(main),
        "after": after.get(main),
        "seconds": done.seconds,
        "memory_bytes": done.peak_memory_bytes,
        "artifact_bytes": done.artifact_bytes,
    }
