"""Runs that came to a known end, as folders with events and scores that the test decides on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.data.audit import Finding
from engine.data.example import Example, SplitName
from engine.data.prepare import Prepared
from engine.events import (
    NOT_A_NUMBER,
    Checkpoint,
    Evaluation,
    Event,
    Failed,
    Finished,
    Notice,
    Progress,
    Sample,
    Writer,
)
from engine.files import write_json
from engine.judging.scores import ScoredRow
from engine.runs import store
from engine.specs.spec import RunSpec

LABELS = ("card arrival", "transfer fee", "exchange rate", "change pin")
ENDED_AT = 1_795_925_700.0


@dataclass
class Story:
    """What happened. before, after: scores of the held-out rows, in the same order; empty where they were not scored."""

    before: Sequence[float] = ()
    after: Sequence[float] = ()
    losses_before: Sequence[float | None] = ()
    losses_after: Sequence[float | None] = ()
    baseline: Sequence[float] = ()
    """Scores of the untrained model with options in its prompt."""
    train: Sequence[float] = ()
    """Training loss of each step."""
    held: Sequence[tuple[int, float]] = ()
    """Step and held-out loss of each check."""
    total_steps: int = 0
    state: str = "finished"
    failed: Failed | None = None
    rows: int = 320
    """To learn from."""
    validation: int = 40
    findings: Sequence[Finding] = ()
    notices: Sequence[str] = ()
    answers: Sequence[str] = ()
    """After training; by default right or another label, as the score says."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Sections of the spec that are not the usual."""
    name: str = ""


FALLING = [3.0 * 0.93**step + 0.05 for step in range(100)]
RIGHT, WRONG = 1.0, 0.0
NOTHING_HELD_OUT = {"data": [{"source": "made-by-the-test.jsonl", "split": {"test": 0, "validation": 0}}]}

STORIES: dict[str, Story] = {
    "better": Story([WRONG] * 40, [RIGHT] * 37 + [WRONG] * 3, [2.31] * 40, [0.12] * 37 + [0.42] * 3, train=FALLING),
    "worse": Story(
        [RIGHT] * 30 + [WRONG] * 10, [WRONG] * 18 + [RIGHT] * 12 + [WRONG] * 10, [0.4] * 40, [1.9] * 40, train=FALLING
    ),
    "noise": Story(
        [RIGHT] * 12 + [WRONG] * 8,
        [RIGHT] * 10 + [WRONG] * 2 + [RIGHT] * 3 + [WRONG] * 5,
        [0.9, 1.1] * 10,
        [1.1, 0.9] * 10,
        train=FALLING,
        rows=160,
        validation=20,
    ),
    "overfitted": Story(
        [WRONG] * 40,
        [RIGHT] * 30 + [WRONG] * 10,
        [2.3] * 40,
        [0.9] * 40,
        train=FALLING,
        held=[(25, 1.402), (50, 1.021), (75, 1.188), (100, 1.513)],
    ),
    "underfitted": Story(
        [WRONG] * 40,
        [RIGHT] * 20 + [WRONG] * 20,
        [3.2] * 40,
        [1.4] * 40,
        train=[3.2 - 0.018 * step for step in range(100)],
        held=[(25, 2.8), (50, 2.3), (75, 1.9), (100, 1.45)],
    ),
    "diverged": Story(
        [RIGHT] * 20 + [WRONG] * 20,
        [WRONG] * 40,
        [1.2] * 40,
        [7.1] * 40,
        train=[1.2 + 0.06 * step for step in range(100)],
    ),
    "prompting does as well": Story(
        [WRONG] * 40, [RIGHT] * 36 + [WRONG] * 4, [2.3] * 40, [0.2] * 40, [RIGHT] * 35 + [WRONG] * 5, train=FALLING
    ),
    "unscored": Story(train=FALLING, validation=0, settings=NOTHING_HELD_OUT),
    "free text": Story([WRONG] * 20, [WRONG] * 20, [2.31] * 20, [1.1, 1.2] * 10, train=FALLING),
    "stopped": Story([WRONG] * 20, train=FALLING[:50], total_steps=100, state="stopped", losses_before=[2.3] * 20),
    "failed": Story(
        train=[1.2, 1.3, 2.6, 5.9],
        total_steps=100,
        state="failed",
        failed=Failed(
            f"{NOT_A_NUMBER} at step 5; the last good checkpoint is kept.",
            "Lower the learning rate (it is 0.0005), or look for odd rows.",
        ),
    ),
}


