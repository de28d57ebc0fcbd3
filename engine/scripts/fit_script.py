"""A run of the kind "fit" as one Python file that needs only the libraries, and fits the same classifier."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict
from importlib import metadata
from types import ModuleType

from engine.judging import temperature
from engine.methods import heads
from engine.methods.job import Job
from engine.methods.pooling import Reading
from engine.texts import text_pairs

LIBRARIES = ("torch", "transformers", "safetensors", "scikit-learn", "threadpoolctl", "numpy")

HEADER = '''"""{title}

Reads the same rows with the same model as the run {run}, and fits the same classifier to its features, without
Tunesmith:

    pip install {requirements}
    python train.py [BASE_MODEL]

BASE_MODEL is a Hub id or a folder; {model} by default. Beside this file lie the tokenizer and examples.jsonl.
The result goes to ./result.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors.numpy import save_file
from transformers import AutoModel, AutoTokenizer

MODEL = sys.argv[1] if len(sys.argv) > 1 else {model!r}
DEVICE = {device!r}
SEED, MAX_TOKENS, ROWS_AT_ONCE = {seed}, {max_tokens}, {micro}
WEIGHTS, COMPUTE = {weights}, {compute}
QUANTIZATION = {quantization}
READING = {reading!r}
CLASSIFIER, FOLDS = {classifier!r}, {folds}
LABELS = {labels!r}
CLASS_WEIGHTS = {class_weights!r}

HERE = Path(__file__).resolve().parent
torch.set_num_threads({threads})
tokenizer = AutoTokenizer.from_pretrained(HERE)
PAD = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0

# How fitted classifiers score

'''

MAIN = '''

# The run

READ_HERE

def features(model, examples):
    """A vector for each row: (rows, width)."""
    rows = [read(example) for example in examples]
    ids = [row["ids"] for row in rows]
    found = [None] * len(ids)
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for start in range(0, len(order), ROWS_AT_ONCE):
        chosen = order[start : start + ROWS_AT_ONCE]
        longest = max(len(ids[row]) for row in chosen)
        batch = torch.tensor([ids[row] + [PAD] * (longest - len(ids[row])) for row in chosen], device=DEVICE)
        mask = torch.tensor([[1] * len(ids[row]) + [0] * (longest - len(ids[row])) for row in chosen], device=DEVICE)
        kinds = {}
        if "kinds" in rows[0]:
            padded = [rows[row]["kinds"] + [0] * (longest - len(ids[row])) for row in chosen]
            kinds = {"token_type_ids": torch.tensor(padded, device=DEVICE)}
        autocast = torch.autocast(DEVICE, dtype=COMPUTE) if COMPUTE != torch.float32 else nullcontext()
        with torch.no_grad(), autocast:
            pooled = pool(model(input_ids=batch, attention_mask=mask, output_hidden_states=True, **kinds), mask)
        for row, vector in zip(chosen, pooled.float().cpu().numpy(), strict=True):
            found[row] = vector
        print(f"features: {min(start + ROWS_AT_ONCE, len(ids))} of {len(ids)}", flush=True)
    return np.stack(found)


