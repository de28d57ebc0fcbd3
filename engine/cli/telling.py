"""Results and lists of runs, in words and columns for a terminal."""

from __future__ import annotations

from typing import Any

from engine.events import Finished
from engine.judging.measures import baseline_title, measure, told

COLUMNS = ("run", "name", "state", "steps", "before", "after", "minutes", "memory", "result")


def result_lines(run_id: str, done: Finished) -> list[str]:
    """What a finished run found. The last two lines are the main score before and after."""
    metrics = done.metrics
    main = str(metrics["main"])
    before, after = metrics.get("before"), metrics.get("after")
    lines = [
        f"run: {run_id}",
        f"learned: {done.trainable_parameters:,} of {done.total_parameters:,} weights",
        f"training time: {done.seconds / 60:.1f} minutes",
        f"most memory: {done.peak_memory_bytes / 1e9:.1f} GB; the result takes {done.artifact_bytes / 1e6:.1f} MB",
    ]
    if not after:
        return [*lines, "No rows were held out, so nothing was scored."]
    lines.append(
        f"scored on {metrics['rows']} held-out rows ({metrics['split']}); 95 % intervals by bootstrap over rows"
    )
    for name, scores in (
        ("before", before),
        *((baseline_title(n).lower(), s) for n, s in metrics["baselines"].items()),
        ("after", after),
    ):
        if scores:
            lines.append(f"{name}: " + ", ".join(_scores(scores)))
    word = main.replace("_", " ")
    if before:
        lines.append(f"{word} before: {measure(main).written(before[main])}")
    lines.append(f"{word} after: {measure(main).written(after[main])}")
    return lines


def table(rows: list[dict[str, Any]]) -> str:
    """Runs as lines of aligned columns; `rows` are summaries."""
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _scores(scores: dict[str, float]) -> list[str]:
    names = [name for name in scores if not name.endswith(("_low", "_high"))]
    return [f"{name.replace('_', ' ')} {told(scores, name)}" for name in names]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    def figure(value: float | None) -> str:
        return "" if value is None else measure(str(row.get("main"))).written(value)

    return (
        row["id"],
        (row.get("name") or "")[:32],
        row["state"],
        f"{row['step']}/{row['total_steps']}" if row.get("total_steps") else "",
        figure(row.get("before")),
        figure(row.get("after")),
        f"{row['seconds'] / 60:.1f}" if row.get("seconds") else "",
        f"{row['memory_bytes'] / 1e9:.1f} GB" if row.get("memory_bytes") else "",
        f"{row['artifact_bytes'] / 1e6:.1f} MB" if row.get("artifact_bytes") else "",
    )


def chain_lines(found: dict[str, Any]) -> list[str]:
    """A chain (see `engine.runs.chains.picture`): its stages with their scores, and what came of it."""
    lines = [f"{found['name']} ({found['id']})"]
    for stage in [found["whole"], *found["stages"]] if found["whole"] else found["stages"]:
        told = f"{stage['title']}: {stage.get('objective', '?')}, {stage.get('tuner', '?')}: {stage['state']}"
        told += f", {stage['waits']}" if stage["waits"] not in ("", "next") else ""
        if stage.get("after") is not None:
            told += f"; {stage['main'].lower()} {_score(stage, 'before')} to {_score(stage, 'after')}"
        lines.append(f"{told} ({stage['run']})")
    lines.append(found["says"])
    for verdict in found["verdicts"]:
        lines += [f"{verdict['headline']}.", verdict["sentence"], verdict["data"]]
    return lines


def _score(stage: dict[str, Any], name: str) -> str:
    value = stage[name]
    if value is None:
        return "(not scored)"
    return f"{100 * value:.1f} %" if stage["unit"] == "share" else f"{value:.3f}"
