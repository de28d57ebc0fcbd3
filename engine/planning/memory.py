"""Will it fit? Predicted peak memory of a run, by part, from the model's shapes alone. Needs no torch.

What is exact: weights, trained copies, gradients and AdamW's two moments follow from parameter counts.

What is counted: the numbers that autograd keeps for the backward pass. For a layer whose linear modules have
outputs O and inputs I in all, and a residual stream of width h, a token keeps

    (O + I - 2h) numbers in the computing format   inputs and outputs of the products, and of what lies between
    2h numbers in float32 (4h where norms learn)   what layer norms keep
    3h more in the computing format                casts of a float32 stream, where full models learn in 16 bits

(2h and the widest input fewer where linear layers stay as they are and nothing beside them reads what they read). What
a tuner's own work adds, each tuner declares (`Kept`); `tests/engine/compute/test_kept.py` counts it again.

Attention keeps nothing that grows with the square of the length, but where dropout falls on its weights: then the
CPU's kernels keep three float32 matrices (tokens x tokens) for each head. The language head's product is made for
learned positions only: their scores, the softmax and its gradient are 12 bytes a position and word.

What is measured: memory that the process holds but has no use for. The CPU's allocator does not give back what lies
between live tensors (blocks above 32 MB it does). Factors and constants below are from `benchmarks/memory_probe.py`, a
plain loop, and `benchmarks/memory.py`, real workers with every tuner (SmolLM2-135M and MiniLM, glibc 2.36, torch 2.13).
Both print prediction and measurement side by side; tests hold predictions to what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from engine.bases.architecture import attention_dropout, first
from engine.bases.models import ModelFacts
from engine.planning.plan import MemoryPart

MB = 1_000_000
WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
STORED_WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}

PROGRAM = {"cpu": 650 * MB, "mps": 650 * MB, "cuda": 700 * MB}
"""Python with torch, transformers, peft and trl (545 MB), and what kernels prepare for each new shape of a batch; on a
GPU its context and the libraries' workspaces."""
HELD = {
    ("float32", "alone"): 1.5,
    ("float32", "additions"): 2.0,
    ("float32", "base"): 1.45,
    ("float32", "base, accumulating"): 1.95,
    ("bfloat16", "alone"): 1.75,
    ("bfloat16", "additions"): 1.95,
    ("bfloat16", "base"): 1.65,
    ("bfloat16", "base, accumulating"): 1.7,
}
"""CPU: held memory over counted, by computing format and by what learns. Gradients of a whole base fill the gaps that
activations leave, unless they wait for the next micro-batch."""
HELD_FAST = 2.0
"""The same on the fast path."""
HELD_OWN = 1.2
"""The same in float32 for what additions keep of their own for each token: of DoRA as much as of the layers."""
HELD_ATTENTION = 1.4
"""The same for attention's matrices, where they are not given back at once."""
GIVEN_BACK = 32 << 20
"""Bytes of a block from which on it is."""
HELD_LARGE = 1.1
"""The same for blocks that are given back at once, for what tuners build to the same size in each step, for GPUs."""
RECOMPUTED_LAYERS = 2
"""With checkpointing, how many layers' worth of numbers is held at the peak. On the CPU the allocator then gives back
everything at once (`compute.allocator`); left as it is, it would hold ten layers' worth and more."""
SHORT_ROWS = 192
"""Tokens of a row up to which `engine.compute.short_rows` computes attention's gradients."""
TEACHER = "Teacher"
"""The part that is another model, which is read while one learns."""
SCORE_BYTES = 12
SCORES_AT_ONCE, LEAST_POSITIONS = 256 * MB, 128
"""Bytes of scores in float32 that are made at once, and at least at how many positions."""
FEATURE_BYTES = 28
"""Of each feature of each row while a classifier is fitted: as it is, the part without a fold, scaled, in float64."""
SCORED_ROWS = 32
SCORED_TOKENS = 8192
"""Most rows and tokens, answers included, that are answered at once when held-out rows are scored."""
ANSWER_TOKENS = 128