def pool(output, mask):
    top, count = READING["layer"], READING["layers"]
    hidden = output.last_hidden_state.float()
    if (top, count) != (1, 1):
        every = output.hidden_states
        hidden = torch.stack([layer.float() for layer in every[len(every) - top - count + 1 : len(every) - top + 1]])
        hidden = hidden.mean(dim=0)
    weights = mask.unsqueeze(-1).float()
    if READING["pooling"] == "cls":
        return hidden[:, 0]
    if READING["pooling"] in ("last", "lasttoken"):
        return hidden[torch.arange(len(hidden)), mask.sum(dim=1) - 1]
    if READING["pooling"] == "max":
        return hidden.masked_fill(weights == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def main():
    with open(HERE / "examples.jsonl", encoding="utf-8", newline="\\n") as file:
        examples = [json.loads(line) for line in file]
    model = AutoModel.from_pretrained(MODEL, dtype=WEIGHTS, attn_implementation="sdpa", **QUANTIZATION).eval()
    if not QUANTIZATION:
        model.to(DEVICE)
    train = [example for example in examples if example["split"] == "train"]
    x = features(model, train)
    y = np.array([LABELS.index(example["label"]) for example in train])
    weights = None if CLASS_WEIGHTS is None else np.array(CLASS_WEIGHTS)
    names = tried(CLASSIFIER, len(x), x.shape[1], len(LABELS), weights is not None)
    held = [example for example in examples if example["split"] == "test"]
    watching = [example for example in examples if example["split"] == "validation"] if held else []
    aside = None
    if watching:
        classes = np.array([LABELS.index(example["label"]) for example in watching])
        aside = features(model, watching), classes
    choice = choose(x, y, len(LABELS), names, FOLDS, SEED, lambda: None, aside, weights)
    seen = f"{choice.folds}-fold cross-validation and on {choice.watched} validation rows"
    print(f"chosen: {choice.name}; right in {seen}: {choice.accuracy}")
    if held:
        scores = heads.scores(choice.form, choice.head, features(model, held))
        right = [LABELS[place] == example["label"] for place, example in zip(scores.argmax(axis=1), held, strict=True)]
        print(f"accuracy on all {len(right)} test rows: {sum(right) / len(right):.4f}")
    Path("result").mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in choice.head.items()}, "result/head.safetensors")
    config = {"labels": LABELS, **READING, "classifier": choice.name, "form": choice.form}
    Path("result/classifier.json").write_text(json.dumps(config, ensure_ascii=False, indent=1), encoding="utf-8")
    tokenizer.save_pretrained("result")


if __name__ == "__main__":
    main()
'''


def script(job: Job, quantization: str) -> str:
    """Source of the standalone script of this job. Loads scikit-learn."""
    from engine.compute import estimators

    plan, settings = job.plan, job.tuner_settings
    header = HEADER.format(
        title=f"{job.objective.title} with {job.tuner.title}.",
        run=job.folder.name,
        requirements=" ".join(f"{name}=={metadata.version(name)}" for name in LIBRARIES),
        model=job.facts.id,
        device=plan.device,
        seed=job.training.seed,
        max_tokens=job.training.max_tokens,
        micro=plan.micro_batch,
        weights=f"torch.{plan.compute if plan.weights in ('8bit', '4bit') else plan.weights}",
        compute=f"torch.{plan.compute}",
        quantization=quantization,
        reading=asdict(_reading(job)),
        classifier=settings.classifier,
        folds=settings.folds,
        labels=job.labels,
        class_weights=job.objective.class_weights(job.objective_settings, job.labels, job.examples["train"]),
        threads=plan.threads,
    )
    imports, fitting = _body(estimators)
    head, constants = header.split("\nMODEL = ", 1)
    main = MAIN.replace("READ_HERE\n", text_pairs.script(job) if job.pairs else text_pairs.READ)
    sure = inspect.getsource(temperature).partition("import numpy as np\n")[2]
    return (
        f"{head}{imports}\nMODEL = {constants}{_scoring()}\n\n# How sure they are{sure}"
        f"\n\n# How classifiers are fitted and chosen\n{fitting}{main}"
    )


def _reading(job: Job) -> Reading:
    return job.tuner.reading(job.tuner_settings, job.model_folder)


def _scoring() -> str:
    forms = "\n\n".join(heads.source(form) for form in heads.FORMS)
    names = ", ".join(f'"{form}": {form}' for form in heads.FORMS)
    return (
        f"{forms}\n\nclass heads:\n    @staticmethod\n    def scores(form, head, x):\n"
        f"        return {{{names}}}[form](head, x.astype(np.float32))\n"
    )


def _body(module: ModuleType) -> tuple[str, str]:
    """A module's imports of libraries, and what comes after its imports."""
    text = inspect.getsource(module)
    text = text[text.index("from __future__") :]
    end = text.index("\nfrom engine")
    imports = text[:end].partition("\n")[2].strip("\n")
    return imports + "\n", re.sub(r"^(\nfrom engine[^\n]*)+\n", "\n", text[end:])
