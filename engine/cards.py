"""The model card of a pushed run: made from its spec, plan, events and scores, and saying nothing that they don't.

No folder of this machine, no owner and no row of the data stands in it: data is called by its file's name alone.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engine import __version__, evidence, home, machine, origin, parts, snippets, verdict
from engine.errors import RunError
from engine.events import Finished
from engine.files import read_json
from engine.measures import MEASURES, measure
from engine.origin import Base
from engine.runs.store import Run
from engine.settings import describe
from engine.snippets import Form, Source
from engine.spec import RunSpec

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
_FORMS = {
    "merged": "These are full weights, with what was trained merged into the base model's, as float32.",
    "adapter": "This is an adapter: it needs the base model beside it.",
    "changed": "These are only those of the base model's weights that learned: the base model has to be beside them.",
    "attached": "These are only the parts that were added: the base model has to be beside them.",
    "whole": "These are full weights.",
    "beside": "This is a classifier that reads the base model's features: the base model has to be beside it.",
}
_MARKUP = re.compile(r"([\\`*_\[\]<>|#])")
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
        """Whether the result is a language model; else it is a classifier."""
        return "answers" in self.spec.objective.gives

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


def card(story: Story, repo: str, merged: bool) -> str:
    """README.md of the repository `repo` (owner/name), for the adapter itself or for merged weights."""
    parts = [
        "---\n" + yaml.safe_dump(metadata(story, repo, merged), sort_keys=False, allow_unicode=True) + "---",
        f"# {_plain(story.name)}",
        _what(story, merged),
        _load(story, repo, merged),
        _data(story),
        _scores(story),
        _training(story),
        _limits(story, merged),
    ]
    return without_places("\n\n".join(parts) + "\n")


def metadata(story: Story, repo: str, merged: bool) -> dict[str, Any]:
    """The card's front matter."""
    base, form = story.base, "whole" if merged else story.form
    record: dict[str, Any] = {}
    if base.id:
        record |= {"base_model": base.id, "base_model_relation": "finetune" if form == "whole" else "adapter"}
    if form not in ("changed", "attached", "beside"):  # no library loads these by itself
        record["library_name"] = "peft" if form == "adapter" else "transformers"
    record["pipeline_tag"] = "text-generation" if story.answers else "text-classification"
    record |= _license(base.license)
    record["tags"] = ["tunesmith", story.spec.objective.name, story.spec.tuner.name]
    known = [id for entry in story.spec.data if (id := origin.data_id(entry))]
    if known:
        record["datasets"] = sorted(set(known))
    after = story.done.metrics.get("after")
    if after:
        record["model-index"] = [{"name": repo.rpartition("/")[2], "results": [_result(story, after)]}]
    return record


def without_places(text: str) -> str:
    """The text with nothing of this machine's folders in it, should a name have carried one."""
    places = {str(place) for place in (home.home(), home.cache(), home.CHECKOUT, Path.home(), tempfile.gettempdir())}
    for place in sorted(places, key=len, reverse=True):
        if len(place) > len("/x"):
            text = re.sub(rf"{re.escape(place)}[^\s`'\")]*", "(a file)", text)
    return text


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
        "task": {"type": "text-generation" if story.answers else "text-classification"},
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


def _what(story: Story, merged: bool) -> str:
    base, done = story.base, story.done
    named = f"[{base.id}]({origin.HUB_PAGE}{base.id})" if base.id else f"`{_plain(base.title)}`"
    learned = f"{done.trainable_parameters:,} of {done.total_parameters:,} weights learned"
    if story.form == "beside":
        learned = f"the model stayed as it is, and a classifier of {done.trainable_parameters:,} numbers was fitted"
    form = _FORMS["merged" if merged else story.form]
    head = "" if story.answers else " Its head and its labels lie in `head.safetensors` and `classifier.json`."
    return (
        f"{named}, fine-tuned. Objective: {story.spec.objective.title}. Method: {story.spec.tuner.title}; {learned}. "
        f"{form}{head}\n\n"
        f"Made with Tunesmith {__version__}. This card was written by the program from the records of the run."
    )


