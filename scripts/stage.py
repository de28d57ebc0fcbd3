"""What the pictures show: a home with runs of several outcomes, files to drop, and the page on it, own and shared."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine import demo
from engine.data.prepare import prepare
from engine.runs import queue, store
from engine.specs.spec import RunSpec
from tests.browser.server import PageServer
from tests.fakes import outcomes

CHECKOUT = Path(__file__).resolve().parent.parent
MESSY = CHECKOUT / "tests" / "data" / "messy" / "banking_dups_conflicts_label_noise.csv"
SAMPLE = CHECKOUT / "samples" / "banking-intents.csv"
REPLIES = (
    "Please open the app and choose the card that it is about.",
    "It takes up to three working days until the money is in your account.",
    "We charge no fee for this; the other bank may.",
    "You can change it yourself under Profile.",
    "If it does not work then, write to us again with the date and the amount.",
)
PASSWORD = "open sesame"
SHORTER = "Bank intents, 24 steps"
NAMES = {
    "noise": "Bank intents, 160 rows",
    "overfitted": "Bank intents, ten passes",
    "stopped": "Short answers, stopped early",
    "failed": "Bank intents, rate 0.0005",
}
SECONDS_FOR_THE_LINK = 20


@dataclass(frozen=True)
class Stage:
    own: PageServer
    shared: PageServer
    files: Path
    sample: store.Run
    other: store.Run
    """A run to compare the sample with."""

    @property
    def host_link(self) -> str:
        """The address by which the shared page knows its host. It is printed when the page answers already."""
        end = time.monotonic() + SECONDS_FOR_THE_LINK
        while time.monotonic() < end:
            found = re.search(r"\?host=\S+", self.shared.log.read_text(encoding="utf-8"))
            if found:
                return f"{self.shared.url}/{found[0]}"
            time.sleep(0.1)
        raise AssertionError(f"The shared page does not tell its host's link:\n{self.shared.tail()}")

    @property
    def messy(self) -> Path:
        return self.files / "bank-messages.csv"

    @property
    def talks(self) -> Path:
        return self.files / "support-talks.jsonl"


@contextmanager
def staged(place: Path, home: Path | None) -> Iterator[Stage]:
    """The stage in an empty folder. home: holds a finished sample run; without one it is made, in some minutes."""
    # The pictures show a page whose host is not signed in to the Hub, and which does not wait for a network.
    os.environ.update(HF_HOME=str(place / "hub"), HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    os.environ.pop("HF_TOKEN", None)
    own, shared = place / "own" / "home", place / "shared" / "home"
    shared.mkdir(parents=True)
    _fill(own, home)
    files = place / "files"
    files.mkdir()
    environment = {"TUNESMITH_PASSWORD": PASSWORD, "HF_TOKEN": "hf_thehosts0123456789"}
    servers = PageServer(own), PageServer(shared, "--host", "0.0.0.0", **environment)
    with _home(own):
        for name in NAMES:
            _older(name)
        stage = Stage(*servers, files, finished(own, demo.spec().name), finished(own, SHORTER))
        _write_messy(stage.messy)
        _write_talks(stage.talks)
        try:
            for server in servers:
                server.start()
            yield stage
        finally:
            for server in servers:
                server.stop()


def finished(home: Path, name: str) -> store.Run:
    """The finished run of that name in a home. Raises LookupError without one."""
    with _home(home):
        for run in store.listed():
            if run.name == name and run.state == "finished":
                return run
    raise LookupError(f"{home} holds no finished run '{name}'.")


def begin_live(stage: Stage) -> store.Run:
    """A real run that is at work for a minute: the sample with another rank, few scored rows and frequent checks."""
    sample = demo.spec().as_dict()
    sample["data"][0]["split"] |= {"test_rows": 24, "validation_rows": 16}
    changes: dict[str, Any] = {
        "name": "Bank intents, rank 8",
        "tuner": {"name": "lora", "rank": 8},
        "training": sample["training"] | {"max_steps": 60},
        "evaluation": {"every_steps": 6, "max_rows": 8, "options_in_prompt": "off"},
    }
    spec = RunSpec.parse(sample | changes)
    run = store.create(spec, prepare(spec.data, spec.objective.wants, spec.training.seed))
    queue.start(run)
    return run


def end_live(run: store.Run) -> None:
    """End a run at once and delete it."""
    queue.stop(run, force=True)
    while store.get(run.id).state in store.ACTIVE:
        queue.reconcile()
        time.sleep(0.2)
    store.delete(store.get(run.id))


def visitors_run(stage: Stage, owner: str) -> None:
    """Something that belongs to a visitor of the shared page."""
    with _home(stage.shared.home):
        outcomes.told(_story("stopped"), owner)


def _fill(own: Path, home: Path | None) -> None:
    """The two real runs: copied, so that a home that was given stays as it is, or made."""
    own.mkdir(parents=True)
    if home is not None:
        shutil.copytree(home / "runs", own / "runs")
    for spec in (demo.spec(), _shorter()):
        try:
            finished(own, spec.name)
        except LookupError:
            print(f"Training '{spec.name}'; this takes some minutes.", flush=True)
            written = own.parent / "spec.yaml"
            written.write_text(spec.to_yaml(), encoding="utf-8")
            command = [sys.executable, "-m", "engine", "train", str(written)]
            environment = {**os.environ, "TUNESMITH_HOME": str(own)}
            subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, check=True)


def _shorter() -> RunSpec:
    """The sample with less of everything: a run to compare it with, on the same held-out rows."""
    sample = demo.spec().as_dict()
    changes = {"tuner": {"name": "lora", "rank": 4}, "evaluation": {"options_in_prompt": "off"}}
    return RunSpec.parse(sample | changes | {"name": SHORTER, "training": sample["training"] | {"max_steps": 24}})


@contextmanager
def _home(home: Path) -> Iterator[None]:
    before = os.environ.get("TUNESMITH_HOME")
    os.environ["TUNESMITH_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TUNESMITH_HOME"]
        else:
            os.environ["TUNESMITH_HOME"] = before


def _older(name: str) -> store.Run:
    run = outcomes.told(_story(name))
    if name == "overfitted":
        store.annotate(run, note="Too many passes: the held-out loss turned after five.", tags=["bank", "paper"])
    return run


def _story(name: str) -> outcomes.Story:
    """A story of the tests about a model and data that people could have."""
    story = outcomes.STORIES[name]
    data = {"source": "bank-messages.csv", **story.settings.get("data", [{}])[0]}
    settings = story.settings | {"model": {"id": "embedded:smollm2-135m"}, "data": [data]}
    return replace(story, name=NAMES[name], settings=settings)


def _write_messy(path: Path) -> None:
    """Texts with labels: repeats, labels at odds, rows without a label, and addresses of people."""
    with open(MESSY, encoding="utf-8", newline="") as file:
        first, *rows = csv.DictReader(file)
    rows.insert(30, first)  # its label is written oddly; what is first becomes the example on the page
    for number, row in enumerate(rows[40:440:40]):
        row["text"] += f" Write to me at jo.miller{number}@example.com."
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def _write_talks(path: Path) -> None:
    """Conversations of lengths as they are in life: many short ones, some long."""
    draw = random.Random(7)
    with open(SAMPLE, encoding="utf-8", newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    with open(path, "w", encoding="utf-8") as file:
        for question in questions[:400]:
            answer = " ".join(draw.choices(REPLIES, k=min(14, 1 + int(draw.lognormvariate(1.0, 0.7)))))
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": turns}) + "\n")
