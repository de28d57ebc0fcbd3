"""Measures the peak memory of training steps in fresh processes, to check `engine.planning.memory` against.

    python benchmarks/memory_probe.py            every case, as a table beside the prediction
    python benchmarks/memory_probe.py --case N   one case, in this process, as JSON
    python benchmarks/memory_probe.py --this C   the same for a case written as JSON

A plain loop over random tokens, built as the worker builds it: LoRA or full, autocast, frozen weights in the computing
format, the vocabulary product at learned positions only. Linux only: it reads the peak from /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

STEPS = 3


@dataclass(frozen=True)
class Case:
    model: str
    tuner: str
    compute: str
    rows: int
    tokens: int
    learned: int
    """Learned positions in a row (decoders)."""
    checkpointing: bool = False
    rank: int = 16
    accumulation: int = 1
    """Micro-batches an update."""


SMALL, ENCODER = "embedded:smollm2-135m", "embedded:minilm"
MEASURED = {
    Case(SMALL, "lora", "bfloat16", 8, 96, 8): 1_939_718_144,
    Case(SMALL, "lora", "bfloat16", 4, 512, 8): 3_584_344_064,
    Case(SMALL, "lora", "bfloat16", 8, 256, 128): 4_167_839_744,
    Case(SMALL, "lora", "float32", 8, 96, 8): 3_721_252_864,
    Case(SMALL, "lora", "float32", 4, 512, 8): 7_147_139_072,
    Case(SMALL, "lora", "bfloat16", 4, 512, 8, checkpointing=True): 1_361_821_696,
    Case(SMALL, "lora", "float32", 8, 512, 8, checkpointing=True): 1_713_045_504,
    Case(SMALL, "full", "float32", 4, 512, 8, checkpointing=True): 2_971_586_560,
    Case(SMALL, "full", "float32", 4, 256, 8, accumulation=2): 5_334_155_264,
    Case(SMALL, "full", "bfloat16", 4, 512, 8, accumulation=2): 6_132_985_856,
    Case(SMALL, "full", "bfloat16", 8, 96, 8): 3_984_117_760,
    Case(SMALL, "full", "bfloat16", 4, 512, 64): 6_037_823_488,
    Case(SMALL, "full", "float32", 8, 96, 8): 4_166_656_000,
    Case(SMALL, "full", "float32", 4, 512, 64): 6_626_398_208,
    Case(ENCODER, "lora", "bfloat16", 16, 64, 1): 913_506_304,
    Case(ENCODER, "lora", "bfloat16", 32, 256, 1): 4_107_161_600,
    Case(ENCODER, "lora", "float32", 32, 256, 1): 6_324_166_656,
    Case(ENCODER, "full", "bfloat16", 32, 256, 1): 4_305_203_200,
    Case(ENCODER, "full", "float32", 16, 64, 1): 1_255_596_032,
    Case(ENCODER, "full", "float32", 32, 256, 1): 4_825_735_168,
}
"""Peaks in bytes, as this program printed them: 2 threads of an AMD EPYC, glibc 2.36, torch 2.13, transformers 5.23."""
CASES = list(MEASURED)


def as_text(case: Case) -> str:
    return json.dumps(asdict(case))


def measure(case: Case) -> dict[str, int]:
    """Peaks in bytes: after the imports, while loading, and in training."""
    peaks = {}
    import datasets  # noqa: F401 - the worker holds these, too
    import peft
    import torch
    import transformers
    import trl  # noqa: F401

    from engine.bases import models
    from engine.compute.allocator import give_back_freed_memory
    from engine.specs.sections import Model

    peaks["program"] = _status("VmRSS")
    folder = models.ensure(Model(id=case.model), print)
    torch.manual_seed(0)
    dtype = getattr(torch, case.compute)
    causal = case.model == SMALL
    loader = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
    model = loader.from_pretrained(
        folder, dtype=torch.float32 if case.tuner == "full" else dtype, attn_implementation="sdpa"
    )
    if not causal:
        model.pooler = None
    if case.tuner == "lora":
        config = peft.LoraConfig(r=case.rank, lora_alpha=2 * case.rank, target_modules="all-linear")
        model = peft.get_peft_model(model.requires_grad_(False), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    if case.checkpointing:
        give_back_freed_memory()
        inner = model.get_base_model() if case.tuner == "lora" else model
        inner.gradient_checkpointing_enable({"use_reentrant": False})
        inner.enable_input_require_grads()
    peaks["load"] = _status("VmHWM")
    peaks["loaded"] = _status("VmRSS")
    head = None if causal else torch.nn.Linear(model.config.hidden_size, 77)
    _train(case, model, head)
    peaks["peak"] = _status("VmHWM")
    return peaks


def _train(case: Case, model: Any, head: Any) -> None:
    import torch
    from peft.helpers import disable_input_dtype_casting

    trained = [p for p in model.parameters() if p.requires_grad] + (list(head.parameters()) if head else [])
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
    mixed = case.compute != "float32"
    model.train()
    with disable_input_dtype_casting(model, active=mixed):
        for _ in range(STEPS):
            for _ in range(case.accumulation):
                ids = torch.randint(10, 20_000, (case.rows, case.tokens))
                with torch.autocast("cpu", dtype=getattr(torch, case.compute) if mixed else None, enabled=mixed):
                    loss = _loss(case, model, head, ids)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()


def _loss(case: Case, model: Any, head: Any, ids: Any) -> Any:
    import torch

    if head is not None:
        hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.float().mean(dim=1)
        with torch.autocast("cpu", enabled=False):
            return torch.nn.functional.cross_entropy(head(hidden), torch.arange(case.rows) % 77)
    inner = model.get_base_model() if case.tuner == "lora" else model
    hidden = inner.model(input_ids=ids, use_cache=False).last_hidden_state[:, -case.learned - 1 : -1]
    logits = inner.lm_head(hidden.reshape(-1, hidden.shape[-1])).float()
    return torch.nn.functional.cross_entropy(logits, ids[:, -case.learned :].reshape(-1))


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


def predicted(case: Case) -> dict[str, int]:
    from engine.bases import models
    from engine.planning import memory
    from engine.specs.sections import Model

    facts = models.facts(Model(id=case.model))
    linears = sum(inputs + outputs for outputs, inputs in facts.linears.values())
    work = memory.Work(
        facts=facts,
        device="cpu",
        compute=case.compute,
        weights="float32" if case.tuner == "full" else case.compute,
        trained=facts.backbone_parameters if case.tuner == "full" else case.rank * linears,
        trains_base=case.tuner == "full",
        checkpointing=case.checkpointing,
        rows=case.rows,
        tokens=case.rows * case.tokens,
        longest=case.tokens,
        learned=case.rows * case.learned if case.model == SMALL else 0,
        generates=False,
        accumulates=case.accumulation > 1,
        kept=memory.Kept("learning") if case.tuner == "full" else memory.Kept("read"),
    )
    return {part.name: part.bytes for part in memory.predict(work)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=int)
    parser.add_argument("--this")
    given = parser.parse_args()
    if given.case is not None or given.this:
        print(json.dumps(measure(Case(**json.loads(given.this)) if given.this else CASES[given.case])))
        return
    for case in CASES:
        command = [sys.executable, __file__, "--this", as_text(case)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peak = json.loads(done.stdout.splitlines()[-1])["peak"]
        total = sum(predicted(case).values())
        print(
            f"{case.model.removeprefix('embedded:'):13} {case.tuner:5} {case.compute:9} {case.accumulation} × "
            f"{case.rows:2} × {case.tokens:4} tokens{' checkpointing' if case.checkpointing else '':14}  "
            f"measured {peak / 1e6:6.0f} MB ({peak:_})  predicted {total / 1e6:6.0f} MB  ({total / peak - 1:+.1%})",
            flush=True,
        )


if __name__ == "__main__":
    main()
