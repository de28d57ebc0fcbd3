"""What the standalone script (see engine.scripts.script) holds for the objectives distill and distill-labels."""

from engine.bases import parts

SCRIPT = '''
TEACHER = sys.argv[2] if len(sys.argv) > 2 else TEACHER_HERE  # a Hub id or a folder
DIVERGENCE, TEMPERATURE, DATA_WEIGHT = CHOICES_HERE
WORDS = WORDS_HERE  # that both models score
teaching = []


SOURCE_HERE


def teacher():
    """Loaded once; it never learns."""
    if not teaching:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(TEACHER, dtype=COMPUTE, attn_implementation="sdpa")
        teaching.append(model.to(DEVICE).requires_grad_(False).eval())
    return teaching[0]


def losses(model, rows):
    """Of each learned token: how far the model's words are from the teacher's, and the loss of the expected one."""
    longest = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [PAD] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    labels = torch.tensor([row["labels"] + [-100] * (longest - len(row["ids"])) for row in rows], device=DEVICE)
    learned = labels[:, 1:] != -100
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1][learned].float()
    expected = torch.nn.functional.cross_entropy(logits, labels[:, 1:][learned], reduction="none")
    with torch.no_grad():
        theirs = softened(teacher()(input_ids=ids, use_cache=False).logits[:, :-1][learned], WORDS, TEMPERATURE)
    apart = divergence(DIVERGENCE, softened(logits, WORDS, TEMPERATURE), theirs)
    return DATA_WEIGHT * expected + (1 - DATA_WEIGHT) * TEMPERATURE**2 * apart


def positions(row):
    return sum(label != -100 for label in row["labels"][1:])
'''

_ENCODE = '''
TOP_K = TOP_K_HERE  # words of the teacher that are kept at each learned place
encode_alone, load_alone = encode, load


def encode(example):
    """With what the teacher finds likeliest; the divergence goes over these words and all others together."""
    row = encode_alone(example)
    ids = torch.tensor([row["ids"]], device=DEVICE)
    learned = torch.tensor([row["labels"]], device=DEVICE)[:, 1:] != -100
    with torch.no_grad():
        logits = teacher()(input_ids=ids, use_cache=False).logits[:, :-1][learned]
        row["top"] = largest(logits, WORDS, TEMPERATURE, TOP_K)
    return row


def load():
    """The teacher has read all rows by now, and goes."""
    teaching.clear()
    return load_alone()


def losses('''
_ASKED = """\
    with torch.no_grad():
        theirs = softened(teacher()(input_ids=ids, use_cache=False).logits[:, :-1][learned], WORDS, TEMPERATURE)
    apart = divergence(DIVERGENCE, softened(logits, WORDS, TEMPERATURE), theirs)
"""
_KEPT = """\
    words, theirs = (torch.cat(parts) for parts in zip(*(row["top"] for row in rows)))
    apart = divergence(DIVERGENCE, bucketed(logits, WORDS, TEMPERATURE, words), theirs)
"""
KEPT = SCRIPT.replace("def losses(", _ENCODE.lstrip("\n"), 1).replace(_ASKED, _KEPT)
"""The same where the teacher reads the rows before training, and is gone by then."""

ALIGNED = "aligned.json"
"""In the folder for what a script begins with: the teacher's tokens of each row, and where both tokenizers agree."""
_READ = '''
ALIGNED = json.loads((HERE / ALIGNED_HERE).read_text(encoding="utf-8"))["rows"]  # the teacher's tokens, row by row
encode_alone = encode


def encode(example):
    """With the teacher's tokens, and the places at which both go on from the same text."""
    return {**encode_alone(example), **ALIGNED.pop(0)}


def marked(rows, ids, places):
    """Token ids, (rows, tokens), and where of them the places are."""
    longest = max(len(row[ids]) for row in rows)
    found = torch.tensor([row[ids] + [PAD] * (longest - len(row[ids])) for row in rows], device=DEVICE)
    at = torch.zeros_like(found, dtype=torch.bool)
    for index, row in enumerate(rows):
        at[index, row[places]] = True
    return found, at[:, 1:]


def losses('''
_SORTED = """\
    aligned = marked(rows, "ids", "places")[1][learned]
    their_ids, there = marked(rows, "their_ids", "their_places")
    with torch.no_grad():
        theirs = teacher()(input_ids=their_ids, use_cache=False).logits[:, :-1][there]
    apart = torch.zeros_like(expected)
    apart[aligned] = sorted_distance(logits[aligned], theirs, TEMPERATURE)
"""
ACROSS = (
    SCRIPT.replace("def losses(", _READ.lstrip("\n"), 1)
    .replace(_ASKED, _SORTED)
    .replace("(1 - DATA_WEIGHT) * TEMPERATURE**2", "(1 - DATA_WEIGHT) * TEMPERATURE")
)
"""The same where the teacher's tokenizer is another one."""

