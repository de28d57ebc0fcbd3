"""Parts of the standalone script (see engine.scripts.script) that all objectives of causal language models share."""

LOAD = """
def load():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(MODEL, dtype=WEIGHTS, attn_implementation="sdpa", **QUANTIZATION)

"""

LOSSES = '''

def losses(model, rows):
    """The loss of each learned token. Causal models need no mask for padding on the right."""
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [PAD] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    labels = torch.tensor([row["labels"] + [-100] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    learned = labels[:, 1:] != -100
    return torch.nn.functional.cross_entropy(logits[learned].float(), labels[:, 1:][learned], reduction="none")


def positions(row):
    return sum(label != -100 for label in row["labels"][1:])
'''
