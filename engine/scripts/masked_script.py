"""What the standalone script (see engine.scripts.script) holds for hidden words."""

from __future__ import annotations

from engine.bases import lineage, parts
from engine.methods.job import Job

SCRIPT = '''
SHARE, WHOLE_WORDS = SHARE_HERE, WHOLE_HERE
SPECIAL = SPECIAL_HERE  # tokens that are never hidden
VOCABULARY = VOCABULARY_HERE


SOURCE_HERE


MASKING_HERE


def load():
    from transformers import AutoConfig, AutoModelForMaskedLM

    config = AutoConfig.from_pretrained(MODEL)
    NEW_HERE
    torch.manual_seed(SEED)
    model = AutoModelForMaskedLM.from_pretrained(
        MODEL, config=config, dtype=WEIGHTS, attn_implementation="sdpa", **QUANTIZATION
    )
    return Masked(model)


def head_of(model):
    """Parameters of the head that learn, which are none where it is the model's own."""
    return list(own(model).values()) if HEAD_LEARNS_HERE else []


def own(model):
    """All of the head's parameters but for the word embeddings that it shares with the body."""
    shared = {id(p) for p in model.backbone.parameters()}
    return {name: p for name, p in model.language_head.named_parameters() if id(p) not in shared}


def encode(example):
    """Token ids, and of each the number of its word; -1 for those that are never hidden."""
    out = tokenizer(example["text"], truncation=True, max_length=MAX_TOKENS)
    words = [-1 if word is None or token in SPECIAL else word for token, word in zip(out["input_ids"], out.word_ids())]
    return {"ids": out["input_ids"], "words": words}


def drawn(row, epoch):
    """The row with the tokens hidden that are to be guessed in this pass."""
    chance = draw(SEED, epoch, *row["ids"])
    at = places(row["words"], SHARE, WHOLE_WORDS, chance)
    read = hidden(row["ids"], at, tokenizer.mask_token_id, VOCABULARY, SPECIAL, chance)
    return {**row, "read": read, "at": at}


def losses(model, rows):
    """The loss of each hidden token."""
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["read"] + [PAD] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    mask = torch.tensor([[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    labels = torch.full_like(ids, -100)
    for number, row in enumerate(rows):
        for place in row["at"]:
            labels[number, place] = row["ids"][place]
    made = model.backbone(input_ids=ids, attention_mask=mask).last_hidden_state[labels != -100]
    scores = model.scores(made[None])[0].float()
    return torch.nn.functional.cross_entropy(scores, labels[labels != -100], reduction="none")


def positions(row):
    return len(row["at"])


def keep(model):
    """The head goes beside what learned."""
    from safetensors.torch import save_file

    save_file({name: p.detach().contiguous() for name, p in own(model).items()}, "result/LANGUAGE_HEAD_HERE")
'''

TAKEN_UP = """

begin_head = load


def load():
    from safetensors.torch import load_file

    model = begin_head()
    model.language_head.load_state_dict(load_file(HERE / "START_HERE/LANGUAGE_HEAD_HERE"), strict=False)
    return model
"""


def script(job: Job) -> str:
    settings = job.objective_settings
    begun = starts_with_head(job)
    new = settings.new_head or begun
    values = {
        "SHARE_HERE": repr(settings.masked_share),
        "WHOLE_HERE": repr(settings.whole_words),
        "SPECIAL_HERE": repr(set(job.tokens.special_ids)),
        "VOCABULARY_HERE": repr(words_of(job)),
        "NEW_HERE": "config.tie_word_embeddings = True" if new else "",
        "HEAD_LEARNS_HERE": repr(settings.new_head or lineage.head_learned(job.start if job.goes_on else None)),
        "START_HERE": parts.START,
        "LANGUAGE_HEAD_HERE": parts.LANGUAGE_HEAD,
    }
    text = SCRIPT.replace("SOURCE_HERE", parts.source("compute.label_scores"))
    text = text.replace("MASKING_HERE", parts.source("texts.masking")) + (TAKEN_UP if begun else "")
    for name, value in values.items():
        text = text.replace(name, value)
    return text.replace("    \n", "")


def words_of(job: Job) -> int:
    """How many ids both tokenizer and model know."""
    return min(job.facts.vocabulary, max(job.tokens.vocabulary.values()) + 1)


def starts_with_head(job: Job) -> bool:
    """Whether what goes on learning has a head of its own."""
    return job.goes_on and job.start is not None and (job.start / parts.LANGUAGE_HEAD).exists()