_OWN = '''

GENERATION_HERE


OWN_HERE


WRITING = WRITING_HERE
TASK_HERE

def written(model, rows, step):
    """The rows of an update, some with an answer that the model has just written to them."""
    with torch.autocast(DEVICE, dtype=COMPUTE) if COMPUTE != torch.float32 else nullcontext():
        found = rewritten(
            model,
            [(row["ids"], row["labels"]) for row in rows],
            WRITING,
            WRITING.seed(SEED, step),
            [row.get("task", 0) for row in rows],
            TELL_HERE,
        )
    own = {place: {"ids": ids, "labels": labels, "own": True} for place, (ids, labels) in found.items()}
    return [row | own.get(place, {}) for place, row in enumerate(rows)]
'''
_TASK = """
encode_alone = encode


def encode(example):
    return {**encode_alone(example), "task": max(0, example["source"])}

"""
_WEIGHED = "return DATA_WEIGHT * expected + (1 - DATA_WEIGHT) * TEMPERATURE**2 * apart\n"
_OWN_WEIGHED = """\
own = [row.get("own", False) for row in rows for label in row["labels"][1:] if label != -100]
    expecting = torch.where(torch.tensor(own, device=DEVICE), 0.0, DATA_WEIGHT)  # nothing of what the model wrote
    return expecting * expected + (1 - expecting) * TEMPERATURE**2 * apart
"""


def own_answers(script: str, writing: str, tells_apart: bool) -> str:
    """The script where the model writes answers itself. writing: how, as source; tells_apart: of which task each is."""
    text = _OWN.replace("GENERATION_HERE", parts.source("compute.generation"))
    text = text.replace("OWN_HERE", parts.source("compute.own_answers")).replace("WRITING_HERE", writing)
    tell = "lambda task: tell(getattr(model, 'backbone', model), [task])" if tells_apart else "lambda task: None"
    text = text.replace("TASK_HERE", _TASK if tells_apart else "").replace("TELL_HERE", tell)
    return script.replace(_WEIGHED, _OWN_WEIGHED) + text


STATES = '''
TEACHER = sys.argv[2] if len(sys.argv) > 2 else TEACHER_HERE  # a Hub id or a folder; of a run its export in one piece
TEACHER_WIDTH, HIDDEN_WEIGHT, HIDDEN_LAYERS = STATES_HERE
load_alone = load
teaching = []


SOURCE_HERE


def load():
    """With a projection of hidden states to the teacher's width, which learns."""
    model = load_alone()
    own = model.backbone.config.get_text_config().hidden_size
    if own != TEACHER_WIDTH:
        model.projection = torch.nn.Linear(own, TEACHER_WIDTH, bias=False)
        generator = torch.Generator().manual_seed(SEED)
        torch.nn.init.normal_(model.projection.weight, 0.0, own**-0.5, generator=generator)
    return model


def head_of(model):
    """Parameters that learn besides what the tuner chose."""
    return [*model.head.parameters(), *(model.projection.parameters() if hasattr(model, "projection") else [])]


def teacher():
    """Loaded once, without its head; it never learns."""
    if not teaching:
        from transformers import AutoModel

        model = AutoModel.from_pretrained(TEACHER, dtype=COMPUTE, attn_implementation="sdpa")
        teaching.append(model.to(DEVICE).requires_grad_(False).eval())
    return teaching[0]


del losses  # without hidden states


def losses(model, rows):
    """The same, and how far the model's hidden states are from the teacher's."""
    ids, mask, kinds = as_batch(rows)
    read = model.backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True, **kinds)
    kinds = kinds if (getattr(teacher().config, "type_vocab_size", None) or 0) > 1 else {}
    with torch.no_grad():
        theirs = teacher()(input_ids=ids, attention_mask=mask, output_hidden_states=True, **kinds).hidden_states
    project = getattr(model, "projection", torch.nn.Identity())
    inside = hidden_distance(read.hidden_states, theirs, mask, HIDDEN_LAYERS, project)
    return of_scores(model.told(read.last_hidden_state.float(), mask).float(), rows) + HIDDEN_WEIGHT * inside
'''
"""What stands after the losses of labels where hidden states are learned, too."""