def _load(story: Story, repo: str, merged: bool) -> str:
    base = story.base
    source = Source(
        repo, "whole" if merged else story.form, base.id or base.title, on_hub=base.id is not None, part=story.part
    )
    folder = base.title if source.form != "whole" and not source.on_hub else None
    if story.answers:
        system = story.spec.data[0].system
        messages = [{"role": "system", "content": system}] if system else []
        found = snippets.chat(source, [*messages, {"role": "user", "content": "Write a message here."}])
        note = ""
    else:
        kept = story.head
        if source.form == "beside":
            found = snippets.fitted(source, kept, _longest(story))
        else:
            found = snippets.classify(source, str(kept.get("pooling")), _longest(story))
        note = (
            '\n\nThe head is no part of a class of transformers: `pipeline("text-classification")` would make a new '
            "one that knows nothing. transformers may say that a pooler is new; nothing here uses it."
        )
    where = (
        f"\n\n`{_plain(folder)}` stands for the folder of the base model, which is not on the Hub." if folder else ""
    )
    return f"## Load it\n\n```python\n{found.load}\n```\n\nThen ask it:\n\n```python\n{found.ask}\n```{note}{where}"


def _longest(story: Story) -> int:
    """Tokens at which a text is cut: the run's limit, or what the tokenizer says of the model."""
    limit = (read_json(story.folder / "model" / "tokenizer_config.json") or {}).get("model_max_length")
    most = story.spec.training.max_tokens
    return min(most, int(limit)) if isinstance(limit, int | float) and limit >= 1 else most


def _data(story: Story) -> str:
    uses = {"train": "to learn from", "validation": "to choose the best checkpoint", "test": "held out, to score"}
    names = []
    for entry in story.spec.data:
        id, name = origin.data_id(entry), origin.data_name(entry)
        if id:
            names.append(f"[{id}]({origin.HUB_PAGE}datasets/{id}) from the Hub")
        elif entry.source.startswith(origin.SAMPLE):
            names.append(f"`{name}`, a sample that comes with Tunesmith")
        else:
            names.append(f"`{_plain(name)}`, a file that is not published")
    kind = "conversations" if story.spec.objective.wants == "messages" else "texts with labels"
    lines = [
        "## What it learned from",
        "",
        f"Data: {'; '.join(names)}. Read as {kind}. {story.spec.objective.help}",
        "",
        "| rows | use |",
        "| ---: | --- |",
        *(f"| {story.rows.get(split, 0):,} | {use} ({split}) |" for split, use in uses.items()),
    ]
    found = [f"- {finding['title']}: {finding['count']:,}" for finding in story.findings if "title" in finding]
    if found:
        lines += ["", "Found in the data before training, and left as it is:", "", *found]
    return "\n".join(lines)