@dataclass(frozen=True)
class Kept:
    """What a tuner's own work makes a process hold besides the weights that learn, their gradients and moments."""

    linears: Literal["alone", "beside", "read", "learning"] = "alone"
    """Linear layers stay as they are, alone; something is computed beside them; it needs what they read in the backward
    pass, too; or they learn themselves, with all else."""
    layers: int | None = None
    """In how many layers, from the top, anything is kept for the backward pass; None: in all."""
    token: float = 0.0
    """Bytes for each token until the backward pass, over all layers."""
    step: float = 0.0
    """Bytes until the backward pass, however many tokens there are, over all layers."""
    always: float = 0.0
    """Bytes from the beginning to the end."""


@dataclass(frozen=True)
class Work:
    """What is computed at once, as far as memory depends on it."""

    facts: ModelFacts
    device: Literal["cpu", "cuda", "mps"]
    compute: str
    weights: str
    """Format of weights that don't learn: "float32", "bfloat16", "float16", "8bit" or "4bit"."""
    trained: int
    """Parameters that learn."""
    trains_base: bool
    checkpointing: bool
    rows: int
    tokens: int
    """In a micro-batch, padding included."""
    longest: int
    """Of all rows, in tokens."""
    learned: int
    """Learned positions in a micro-batch that the language head scores; 0 without a language head."""
    generates: bool
    """Whether held-out rows are answered in words."""
    scored: int = 10**9
    """Most held-out rows that are answered."""
    writes: int = 0
    """Rows of an update whose answers the model writes itself before it, at most."""
    accumulates: bool = False
    """Whether gradients of one micro-batch wait for the next."""
    frozen: int = 0
    """Parameters that are added and don't learn."""
    kept: Kept = Kept("read")
    moments: int | None = None
    """Bytes of the optimizer's averages; None: two in float32 of each parameter that learns."""
    score_bytes: int = SCORE_BYTES
    """Of each learned position and word."""
    level: int | None = None
    """Of recomputing on the fast path (`engine.planning.paths`); None on the generic one."""
    beside: ModelFacts | None = None
    """Another model that is read while this one learns."""
    beside_each_step: bool = True
    """Whether it stays to the end; else it is gone before the first step."""


def predict(work: Work) -> list[MemoryPart]:
    """Parts of the peak, in bytes; they add up to it."""
    additions = int(4 * work.frozen + (0 if work.trains_base else 4 * work.trained) + work.kept.always)
    moments = 8 * work.trained if work.moments is None else work.moments
    gradients = 4 * work.trained
    activations = _activations(work)
    scores = work.score_bytes * work.learned * work.facts.vocabulary
    # Training, scoring and loading follow each other: the later two count as far as they go beyond the first.
    stepping = gradients + activations + scores
    beside = _beside(work, additions + moments + stepping)
    scoring = max(0, _answering(work) - stepping)
    loading = max(0, _loading(work) - additions - moments - stepping - scoring)
    parts = [
        MemoryPart("Program", PROGRAM[work.device]),
        MemoryPart("Weights", _weights(work)),
        MemoryPart(TEACHER, beside),
        MemoryPart("Trained additions", additions),
        MemoryPart("Optimizer", moments),
        MemoryPart("Gradients", gradients),
        MemoryPart("Activations", activations),
        MemoryPart("Scores of words", scores),
        MemoryPart("Scoring", scoring),
        MemoryPart("Loading", loading),
    ]
    return [part for part in parts if part.bytes > 0]


def reading(work: Work, all_rows: int, held_layers: int) -> list[MemoryPart]:
    """Parts of the peak where rows are read and nothing is kept for a backward pass; they add up to it.

    all_rows: whose features are held at the end; held_layers: whose outputs are held while rows are read.
    """
    numbers = (4 if work.device == "cuda" else 8) * WIDTH[work.compute]
    activations = work.tokens * (numbers * _widest(work) + 4 * work.facts.hidden * (held_layers + 2))
    features = FEATURE_BYTES * all_rows * work.facts.hidden
    parts = [
        MemoryPart("Program", PROGRAM[work.device]),
        MemoryPart("Weights", _weights(work)),
        MemoryPart("Activations", activations),
        MemoryPart("Features", features),
        MemoryPart("Scoring", max(0, _answering(work) - activations - features)),
        MemoryPart("Loading", max(0, _loading(work) - activations - features)),
    ]
    return [part for part in parts if part.bytes > 0]


