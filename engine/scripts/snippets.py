"""How a pushed model is loaded and asked: short Python for its card. Tests run it.

A result is a language model or a backbone with our classification head; either of them comes in one of several forms.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.bases import parts
from engine.methods import heads

Form = Literal["whole", "adapter", "changed", "attached", "beside"]
"""Full weights; an adapter of PEFT; those of the base's own weights alone that learned; a part of our own; or none of
them: a classifier that reads the base's features."""
CHANGED_FILE = "changed.safetensors"
_POOLED = {"cls": "hidden[:, 0]", "last": "hidden[:, -1]", "lasttoken": "hidden[:, -1]", "max": "hidden.amax(1)"}
_MEAN = "hidden.mean(1)"
_PEFT = {"AutoModelForCausalLM": "AutoPeftModelForCausalLM", "AutoModel": "AutoPeftModelForFeatureExtraction"}


@dataclass(frozen=True)
class Source:
    """Where a result is loaded from. base: its base model's Hub id, or a folder that the reader has to have."""

    repo: str
    form: Form
    base: str
    on_hub: bool = True
    """Whether `base` is a Hub id, which an adapter names by itself."""
    part: str = ""
    """Of the form "attached": which part (see `parts.PARTS`)."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks that the part tells apart."""


@dataclass(frozen=True)
class Snippet:
    load: str
    ask: str
    """Goes on where `load` ended."""


def chat(source: Source, messages: list[dict[str, Any]]) -> Snippet:
    """A language model, and `messages` put to it."""
    repo = json.dumps(source.repo)
    ask = [
        f"messages = {json.dumps(messages, ensure_ascii=False)}",
        (
            'prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", '
            "return_dict=True)"
        ),
        "answer = model.generate(**prompt, max_new_tokens=256)",
        'print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True))',
    ]
    if source.form != "whole":  # its base may know fewer tokens that end an answer, or draw its words by chance
        ends = f"ends = GenerationConfig.from_pretrained({repo})"
        answer = "answer = model.generate(**prompt, max_new_tokens=256, generation_config=ends)"
        ask = ["from transformers import GenerationConfig", ends, *ask[:2], answer, ask[3]]
    imports, lines = _loading(source, "AutoModelForCausalLM")
    return Snippet("\n".join([*imports, *lines]), "\n".join(ask))


def classify(
    source: Source,
    kept: dict[str, Any],
    max_tokens: int,
    answer: Sequence[str] = ("print(labels[scores.argmax()])",),
) -> Snippet:
    """A backbone with our head, which no class of transformers holds, and one text (or a pair of them) put to it.

    kept: what `classifier.json` holds. answer: lines that print what `scores` come to.
    """
    pair = kept.get("pair")
    repo = json.dumps(source.repo)
    imports, lines = _loading(source, "AutoModel")
    files = ["from huggingface_hub import hf_hub_download", "from safetensors.torch import load_file"]
    load = [
        "import json",
        *files,
        *(line for line in imports if line not in ("import json", *files)),
        *lines,
        f'head = load_file(hf_hub_download({repo}, "head.safetensors"))',
        f'labels = json.load(open(hf_hub_download({repo}, "classifier.json"), encoding="utf-8"))["labels"]',
    ]
    ask = [
        *_read(max_tokens, kept),
        f"hidden = model({_GIVEN if pair and pair['told_apart'] else 'ids'}).last_hidden_state.float()",
        f'scores = {_POOLED.get(kept["pooling"], _MEAN)} @ head["weight"].T + head["bias"]',
        *_own_labels(kept.get("tasks") or []),
        *answer,
    ]
    return Snippet("\n".join(load), "\n".join(ask))