def _scores(story: Story) -> str:
    metrics = story.done.metrics
    after, before = metrics.get("after"), metrics.get("before")
    if not after:
        return "## Scores\n\nNo rows were held out, so nothing was scored. What it learned is not measured."
    columns = [("Before", before)] if before else []
    columns += [(f"Before, {name}", scores) for name, scores in (metrics.get("baselines") or {}).items()]
    columns.append(("After", after))
    names = [name for name in after if not name.endswith(("_low", "_high"))]
    lines = [
        "## Scores",
        "",
        (
            f"Measured on {metrics.get('rows', 0):,} held-out rows ({metrics.get('split', 'test')}) that it did not "
            "learn from. In brackets the 95 % interval: another set of rows like these would most likely score "
            "within it."
        ),
        "",
        "| score | " + " | ".join(title for title, _ in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
        *(
            f"| {measure(name).title} | " + " | ".join(_cell(scores, name) for _, scores in columns) + " |"
            for name in names
        ),
        "",
        *(f"- {measure(name).title}: {measure(name).help}." for name in names if name in MEASURES),
        "",
        _judged(story),
    ]
    return "\n".join(lines)


def _judged(story: Story) -> str:
    """What the scores say of learning: the same sentences that the run's page shows."""
    found = verdict.judge(evidence.gather(story.folder, "finished"))
    return " ".join([f"{found.headline}.", *found.sentences])


def _training(story: Story) -> str:
    spec, plan, done = story.spec, story.plan, story.done
    chosen = {setting.title: getattr(spec.tuner_settings, setting.name) for setting in describe(spec.tuner.Settings)}
    lines = [(title, ("no", "yes")[value] if isinstance(value, bool) else value) for title, value in chosen.items()]
    lines += _fitting(story) if story.form == "beside" else _updates(story)
    lines += [
        ("Longest row, tokens", spec.training.max_tokens),
        ("Number format of the arithmetic", plan.get("compute")),
        ("Number format of the base weights", plan.get("weights")),
        ("Seed", spec.training.seed),
        ("Training time", _span(done.seconds)),
        ("Memory at its peak", f"{done.peak_memory_bytes / 1e9:.1f} GB"),
        ("Computed on", _machine(plan)),
        ("Libraries", _libraries(story.folder)),
    ]
    cells = [f"| {title} | {_plain(str(value))} |" for title, value in lines if value not in (None, "")]
    return "\n".join(["## How it was trained", "", "| setting | value |", "| --- | --- |", *cells]) + (
        "\n\nAll settings stand in `spec.yaml`, all scores in `scores.json`."
    )


def _updates(story: Story) -> list[tuple[str, Any]]:
    """How weights were changed step by step."""
    spec, plan = story.spec, story.plan
    rate = plan.get("learning_rate") or spec.training.learning_rate
    return [
        ("Passes over the data", f"{spec.training.epochs:g}"),
        ("Steps", plan.get("total_steps")),
        ("Rows in a step", spec.training.batch_size),
        ("Learning rate", f"{rate:g}" if rate else None),
        ("Learning rate of the head", f"{plan['head_rate']:g}" if plan.get("head_rate") else None),
        ("Schedule", spec.training.schedule),
    ]


def _fitting(story: Story) -> list[tuple[str, Any]]:
    """Which classifier was fitted, and how it did in cross-validation."""
    compared = story.head.get("cross_validation") or {}
    scores = ", ".join(f"{name} {100 * value:.1f} %" for name, value in (compared.get("accuracy") or {}).items())
    return [
        ("Classifier that was fitted", story.head.get("classifier")),
        (f"Right in {compared.get('folds')}-fold cross-validation on training rows", scores),
        ("Fitted with scikit-learn", story.head.get("scikit-learn")),
    ]


def _machine(plan: dict[str, Any]) -> str:
    found = machine.inspect()
    if plan.get("device") == "cuda" and found.gpus:
        return found.gpus[0].name
    threads = plan.get("threads") or found.cores
    return f"a processor ({threads} threads)" if plan.get("device") == "cpu" else str(plan.get("device", ""))


def _libraries(folder: Path) -> str:
    """Versions as they were when the run trained: its script names them."""
    try:
        found = _INSTALLED.search((folder / "model" / "train.py").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return ", ".join(found[1].split()).replace("==", " ") if found else ""


def _limits(story: Story, merged: bool) -> str:
    base = story.base
    points = [
        (
            "It was measured on held-out rows of the same data only. How it does on other texts, in other languages or "
            "against misuse is not known."
        ),
        "It was trained once, with one seed; another seed would give somewhat other scores.",
        f"What the base model ({_plain(base.title)}) gets wrong or is biased about, this model may, too.",
    ]
    if story.plan.get("weights") in ("8bit", "4bit"):
        bits = story.plan["weights"].removesuffix("bit")
        points.append(
            f"It was trained and scored on base weights rounded to {bits} bits. On others its answers may "
            "differ slightly."
        )
    if base.note and not merged:
        points.append(base.note)
    points.append(_terms(base))
    return "\n".join(["## What is not known, and its limits", "", *(f"- {point}" for point in points)])


def _terms(base: Base) -> str:
    if base.license is None:
        return (
            "Licence: unknown. The base model's licence is not stated where it was taken from; find it out before you "
            "use or pass this model on."
        )
    gated = " It is gated: whoever loads it has to agree to its terms on its page first." if base.gated else ""
    return f"Licence: that of the base model, {_plain(base.license)}.{gated} The data may add terms of its own."


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


def _cell(scores: dict[str, float], name: str) -> str:
    if name not in scores:
        return "–"
    if f"{name}_low" not in scores:
        return f"{scores[name]:.3f}"
    return f"{100 * scores[name]:.1f} % ({100 * scores[f'{name}_low']:.1f} to {100 * scores[f'{name}_high']:.1f})"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _plain(text: str) -> str:
    """Text as Markdown that shows it letter by letter, in one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