def rows_at_once(longest: int) -> int:
    """How many held-out rows are answered at once, the longest of which has this many tokens, its answer included."""
    return max(1, min(SCORED_ROWS, SCORED_TOKENS // max(1, longest)))


def positions_at_once(vocabulary: int) -> int:
    """At how many positions words are scored at once, where that can be done in parts."""
    return max(LEAST_POSITIONS, SCORES_AT_ONCE // (4 * max(1, vocabulary)))


def _parameters(work: Work) -> int:
    return work.facts.parameters if work.generates or work.learned else work.facts.backbone_parameters


def _weights(work: Work) -> int:
    """Bytes of the base weights: float32 where they learn."""
    count = _parameters(work)
    if work.trains_base:
        return 4 * work.trained + WIDTH.get(work.weights, 4) * max(0, count - work.trained)
    if work.weights in WIDTH:
        return WIDTH[work.weights] * count
    linear = sum(outputs * inputs for outputs, inputs in work.facts.linears.values())
    # 4bit: half a byte, and a quantised scale for each block of 64 (0.127 bits a parameter).
    each = 1.0 if work.weights == "8bit" else 0.516
    return int(linear * each) + WIDTH[work.compute] * max(0, count - linear)


def _activations(work: Work) -> int:
    if work.level is not None:
        return _on_fast_path(work, work.level)
    facts, kept, width = work.facts, work.kept, WIDTH[work.compute]
    every = max(1, facts.layers)
    layers = min(every, kept.layers if kept.layers is not None else every)
    linear, own = work.tokens * layer_token_bytes(work), work.tokens * kept.token / max(1, layers)
    step = kept.step / max(1, layers)
    attention, stream = _attention(work), work.tokens * facts.hidden * width
    copies = _copies(work)
    if work.checkpointing:
        at_once = min(layers, RECOMPUTED_LAYERS)
        return int(HELD_LARGE * stream * layers + at_once * (linear + own + step + attention) + copies)
    held = _held(work)
    held_own = HELD_OWN if width == 4 and kept.linears in ("beside", "read") and work.device != "cuda" else held
    return int(layers * (held * linear + held_own * own + HELD_LARGE * step + attention) + copies)


def _on_fast_path(work: Work, level: int) -> int:
    """What `engine.compute.fast` keeps for the backward pass, and of one layer while its gradients are made."""
    facts, width = work.facts, WIDTH[work.compute]
    layers, hidden, inner = max(1, facts.layers), facts.hidden, first(facts.config, "intermediate_size")
    heads = first(facts.config, "num_attention_heads")
    groups, size = first(facts.config, "num_key_value_heads") or heads, first(facts.config, "head_dim")
    size = size or hidden // max(1, heads)
    out, three = heads * size, (heads + 2 * groups) * size
    narrow = work.kept.token / layers
    # torch's usual attention, which all but the GPU's and that of short rows in bfloat16 is, keeps what it was given.
    by_torch = work.device != "cuda" and (width == 4 or work.longest > SHORT_ROWS)
    kept_at = [
        width * 2 * inner,
        width * three,
        width * out + (width * three if by_torch else 0),
        width * hidden + narrow,
    ]
    each = width * hidden + sum(kept_at[level:])
    at_work = sum(kept_at[:level]) + width * (3 * inner + 2 * three + 2 * hidden) + 4 * 3 * hidden
    held = HELD_LARGE if work.device == "cuda" else HELD_FAST
    unpacked = 0
    if work.weights == "4bit":  # each product's weights in turn, in rooms that layers share
        unpacked = width * sum(outputs * inputs for outputs, inputs in facts.linears.values()) // layers
    return int(held * work.tokens * (layers * each + at_work) + _copies(work) + unpacked)


def layer_token_bytes(work: Work) -> float:
    """That a layer keeps of each token for the backward pass, but for a tuner's own work and attention's matrices."""
    facts, linears, width = work.facts, work.kept.linears, WIDTH[work.compute]
    layers, hidden = max(1, facts.layers), facts.hidden
    numbers = sum(map(sum, facts.linears.values())) / layers - 2 * hidden
    if linears in ("alone", "beside"):
        numbers -= 2 * hidden + max((inputs for _, inputs in facts.linears.values()), default=0)
    if linears == "learning" and width == 2:
        numbers += 3 * hidden
    return width * max(0.0, numbers) + 4 * (4 if linears == "learning" else 2) * hidden


def _held(work: Work) -> float:
    if work.device == "cuda":
        return HELD_LARGE
    learns = "base" if work.trains_base else "alone" if work.kept.linears == "alone" else "additions"
    if work.trains_base and work.accumulates:
        learns = "base, accumulating"
    return HELD[("float32" if WIDTH[work.compute] == 4 else "bfloat16", learns)]


def _attention(work: Work) -> float:
    """Bytes of the tokens x tokens matrices that a layer keeps, with what is held beside."""
    if work.device == "cuda":
        return 0.0
    found = attention_matrices(work.facts) * work.tokens * work.longest
    # Three of them in float32, each of all rows and heads.
    return found * (HELD_LARGE if found / 3 >= GIVEN_BACK else HELD_ATTENTION)


def attention_matrices(facts: ModelFacts) -> float:
    """Bytes that a layer keeps for each pair of a token and one that it looks at, on the CPU."""
    if not attention_dropout(facts.config):
        return 0.0
    return 3 * 4.0 * first(facts.config, "num_attention_heads", "n_head", "n_heads")


def _copies(work: Work) -> int:
    """Autocast keeps a 16-bit copy of every float32 matrix in use."""
    if WIDTH[work.compute] == 4:
        return 0
    if not work.trains_base and work.weights != "float32":
        return 2 * WIDTH[work.compute] * work.trained
    return WIDTH[work.compute] * _parameters(work)


def _answering(work: Work) -> int:
    """Bytes for answering held-out rows: keys and values of every token, one layer at work, the language head."""
    facts, width = work.facts, WIDTH[work.compute]
    if not work.generates:
        return 0
    heads = first(facts.config, "num_attention_heads", "n_head", "n_heads") or 1
    groups = first(facts.config, "num_key_value_heads") or heads
    size = first(facts.config, "head_dim") or facts.hidden // heads
    longest = work.longest + ANSWER_TOKENS
    rows = min(max(work.scored, work.writes), rows_at_once(longest))
    cache = 2 * facts.layers * groups * size * width
    layer = _layer_bytes(work)
    head = facts.vocabulary * (2 * facts.hidden * width + min(work.scored, SCORED_ROWS) * 3 * 4)
    return int(rows * longest * (HELD_LARGE * cache + layer) + head)


def _beside(work: Work, later: int) -> int:
    """Bytes of the model that is read beside, as the arithmetic has it, with one of its layers at work.

    It is scored first, before anything learns. later: bytes of what is there only then.
    """
    if work.beside is None:
        return 0
    own = replace(work, facts=work.beside, weights=work.compute, trained=0, trains_base=False, beside=None)
    weights, reading = _weights(own), work.tokens * _layer_bytes(own)
    first = weights + max(reading + SCORE_BYTES * work.learned * work.beside.vocabulary, _answering(own))
    return max(weights + reading if work.beside_each_step else 0, first - later)


def _layer_bytes(work: Work) -> int:
    """Of one layer at work, for each token, where no gradients are wanted."""
    numbers = 4 * WIDTH[work.compute] if work.device == "cuda" else 8 * 4
    return numbers * _widest(work)


def _widest(work: Work) -> int:
    """Most outputs of a linear layer."""
    return max((outputs for outputs, _ in work.facts.linears.values()), default=0)


def _loading(work: Work) -> int:
    """While weights are brought into another format, the file's pages are held, too."""
    if work.device == "cuda":
        return 0
    stored = sum(STORED_WIDTH.get(info.dtype, 4) * info.count for info in work.facts.tensors.values())
    same = all(STORED_WIDTH.get(info.dtype, 4) == WIDTH.get(work.weights, 0) for info in work.facts.tensors.values())
    return 0 if same else stored