def marked(source: Source, pipeline: bool, at_end: bool = False) -> Snippet:
    """A model that marks words, and one text put to it.

    pipeline: whether transformers has a class for body and head together, as which whole weights are saved. at_end:
    whether a word's answer is that of its last token.
    """
    repo = json.dumps(source.repo)
    if pipeline and source.form == "whole":
        made = f'marks = pipeline("token-classification", model={repo}, aggregation_strategy="simple")'
        ask = [
            'text = "Write a text here."',
            "for mark in marks(text):",
            "    print(mark['entity_group'], text[mark['start'] : mark['end']], round(float(mark['score']), 3))",
        ]
        return Snippet(f"from transformers import pipeline\n{made}", "\n".join(ask))
    imports, lines = _loading(source, "AutoModel")
    files = ["from huggingface_hub import hf_hub_download", "from safetensors.torch import load_file"]
    load = [
        "import json",
        *files,
        *(line for line in imports if line not in ("import json", *files)),
        "",
        "",
        parts.source("texts.entity_tags"),
        "",
        "",
        *lines,
        f'head = load_file(hf_hub_download({repo}, "head.safetensors"))',
        f'labels = json.load(open(hf_hub_download({repo}, "classifier.json"), encoding="utf-8"))["labels"]',
    ]
    ask = [
        'text = "Write a text here."',
        'found = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="pt")',
        "places = places_of(text, found.offset_mapping[0].tolist(), found.special_tokens_mask[0].tolist())",
        "hidden = model(input_ids=found.input_ids, attention_mask=found.attention_mask).last_hidden_state.float()",
        'tags = [labels[best] for best in (hidden @ head["weight"].T + head["bias"])[0].argmax(-1).tolist()]',
        "words = words_of(text)",
        f"answering = {'last' if at_end else 'first'}_tokens(words, places)",
        "own = [tags[token] if token >= 0 else 'O' for token in answering]",
        "for begin, end, label, _ in marks_of(words, own):",
        "    print(label, text[begin:end])",
    ]
    return Snippet("\n".join(load), "\n".join(ask))


def cloze(source: Source, kept: dict[str, Any]) -> Snippet:
    """A model that fills a slot with a label's word, and one text put to it.

    kept: what `cloze.json` holds. Of a masked model the head lies in a file of its own, beside its body's.
    """
    repo = json.dumps(source.repo)
    imports, lines = _loading(source, "AutoModel" if kept["masked"] else "AutoModelForCausalLM")
    ours = ["import json", "from pathlib import Path", "import torch", "from huggingface_hub import hf_hub_download"]
    asked = "logits = at_places(model(input_ids=ids).logits, places)"
    if kept["masked"]:
        ours += _HEADS_IMPORTS
        lines = [*lines, *_with_head(source)]
        asked = "logits = model(ids, mask, places)"
    load = [
        *ours,
        *(line for line in imports if line not in ours),
        "",
        "",
        parts.source("compute.label_scores"),
        "",
        "",
        *lines,
        f'about = json.loads(Path(hf_hub_download({repo}, "cloze.json")).read_text(encoding="utf-8"))',
    ]
    ask = [
        "def read(ids, mask, places):",
        f"    {asked}",
        "    return logits",
        "",
        "",
        "def words(text, before=''):",
        "    found = [tokenizer(one, add_special_tokens=False).input_ids for one in (before, before + text)]",
        "    return found[1][len(found[0]) :]",
        "",
        "",
        'text = "Write a text here."',
        "begin, end = about['frame']",
        "total = 0.0",
        "for (left, right), slot in zip(about['templates'], about['slots']):",
        "    left, right = words(left.replace('{text}', text)), words(right.replace('{text}', text), '.')",
        "    ids = torch.tensor([[*begin, *left, *right, *end]])",
        '    rows = {"ids": ids, "mask": torch.ones_like(ids), "slots": torch.tensor([len(begin) + len(left)])}',
        "    with torch.no_grad():",
        "        scores = label_scores(read, rows, slot, about['length_normalised'])",
        "    total = total + scores.log_softmax(-1)",
        "print(about['labels'][total.argmax()])",
    ]
    return Snippet("\n".join(load), "\n".join(ask))


