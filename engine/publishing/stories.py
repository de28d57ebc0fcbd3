"""What a finished run left behind, read once: the facts that its model card tells and its push goes by."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import kinds, machine
from engine.bases import parts
from engine.errors import RunError
from engine.events import Finished
from engine.files import read_json
from engine.judging.measures import measure
from engine.publishing import origin
from engine.publishing.origin import Base
from engine.runs.store import Run
from engine.scripts import snippets
from engine.scripts.snippets import Form
from engine.specs.spec import RunSpec

LICENSES = frozenset(
    "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m "
    "afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 "
    "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 "
    "cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl "
    "gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl apple-ascl mpl-2.0 odc-by odbl openmdw-1.0 "
    "openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license llama2 llama3 "
    "llama3.1 llama3.2 llama3.3 llama4 gemma unknown other".split()
)
"""Licences that the Hub knows by name; one that is none of them is stated as "other" with its name."""
_INSTALLED = re.compile(r"^    pip install (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Story:
    """What a finished run left behind, read once."""

    name: str
    folder: Path
    spec: RunSpec
    done: Finished
    plan: dict[str, Any]
    rows: dict[str, int]
    """Rows by split."""
    findings: list[dict[str, Any]]
    base: Base

    @property
    def answers(self) -> bool:
        """Whether the result is a language model that writes; else it is a classifier, or guesses hidden words."""
        return "answers" in self.spec.objective.gives and not self.masked

    @property
    def task(self) -> str:
        """What the Hub calls it."""
        if self.head and kinds.of_result(self.head).marks_words:
            return "token-classification"
        return "fill-mask" if self.masked else "text-generation" if self.answers else "text-classification"

    @property
    def form(self) -> Form:
        if (self.folder / "model" / "adapter_config.json").exists():
            return "adapter"
        if self.part:
            return "attached"
        if "form" in self.head:
            return "beside"
        return "changed" if (self.folder / "model" / snippets.CHANGED_FILE).exists() else "whole"

    @property
    def part(self) -> str:
        """Which part of our own was attached; empty where none was."""
        return parts.part_in(self.folder / "model") or ""

    @property
    def head(self) -> dict[str, Any]:
        """What is kept of a classification head beside its numbers; empty where there is none."""
        return read_json(self.folder / "model" / "classifier.json") or {}

    @property
    def masked(self) -> dict[str, Any]:
        """How words were hidden where it learned to guess them; empty where it did not."""
        return read_json(self.folder / "model" / parts.MASKED_FILE) or {}

    @property
    def cloze(self) -> dict[str, Any]:
        """What is kept of label words and their templates; empty where there are none."""
        return read_json(self.folder / "model" / "cloze.json") or {}

    @property
    def longest(self) -> int:
        """Tokens at which a text is cut: the run's limit, or what the tokenizer says of the model."""
        limit = (read_json(self.folder / "model" / "tokenizer_config.json") or {}).get("model_max_length")
        most = self.spec.training.max_tokens
        return min(most, int(limit)) if isinstance(limit, int | float) and limit >= 1 else most

    @property
    def libraries(self) -> dict[str, str]:
        """Their versions as they were when the run trained: its script names them."""
        try:
            found = _INSTALLED.search((self.folder / "model" / "train.py").read_text(encoding="utf-8"))
        except OSError:
            found = None
        pairs = (word.partition("==") for word in found[1].split()) if found else ()
        return {name: version for name, _, version in pairs}

    @property
    def device(self) -> str:
        """What it was computed on, in words."""
        found = machine.inspect()
        if self.plan.get("device") == "cuda" and found.gpus:
            return found.gpus[0].name
        threads = self.plan.get("threads") or found.cores
        return (
            f"a processor ({threads} threads)" if self.plan.get("device") == "cpu" else str(self.plan.get("device", ""))
        )

    @property
    def stands_alone(self) -> bool:
        """Whether what it left is of use with a base that others have, too, or needs none."""
        return self.form == "whole" or not self.spec.model.keep_layers

    @property
    def can_merge(self) -> bool:
        """Whether full weights can be made from what the run left, and are not there already."""
        return self.form != "whole" and not self.spec.tuner.unmergeable


def read(run: Run, base: Base) -> Story:
    """Raises RunError where the run has not finished."""
    done = next((event for event in reversed(run.last_events(_has_end)) if isinstance(event, Finished)), None)
    if done is None or not (run.folder / "model").is_dir():
        raise RunError(f"Run {run.id} has no result yet.", "Wait until it has finished, or resume it.")
    return Story(
        name=run.name,
        folder=run.folder,
        spec=run.spec(),
        done=done,
        plan=read_json(run.folder / "plan.json") or {},
        rows=_rows(run.folder / "examples.jsonl"),
        findings=(read_json(run.folder / "data.json") or {}).get("findings", []),
        base=base,
    )


def front_matter(story: Story, repo: str, merged: bool) -> dict[str, Any]:
    """What the Hub reads of a card, in its own words."""
    base, form = story.base, "whole" if merged else story.form
    record: dict[str, Any] = {}
    if base.id:
        record |= {"base_model": base.id, "base_model_relation": "finetune" if form == "whole" else "adapter"}
    if form not in ("changed", "attached", "beside"):  # no library loads these by itself
        record["library_name"] = "peft" if form == "adapter" else "transformers"
    record["pipeline_tag"] = story.task
    record |= _license(base.license)
    record["tags"] = ["tunesmith", story.spec.objective.name, story.spec.tuner.name]
    known = [id for entry in story.spec.data if (id := origin.data_id(entry))]
    if known:
        record["datasets"] = sorted(set(known))
    after = story.done.metrics.get("after")
    if after:
        record["model-index"] = [{"name": repo.rpartition("/")[2], "results": [_result(story, after)]}]
    return record


def _license(stated: str | None) -> dict[str, str]:
    if stated is None:
        return {"license": "unknown"}
    name = stated.strip().lower()
    if name in LICENSES:
        return {"license": name}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.+-]+", "-", name).strip("-") or "other"}


def _result(story: Story, after: dict[str, float]) -> dict[str, Any]:
    metrics, rows = story.done.metrics, story.done.metrics.get("rows", 0)
    entry = story.spec.data[0]
    name = ", ".join(origin.data_name(entry) for entry in story.spec.data)
    return {
        "task": {"type": story.task},
        "dataset": {
            "name": name,
            "type": origin.data_id(entry) or re.sub(r"[^\w.-]+", "-", name),
            "split": str(metrics.get("split", "test")),
            "args": {"held_out_rows": rows},
        },
        "metrics": [
            {
                "type": metric,
                "value": round(float(value), 4),
                "name": f"{measure(metric).title} on {rows} held-out rows",
            }
            for metric, value in after.items()
            if not metric.endswith(("_low", "_high"))
        ],
    }


def _rows(file: Path) -> dict[str, int]:
    found: Counter[str] = Counter()
    try:
        with open(file, encoding="utf-8") as lines:
            found.update(str(json.loads(line).get("split", "train")) for line in lines)
    except (OSError, ValueError):
        pass
    return dict(found)


def _has_end(events: Any) -> bool:
    return any(isinstance(event, Finished) for event in events)
