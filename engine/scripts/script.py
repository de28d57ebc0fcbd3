"""A run as one Python file that needs only the libraries, and prints the same losses."""

from __future__ import annotations

from importlib import metadata

from engine.bases import lineage, parts
from engine.methods.job import CHUNK_OF_BATCHES, Job
from engine.planning import stacking
from engine.planning.plan import Plan
from engine.scripts import fit_script, merge_script

LIBRARIES = ("torch", "transformers", "peft")

HEADER = '''"""{title}

Trains the same model on the same rows in the same order as the run {run}, without Tunesmith:

    pip install {requirements}
    python train.py [BASE_MODEL]

BASE_MODEL is a Hub id or a folder; {model} by default. {further}Beside this file lie the tokenizer and examples.jsonl.
The result goes to ./result.
"""

import json
import random
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from transformers import AutoTokenizer, get_scheduler

MODEL = sys.argv[1] if len(sys.argv) > 1 else {place}
DEVICE = {device!r}
SEED = {seed}
STEPS, BATCH, MICRO_BATCH, MAX_TOKENS = {steps}, {batch}, {micro}, {max_tokens}
LEARNING_RATE, HEAD_RATE, WEIGHT_DECAY, CLIP_NORM = {rate}, {head_rate}, {decay}, {clip}
SCHEDULE, WARMUP_STEPS = {schedule!r}, {warmup}
WEIGHTS, COMPUTE = {weights}, {compute}
QUANTIZATION = {quantization}
CHUNK_OF_BATCHES = {chunk}

HERE = Path(__file__).resolve().parent
torch.set_num_threads({threads})
tokenizer = AutoTokenizer.from_pretrained(HERE)
PAD = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
'''

LOOP = '''

MIXED_HEREdef order(lengths, rows, epoch):
    """These rows in batches of like length, mixed anew in each epoch."""
    generator = torch.Generator().manual_seed(SEED * 1_000_003 + epoch)
    rows = [rows[index] for index in torch.randperm(len(rows), generator=generator).tolist()]
    chunk = BATCH * CHUNK_OF_BATCHES
    for start in range(0, len(rows), chunk):
        rows[start : start + chunk] = sorted(rows[start : start + chunk], key=lambda row: -lengths[row])
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    tail = [batches.pop()] if len(batches[-1]) < BATCH else []
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()] + tail


HEAD_OF_HEREdef groups(model):
    """The head, which starts from nothing, learns faster; vectors (norms, biases) don't decay."""
    head = {id(p) for p in head_of(model)}
RATES_HERE    found = {}
    for p in model.parameters():
        if p.requires_grad:
            rate = (id(p) in head and HEAD_RATE) or LEARNING_RATE_HERE
            found.setdefault((rate, p.ndim >= 2), []).append(p)
    return [
        {"params": ps, "lr": rate, "weight_decay": WEIGHT_DECAY if decays else 0.0}
        for (rate, decays), ps in found.items()
    ]


def main():
    with open(HERE / "examples.jsonl", encoding="utf-8", newline="\\n") as file:
        examples = [example for example in map(json.loads, file) if example["split"] == "train"]
    data = [encode(example) for example in examples]
    model = load()
    model.requires_grad_(False)
HEAD_HERE    if hasattr(model, "backbone"):
        model.backbone = tune(model.backbone)
    else:
        model = tune(model)
    for parameter in head_of(model):
        parameter.requires_grad_(True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.to(DEVICE).train()
    optimizer = OPTIMIZER_HERE
    scheduler = get_scheduler(SCHEDULE, optimizer, WARMUP_STEPS, STEPS)
    step, epoch = 0, 0
    while step < STEPS:
        for batch in order([len(row["ids"]) for row in data], READ_HERE, epoch):
            rows = [ROW_HERE for index in batch]
WRITTEN_HERE            torch.manual_seed((SEED * 1_000_003 + step) % 2**63)
STEP_BEGINS_HERE            learned = max(1, sum(map(positions, rows)))
            total = 0.0
            for start in range(0, len(batch), MICRO_BATCH):
TELL_HERE                with torch.autocast(DEVICE, dtype=COMPUTE) if COMPUTE != torch.float32 else nullcontext():
                    found = losses(model, rows[start : start + MICRO_BATCH])
                loss = found.sum() / learned
PENALTY_HERE                loss.backward()
                total += loss.item()
            if CLIP_NORM:
                torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], CLIP_NORM)
            optimizer.step()
STEP_ENDS_HERE            scheduler.step()
            optimizer.zero_grad()
            step += 1
            print(f"step {step} of {STEPS}: loss {total:.6f}", flush=True)
            if step == STEPS:
                break
        epoch += 1
SAVE_HERE
    if hasattr(model, "head"):
        from safetensors.torch import save_file

        save_file({name: t.contiguous() for name, t in model.head.state_dict().items()}, "result/head.safetensors")
KEEP_HERE    tokenizer.save_pretrained("result")


if __name__ == "__main__":
    main()
'''


