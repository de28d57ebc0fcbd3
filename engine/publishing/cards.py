"""The model card of a pushed run: sentences and tables made from its story, saying nothing that it doesn't.

No folder of this machine, no owner and no row of the data stands in it: data is called by its file's name alone.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from engine import __version__, kinds
from engine.judging import evidence, verdict
from engine.judging.measures import MEASURES, baseline_title, measure, told
from engine.kinds.marked_words import AT_END
from engine.publishing import origin
from engine.publishing.origin import Base
from engine.publishing.stories import Story, front_matter
from engine.scripts import snippets
from engine.scripts.snippets import Source
from engine.settings import describe

_FORMS = {
    "merged": "These are full weights, with what was trained merged into the base model's, as float32.",
    "adapter": "This is an adapter: it needs the base model beside it.",
    "changed": "These are only those of the base model's weights that learned: the base model has to be beside them.",
    "attached": "These are only the parts that were added: the base model has to be beside them.",
    "whole": "These are full weights.",
    "beside": "This is a classifier that reads the base model's features: the base model has to be beside it.",
}
_MARKUP = re.compile(r"([\\`*_\[\]<>|#])")


def card(story: Story, repo: str, merged: bool) -> str:
    """README.md of the repository `repo` (owner/name), for the adapter itself or for merged weights."""
    parts = [
        "---\n" + yaml.safe_dump(front_matter(story, repo, merged), sort_keys=False, allow_unicode=True) + "---",
        f"# {_plain(story.name)}",
        _what(story, merged),
        _load(story, repo, merged),
        _data(story),
        _scores(story),
        _training(story),
        _limits(story, merged),
    ]
    return origin.without_places("\n\n".join(parts) + "\n")


def _what(story: Story, merged: bool) -> str:
    base, done = story.base, story.done
    named = f"[{base.id}]({origin.HUB_PAGE}{base.id})" if base.id else f"`{_plain(base.title)}`"
    learned = f"{done.trainable_parameters:,} of {done.total_parameters:,} weights learned"
    if story.form == "beside":
        learned = f"the model stayed as it is, and a classifier of {done.trainable_parameters:,} numbers was fitted"
    if story.spec.tuner.kind == "merge":
        count = len(story.spec.tuner.runs(story.spec.tuner_settings))
        learned = f"nothing learned, what {count} runs had added was made one of {done.trainable_parameters:,} weights"
    form = _FORMS["merged" if merged else story.form]
    head = "" if story.answers else " Its head and its labels lie in `head.safetensors` and `classifier.json`."
    if story.masked:
        head = " It guesses words that are hidden in a text, from what stands on both sides of them."
    if story.cloze:
        head = " It fills a slot in a prompt with the word of a label; prompt and words lie in `cloze.json`."
    return (
        f"{named}, fine-tuned. Objective: {story.spec.objective.title}. Method: {story.spec.tuner.title}; {learned}. "
        f"{form}{head}\n\n"
        f"Made with Tunesmith {__version__}. This card was written by the program from the records of the run."
    )


def _load(story: Story, repo: str, merged: bool) -> str:
    base = story.base
    source = Source(
        repo,
        "whole" if merged else story.form,
        base.id or base.title,
        on_hub=base.id is not None,
        part=story.part,
        tasks=tuple(story.spec.tuner.tasks(story.spec.tuner_settings)),
    )
    folder = base.title if source.form != "whole" and not source.on_hub else None
    if story.answers:
        system = story.spec.data[0].system
        messages = [{"role": "system", "content": system}] if system else []
        found = snippets.chat(source, [*messages, {"role": "user", "content": "Write a message here."}])
        note = ""
    elif story.masked:
        found, note = snippets.masked(source), ""
    elif story.cloze:
        found = snippets.cloze(source, story.cloze)
        note = "\n\nThe labels' words are scored by the code above; no pipeline of transformers does that."
    elif kinds.of_result(story.head).marks_words:
        found, note = snippets.marked(source, bool(story.head.get("pipeline")), bool(story.head.get(AT_END))), ""
    else:
        kept = story.head
        if source.form == "beside":
            found = snippets.fitted(source, kept, story.longest)
        else:
            answer = kinds.of_result(kept).asked(kept)
            found = snippets.classify(source, kept, story.longest, answer)
        note = (
            '\n\nThe head is no part of a class of transformers: `pipeline("text-classification")` would make a new '
            "one that knows nothing. transformers may say that a pooler is new; nothing here uses it."
        )
    where = (
        f"\n\n`{_plain(folder)}` stands for the folder of the base model, which is not on the Hub." if folder else ""
    )
    return f"## Load it\n\n```python\n{found.load}\n```\n\nThen ask it:\n\n```python\n{found.ask}\n```{note}{where}"


def _data(story: Story) -> str:
    best = "classifier" if story.form == "beside" else "checkpoint"
    uses = {"train": "to learn from", "validation": f"to choose the best {best}", "test": "held out, to score"}
    if not story.rows.get("test"):
        uses["validation"] = "held out, to score" if story.form == "beside" else f"{uses['validation']}, and to score"
    if story.spec.tuner.kind == "merge":
        uses |= {"train": "not used for the merge", "validation": "not used for the merge"}
    names = []
    for entry in story.spec.data:
        id, name = origin.data_id(entry), origin.data_name(entry)
        if id:
            names.append(f"[{id}]({origin.HUB_PAGE}datasets/{id}) from the Hub")
        elif entry.source.startswith(origin.SAMPLE):
            names.append(f"`{name}`, a sample that comes with Tunesmith")
        else:
            names.append(f"`{_plain(name)}`, a file that is not published")
    kind = {"messages": "conversations", "labelled": "texts with labels", "text": "plain text"}[
        story.spec.objective.wants
    ]
    if story.head:
        kind = f"texts, each with {kinds.of_result(story.head).title}"
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
    columns += [(baseline_title(name), scores) for name, scores in (metrics.get("baselines") or {}).items()]
    columns += [(f"Run {run_id} alone", scores) for run_id, scores in (metrics.get("parts") or {}).items()]
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
            f"| {measure(name).title} | " + " | ".join(told(scores, name) for _, scores in columns) + " |"
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
    if spec.tuner.kind != "merge":
        lines += _fitting(story) if story.form == "beside" else _updates(story)
    lines += [
        ("Longest row, tokens", spec.training.max_tokens),
        ("Number format of the arithmetic", plan.get("compute")),
        ("Number format of the base weights", plan.get("weights")),
        ("Seed", spec.training.seed),
        ("Training time", _span(done.seconds)),
        ("Memory at its peak", f"{done.peak_memory_bytes / 1e9:.1f} GB"),
        ("Computed on", story.device),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in story.libraries.items())),
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
    count = compared.get("validation_rows")
    watched = f" and on {count:,} validation rows" if count else ""
    scores = ", ".join(f"{name} {100 * value:.1f} %" for name, value in (compared.get("accuracy") or {}).items())
    return [
        ("Classifier that was fitted", story.head.get("classifier")),
        (f"Right in {compared.get('folds')}-fold cross-validation on training rows{watched}", scores),
        ("Fitted with scikit-learn", story.head.get("scikit-learn")),
    ]


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


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _plain(text: str) -> str:
    """Text as Markdown that shows it letter by letter, in one line."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