def masked(source: Source) -> Snippet:
    """A model that guesses hidden words, and one text put to it. Where it is not whole, its head lies beside it."""
    ask = [
        'text = f"A sentence with one {tokenizer.mask_token} that is hidden."',
        'batch = tokenizer(text, return_tensors="pt")',
        "places = (batch.input_ids == tokenizer.mask_token_id).nonzero()[:, 1][None]",
        "with torch.no_grad():",
    ]
    end = "print([tokenizer.decode(word) for word in logits[0, 0].topk(5).indices])"
    if source.form == "whole":
        imports, lines = _loading(source, "AutoModelForMaskedLM")
        asked = "    logits = model(**batch).logits[:, places[0]]"
        return Snippet("\n".join(["import torch", *imports, *lines]), "\n".join([*ask, asked, end]))
    imports, lines = _loading(source, "AutoModel")
    ours = ["import torch", "from huggingface_hub import hf_hub_download", *_HEADS_IMPORTS]
    load = [
        *ours,
        *(line for line in imports if line not in ours),
        "",
        "",
        parts.source("compute.label_scores"),
        "",
        "",
        *lines,
        *_with_head(source),
        "model = model.eval()",
    ]
    asked = "    logits = model(batch.input_ids, batch.attention_mask, places)"
    return Snippet("\n".join(load), "\n".join([*ask, asked, end]))


_HEADS_IMPORTS = ["from safetensors.torch import load_file", "from transformers import AutoModelForMaskedLM"]


def _with_head(source: Source) -> list[str]:
    """Lines that put the head beside the body, `model`."""
    repo = json.dumps(source.repo)
    begun = repo if source.form == "whole" else json.dumps(source.base, ensure_ascii=False)
    return [
        f"body, model = model, Masked(AutoModelForMaskedLM.from_pretrained({begun}))",
        f'head = load_file(hf_hub_download({repo}, "{parts.LANGUAGE_HEAD}"))',
        "model.language_head.load_state_dict(head, strict=False)",
        "model.backbone = body",
        "model.tie()",
    ]


def fitted(source: Source, kept: dict[str, Any], max_tokens: int) -> Snippet:
    """A base model with a classifier that was fitted to its features, and one text put to it.

    kept: what `classifier.json` holds.
    """
    repo = json.dumps(source.repo)
    imports, lines = _loading(source, "AutoModel")
    load = [
        "import json",
        "from pathlib import Path",
        "import numpy as np",
        "from huggingface_hub import hf_hub_download",
        "from safetensors.numpy import load_file",
        *imports,
        *lines,
        f'head = load_file(hf_hub_download({repo}, "head.safetensors"))',
        f'about = Path(hf_hub_download({repo}, "classifier.json"))',
        'labels = json.loads(about.read_text(encoding="utf-8"))["labels"]',
        "",
        "",
        heads.source(kept["form"]),
    ]
    top, count = int(kept["layer"]), int(kept["layers"])
    pair = kept.get("pair")
    given = _GIVEN if pair and pair["told_apart"] else "ids"
    hidden = f"hidden = model({given}).last_hidden_state.float()"
    if (top, count) != (1, 1):
        every = [f"every = model({given}, output_hidden_states=True).hidden_states"]
        places = ", ".join(f"every[-{place}]" for place in range(top, top + count))
        hidden = "\n".join([*every, f"hidden = sum(layer.float() for layer in [{places}]) / {count}"])
    ask = [
        *_read(max_tokens, kept),
        hidden,
        f"features = {_POOLED.get(kept['pooling'], _MEAN)}.detach().numpy()",
        f"scores = {kept['form']}(head, features)",
        "print(labels[scores.argmax()])",
    ]
    return Snippet("\n".join(load).strip(), "\n".join(ask))


_GIVEN = "input_ids=ids, token_type_ids=kinds"


def _of_task(tasks: list[dict[str, Any]]) -> list[str]:
    """Lines that say as one of which data sets a text is asked, where that matters."""
    if not tasks:
        return []
    named = ", ".join(f"{number}: {json.dumps(one['name'], ensure_ascii=False)}" for number, one in enumerate(tasks))
    return [f"task = 0  # which data set the text is like: {named}"]


def _before(tasks: list[dict[str, Any]]) -> str:
    """What is put before a text, as the beginning of an expression."""
    texts = [one["before"] for one in tasks]
    return f"{json.dumps(texts, ensure_ascii=False)}[task] + " if any(texts) else ""