FROM_RUN = """That is the model of an earlier run:
give the folder that its export in one piece wrote (format: merged). """
MADE = """Of that model {keep} of {of} layers learn:
the folder {base}, which the export as a script writes beside this file. """
HEAD = f"""\
    from safetensors.torch import load_file

    model.head.load_state_dict(load_file(HERE / "{parts.START}/{stacking.HEAD_FILE}"))
"""
GOING_ON = '''

{source}


begin = tune


def tune(backbone):
    """What an earlier run added goes on learning."""
    backbone = begin(backbone)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    take_up(backbone, HERE / {file!r})
    return backbone

'''
HEAD_OF = '''def head_of(model):
    """Parameters that learn besides what the tuner chose."""
    return list(model.head.parameters()) if hasattr(model, "head") else []


'''
MIXED = '''TAKEN = {taken}


def mixed(sources, epoch):
    """What a pass reads: so many rows of each data set, which is gone through to its end before any comes again."""
    found = []
    for source, count in enumerate(TAKEN):
        own = [place for place, of in enumerate(sources) if of == source]
        first, last = epoch * count, (epoch + 1) * count
        for turn in range(first // len(own), -(-last // len(own))) if own else ():
            shuffled = list(own)
            random.Random(f"{{SEED}} {{source}} {{turn}}").shuffle(shuffled)
            begins = turn * len(own)
            found += shuffled[max(0, first - begins) : last - begins]
    return found + [place for place, of in enumerate(sources) if of < 0]


'''
HOOKS = {
    "step_begins": ("STEP_BEGINS_HERE", "            step_begins(step)\n", ""),
    "step_ends": ("STEP_ENDS_HERE", "            step_ends(step)\n", ""),
    "penalty": (
        "PENALTY_HERE",
        """\
                extra = penalty()  # its gradient alone counts
                loss = loss + (extra - extra.detach()) * (len(found) / learned)
""",
        "",
    ),
    "tell": (
        "TELL_HERE",
        """\
                tasks = [max(0, examples[index]["source"]) for index in batch[start : start + MICRO_BATCH]]
                tell(getattr(model, "backbone", model), tasks)
""",
        "",
    ),
    "rates": (
        "RATES_HERE",
        """\
    own = {n: p for n, p in getattr(model, "backbone", model).named_parameters() if p.requires_grad}
    factors = {id(own[name]): factor for name, factor in rates(own).items()}
""",
        "",
    ),
    "save": (
        "SAVE_HERE",
        '    save(getattr(model, "backbone", model), "result")',
        '    getattr(model, "backbone", model).save_pretrained("result")',
    ),
}
"""Function of the tuner's part → where the loop calls it, with what, and what stands there without it."""


