"""What the standalone script (see engine.scripts.script) holds for the objective cloze."""

SCRIPT = '''
LABELS = LABELS_HERE
TEMPLATES = TEMPLATES_HERE  # what stands before the slot and after it
LONGEST = LONGEST_HERE  # most tokens in the slot, by template
BEFORE, AFTER = FRAME_HERE  # special tokens
SLOTS = SLOTS_HERE  # what the slot is filled with; of each label, which reading, place and token score it
NORMALISED, MASKED = FLAGS_HERE


SOURCE_HERE


def load():
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    loader = AutoModelForMaskedLM if MASKED else AutoModelForCausalLM
    model = loader.from_pretrained(MODEL, dtype=WEIGHTS, attn_implementation="sdpa", **QUANTIZATION)
    return Masked(model) if MASKED else model


def after(text, before="."):
    """A text's tokens as they are after other text, and the characters that each stands for."""
    first = tokenizer(before, add_special_tokens=False)["input_ids"]
    out = tokenizer(before + text, add_special_tokens=False, return_offsets_mapping=True)
    if out["input_ids"][: len(first)] != first:  # they join
        first, before = [], ""
        out = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = out["offset_mapping"][len(first) :]
    return out["input_ids"][len(first) :], [(a - len(before), b - len(before)) for a, b in offsets]


def encode(example):
    """The row in its template, without a word in the slot; of a long row the end of the text is left out."""
    number = example["row"] % len(TEMPLATES)
    sides = []
    room = MAX_TOKENS - len(BEFORE) - len(AFTER) - LONGEST[number]
    for place, side in enumerate(TEMPLATES[number]):
        whole = side.replace("{text}", example["text"])
        out = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = (out["input_ids"], out["offset_mapping"]) if place == 0 else after(whole) if whole else ([], [])
        begin = side.find("{text}")
        inside = [begin >= 0 and begin <= a < b <= begin + len(example["text"]) for a, b in offsets]
        sides.append((ids, inside))
    excess = sum(len(ids) for ids, _ in sides) - room
    left, right = [
        [token for at, (token, own) in enumerate(zip(ids, inside)) if not own or sum(inside[at:]) > excess]
        for ids, inside in sides
    ]
    ids = BEFORE + left + right + AFTER
    return {"ids": ids, "slot": len(BEFORE + left), "template": number, "label": LABELS.index(example["label"])}


def losses(model, rows):
    """The loss of each row's label among all."""
    def ask(ids, mask, places):
        return model(ids, mask, places) if MASKED else at_places(model(input_ids=ids, use_cache=False).logits, places)

    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [PAD] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    mask = torch.tensor([[1] * len(row["ids"]) + [0] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    slots = torch.tensor([row["slot"] for row in rows], device=DEVICE)
    found, order = [], []
    for number in sorted({row["template"] for row in rows}):
        own = [place for place, row in enumerate(rows) if row["template"] == number]
        some = {"ids": ids[own], "mask": mask[own], "slots": slots[own]}
        found.append(label_scores(ask, some, SLOTS[number], NORMALISED))
        order += own
    labels = torch.tensor([rows[place]["label"] for place in order], device=DEVICE)
    return torch.nn.functional.cross_entropy(torch.cat(found), labels, reduction="none")


def positions(row):
    return 1
'''