def _own_labels(tasks: list[dict[str, Any]]) -> list[str]:
    """Lines that leave the scores and labels of the chosen data set, where each has labels of its own."""
    if not any(one["first"] for one in tasks):
        return []
    spans = [(one["first"], one["first"] + one["labels"]) for one in tasks]
    return [f"first, end = {spans}[task]", "scores, labels = scores[:, first:end], labels[first:end]"]


def _read(max_tokens: int, kept: dict[str, Any]) -> list[str]:
    """Lines that make `ids` of a text, or of two with their `kinds`, as the run read them."""
    pair, tasks = kept.get("pair"), kept.get("tasks") or []
    if not pair:
        return [
            *_of_task(tasks),
            f'text = {_before(tasks)}"Write a text here."',
            f'ids = tokenizer(text, truncation=True, max_length={max_tokens}, return_tensors="pt").input_ids',
        ]
    return [
        "import torch",
        "",
        "",
        parts.source("texts.pair_tokens"),
        "",
        "",
        *_of_task(tasks),
        f'texts = {_before(tasks)}"Write the first text here.", "And the second here."',
        "first, second = (tokenizer(text, add_special_tokens=False).input_ids for text in texts)",
        f"ids, kinds = together(first, second, {pair['frame']}, {pair['kinds']}, {max_tokens})",
        "ids, kinds = torch.tensor([ids]), torch.tensor([kinds])",
    ]


def _loading(source: Source, kind: str) -> tuple[list[str], list[str]]:
    """Imports, and the lines that make `model` and `tokenizer`."""
    repo, base = json.dumps(source.repo), json.dumps(source.base, ensure_ascii=False)
    tokenizer = f"tokenizer = AutoTokenizer.from_pretrained({repo})"
    both = f"from transformers import {kind}, AutoTokenizer"
    if source.form == "whole":
        return [both], [f"model = {kind}.from_pretrained({repo})", tokenizer]
    if source.form == "beside":
        return [both], [f"model = {kind}.from_pretrained({base})", tokenizer]
    if source.form == "changed":
        changed = f'load_file(hf_hub_download({repo}, "{CHANGED_FILE}"))'
        return (
            ["from huggingface_hub import hf_hub_download", "from safetensors.torch import load_file", both],
            [
                f"model = {kind}.from_pretrained({base})",
                f"model.load_state_dict({changed}, strict=False)",
                tokenizer,
            ],
        )
    if source.form == "attached":
        return _attaching(source, [f"model = {kind}.from_pretrained({base})"], both, tokenizer)
    if source.on_hub:
        imports = [f"from peft import {_PEFT[kind]}", "from transformers import AutoTokenizer"]
        return imports, [f"model = {_PEFT[kind]}.from_pretrained({repo})", tokenizer]
    model = f"model = PeftModel.from_pretrained({kind}.from_pretrained({base}), {repo})"
    return ["from peft import PeftModel", both], [model, tokenizer]


def _attaching(source: Source, model: list[str], imports: str, tokenizer: str) -> tuple[list[str], list[str]]:
    """A part of our own is put in place by the code that did it in training."""
    repo = json.dumps(source.repo)
    config = f'hf_hub_download({repo}, "{parts.config_file(source.part)}")'
    weights = f'hf_hub_download({repo}, "{parts.weights_file(source.part)}")'
    return (
        [
            "import json",
            "from huggingface_hub import hf_hub_download",
            "from safetensors.torch import load_file",
            imports,
        ],
        [
            parts.source(f"compute.{source.part}") + "\n\n",
            *model,
            f"attach(model, json.load(open({config})))",
            f"model.load_state_dict(load_file({weights}), strict=False)",
            *_choosing(source.tasks),
            tokenizer,
        ],
    )


def _choosing(tasks: tuple[str, ...]) -> list[str]:
    """The line that says which task answers, where there are several."""
    named = ", ".join(f"{number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(tasks))
    return [f"model.soft_prompt.tasks = [0]  # the task that answers: {named}"] if tasks else []