def told(story: Story, owner: str = "local") -> store.Run:
    """The run of a story, in the home."""
    spec = RunSpec.parse(
        {
            "name": story.name,
            "model": {"id": "/nowhere"},
            "data": [{"source": "made-by-the-test.jsonl"}],
            "objective": "chat",
            "tuner": {"name": "lora", "rank": 8},
            "training": {"epochs": 10},
            **story.settings,
        }
    )
    run = store.create(spec, Prepared(_examples(story), [], [], list(story.findings)), owner)
    total = story.total_steps or len(story.train)
    (run.folder / "scores").mkdir()
    scored = {
        "before": _scored(story.before, story.losses_before, [f"something else {n}" for n in range(len(story.before))]),
        "before, options in prompt": _scored(story.baseline, (), [LABELS[n % 4] for n in range(len(story.baseline))]),
        "after": _scored(story.after, story.losses_after, story.answers),
    }
    for name, rows in scored.items():
        if rows:
            record = {"main": "exact_match", "metrics": _metrics(rows), "rows": [asdict(row) for row in rows]}
            write_json(run.folder / "scores" / f"{name}.json", record)
    write_json(run.folder / "plan.json", {"learning_rate": 5e-4, "total_steps": total})
    with Writer(run.folder / "events.jsonl") as writer:
        for event in _events(story, total, scored):
            writer.write(event)
    with store.index() as rows_of_index:
        rows_of_index.execute("UPDATE runs SET state = ? WHERE id = ?", (story.state, run.id))
    return store.get(run.id)


def rewritten(run: store.Run, file: str, change: Any) -> None:
    """Change a JSON file of the run in place: `change` is given its record."""
    path = run.folder / file
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def _examples(story: Story) -> list[Example]:
    counts: dict[SplitName, int] = {
        "train": story.rows,
        "validation": story.validation,
        "test": len(story.after or story.before),
    }
    splits = [split for split, count in counts.items() for _ in range(count)]
    return [
        Example(number, split, messages=[_message("user", _prompt(number)), _message("assistant", LABELS[number % 4])])
        for number, split in enumerate(splits, start=1)
    ]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _prompt(number: int) -> str:
    return f"What about case {number}?"


def _scored(scores: Sequence[float], losses: Sequence[float | None], answers: Sequence[str]) -> list[ScoredRow]:
    rows = []
    for index, score in enumerate(scores):
        expected = LABELS[index % 4]
        answer = expected if score == 1 else answers[index] if index < len(answers) else LABELS[(index + 1) % 4]
        loss = losses[index] if index < len(losses) else None
        rows.append(ScoredRow(index + 1, _prompt(index + 1), expected, answer, score, loss))
    return rows


def _metrics(rows: Sequence[ScoredRow]) -> dict[str, float]:
    from engine.compute.score import interval

    losses = [row.loss for row in rows if row.loss is not None]
    metrics = interval("exact_match", [row.score for row in rows])
    return metrics | ({"loss": sum(losses) / len(losses)} if losses else {})


def _events(story: Story, total: int, scored: dict[str, list[ScoredRow]]) -> list[Event]:
    events: list[Event] = [Notice(text) for text in story.notices]
    checks = dict(story.held)
    best = min(story.held, key=lambda check: check[1])[0] if story.held else 0
    for step, loss in enumerate(story.train, start=1):
        seconds = 0.5 * step
        events.append(Progress(step, total, 10 * step / total, loss, 5e-4, 0.5, 3000.0, 2_000_000_000, seconds))
        if step in checks:
            events.append(Evaluation(step, {"loss": checks[step]}))
            events.append(Sample(step, _prompt(step), f"answer at {step}", LABELS[step % 4]))
            events.append(Checkpoint(step, f"checkpoints/step-{step}", 1000, best=step == best))
    if story.failed:
        events.append(story.failed)
    if story.state == "finished":
        metrics = {
            "main": "exact_match",
            "rows": len(story.after),
            "split": "test",
            "before": _metrics(scored["before"]) if scored["before"] else None,
            "baselines": {"options in prompt": _metrics(scored["before, options in prompt"])} if story.baseline else {},
            "after": _metrics(scored["after"]) if scored["after"] else None,
        }
        events.append(Finished(metrics, 100_000, 10_000_000, 50.0, 2_000_000_000, 400_000, time=ENDED_AT))
    return events