def script(job: Job) -> str:
    """Source of the standalone script of this job."""
    if job.tuner.kind == "fit":
        return fit_script.script(job, _quantization(job.plan.weights))
    if job.tuner.kind == "merge":
        return merge_script.script(job)
    training, plan = job.training, job.plan
    header = HEADER.format(
        title=f"{job.objective.title} with {job.tuner.title}.",
        run=job.folder.name,
        requirements=" ".join(f"{name}=={metadata.version(name)}" for name in _libraries(plan)),
        model=job.facts.id,
        place=f'str(Path(__file__).resolve().parent / "{parts.BASE}")' if job.facts.made_of else repr(job.facts.id),
        further=_further(job),
        device=plan.device,
        seed=training.seed,
        steps=plan.total_steps,
        batch=training.batch_size,
        micro=plan.micro_batch,
        max_tokens=training.max_tokens,
        rate=plan.learning_rate,
        head_rate=plan.head_rate,
        decay=training.weight_decay,
        clip=training.clip_norm,
        schedule="constant_with_warmup" if training.schedule == "constant" else training.schedule,
        warmup=plan.warmup_steps,
        weights=f"torch.{plan.compute if plan.weights in ('8bit', '4bit') else plan.weights}",
        compute=f"torch.{plan.compute}",
        quantization=_quantization(plan.weights),
        chunk=CHUNK_OF_BATCHES,
        threads=plan.threads,
    )
    tune = job.tuner.script(job.tuner_settings)
    if job.goes_on:
        tune += GOING_ON.format(source=parts.source("compute.take_up"), file=f"{parts.START}/{job.tuner.added_file}")
    made = f"\n\n{parts.source('compute.optimizer')}\n" if plan.optimizer != "adamw" else ""
    goal = job.objective.script(job)
    loop = _loop(job, tune, goal)
    return header + tune + goal + made + loop


def _loop(job: Job, tune: str, goal: str) -> str:
    """The loop with its optimizer, what a pass reads, and the calls of what the parts of tuner and objective define."""
    optimizer, mixture = job.plan.optimizer, job.mixture
    plain = 'torch.optim.AdamW(groups(model), fused=DEVICE in ("cpu", "cuda"))'
    made = plain if optimizer == "adamw" else f"make_optimizer({optimizer!r}, groups(model), model)"
    rate = "LEARNING_RATE * factors.get(id(p), 1.0)" if "def rates(" in tune else "LEARNING_RATE"
    text = LOOP.replace("LEARNING_RATE_HERE", rate).replace("OPTIMIZER_HERE", made)
    text = text.replace("HEAD_HERE", HEAD if stacking.begins_with_head(job) else "")
    text = text.replace("MIXED_HERE", MIXED.format(taken=mixture.taken) if mixture else "")
    read = 'mixed([example["source"] for example in examples], epoch)' if mixture else "range(len(data))"
    text = text.replace("READ_HERE", read)
    text = text.replace("HEAD_OF_HERE", "" if "def head_of(" in goal else HEAD_OF)
    text = text.replace("ROW_HERE", "drawn(data[index], epoch)" if "def drawn(" in goal else "data[index]")
    written = "            rows = written(model, rows, step)\n" if "def written(" in goal else ""
    text = text.replace("WRITTEN_HERE", written)
    text = text.replace("KEEP_HERE", "    keep(model)\n" if "def keep(" in goal else "")
    for name, (place, call, without) in HOOKS.items():
        text = text.replace(place, call if f"def {name}(" in tune else without)
    return text


def _further(job: Job) -> str:
    """What has to be known of the base model's name."""
    if job.facts.made_of:
        return MADE.format(keep=job.facts.layers, of=job.facts.made_of, base=parts.BASE)
    return FROM_RUN.format(run=job.facts.id) if lineage.is_run(job.facts.id) else ""


def _libraries(plan: Plan) -> tuple[str, ...]:
    narrow = plan.weights in ("8bit", "4bit") or plan.optimizer != "adamw"
    return (*LIBRARIES, "bitsandbytes") if narrow else LIBRARIES


def _quantization(weights: str) -> str:
    if weights not in ("8bit", "4bit"):
        return "{}"
    how = "load_in_8bit=True"
    if weights == "4bit":
        how = 'load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, '
        how += "bnb_4bit_compute_dtype=COMPUTE"
    config = f'__import__("transformers").BitsAndBytesConfig({how})'
    return f'{{"quantization_config": {config}, "device_map": {{"": DEVICE}}}}'
