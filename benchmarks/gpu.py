"""Speed and memory of training on a GPU beside plain TRL: `python -m benchmarks.gpu --row 1b-lora-16k`.

Models have fresh random weights in the shapes of real ones, rows fresh random words, as many as real rows have
(log-normal, 300 in the mean, 2,048 at most). Each side is a process of its own, and both sides of a ratio are measured
in one call:

    worker      `python -m engine.runs.worker`, as a person's run is done: its own figures, from its events
    trl         SFTTrainer with TRL's own settings and LoraConfig, rows in the order of the data
    trl-tuned   the same with weights in bfloat16, rows packed, no checkpointing and no casts of activations
    unsloth     its FastLanguageModel with TRL's trainer, where the package is there; else "not measured"

A figure is non-padding tokens a second after the first update (median, and the middle half), the most memory that torch
held, and the share of what the card's own arithmetic would allow. `--row tiny` is a dry run, which needs no GPU. Each
measurement is a line of `benchmarks/results/gpu.jsonl`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.record import keep
from engine.data import example as examples_file
from engine.data.example import Example
from engine.events import Failed, Finished, Progress, read
from engine.home import CHECKOUT
from engine.specs.spec import RunSpec

NAME = "gpu"
SIDES = ("worker", "trl", "trl-tuned", "unsloth")
MEAN_TOKENS, MOST_TOKENS, SPREAD = 300, 2048, 0.9
WORDS = 20_000
"""Different words in the rows, whatever the vocabulary."""
LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.2-1b": {
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128_256,
        "tie_word_embeddings": True, "max_position_embeddings": 131_072,
    },
    "qwen2.5-7b": {
        "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064, "tie_word_embeddings": False,
        "max_position_embeddings": 32_768,
    },
    "tiny": {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "tie_word_embeddings": True,
        "max_position_embeddings": 2048,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What is measured. rows: of an update; one row has 300 tokens in the mean."""

    shape: str
    tuner: str
    rows: int
    load: str = "auto"
    mean: int = MEAN_TOKENS
    most: int = MOST_TOKENS


ROWS = {
    "1b-lora-8-rows": Row("llama-3.2-1b", "lora", 8),
    "1b-lora-16k": Row("llama-3.2-1b", "lora", 54),
    "1b-lora-32k": Row("llama-3.2-1b", "lora", 108),
    "1b-full-32k": Row("llama-3.2-1b", "full", 108),
    "7b-lora-8k": Row("qwen2.5-7b", "lora", 27),
    "7b-qlora-8k": Row("qwen2.5-7b", "lora", 27, load="4bit"),
    "tiny": Row("tiny", "lora", 4, mean=20, most=64),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Training on a GPU beside plain TRL; lines are kept.")
    parser.add_argument("--row", choices=ROWS, action="append", required=True)
    parser.add_argument("--side", choices=SIDES, action="append", help="only these")
    parser.add_argument("--steps", type=int, default=14, help="updates in each measurement")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of rows and weights")
    parser.add_argument("--loop", choices=SIDES[1:], help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        print(json.dumps(by_trl(ROWS[options.row[0]], options.place, options.loop, options.steps)))
        return 0
    for name in options.row:
        with tempfile.TemporaryDirectory(prefix="tunesmith-benchmark-") as place:
            found = measured(name, Path(place), options.side or list(SIDES), options.steps, options.seed)
        card = device()
        print("\n".join(table(name, found, card)), flush=True)
        if card:
            keep(NAME, {"row": name, "steps": options.steps, "seed": options.seed, "sides": found, "device": card})
    return 0


def measured(name: str, place: Path, sides: list[str], steps: int, seed: int) -> dict[str, Any]:
    """Figures of each side; of one that isn't there or broke, why."""
    row = ROWS[name]
    make = [sys.executable, "-c", f"from benchmarks import gpu; gpu.make_model({row.shape!r}, {str(place)!r}, {seed})"]
    subprocess.run(make, cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    texts = drawn(row, steps, seed)
    (place / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    found: dict[str, Any] = {}
    for side in sides:
        if side == "unsloth" and importlib.util.find_spec("unsloth") is None:
            found[side] = {"not measured": "unsloth is not installed"}
        else:
            found[side] = by_worker(row, place, texts, steps) if side == "worker" else _apart(name, place, side, steps)
    return found


def drawn(row: Row, steps: int, seed: int) -> list[str]:
    """Rows for so many updates. No two runs have the same: nothing can be prepared for them."""
    chance = random.Random(seed)
    most = min(WORDS, SHAPES[row.shape]["vocab_size"] - 8)
    middle = row.mean / 2.718281828 ** (SPREAD**2 / 2)
    lengths = [
        max(8, min(row.most - 2, round(chance.lognormvariate(0, SPREAD) * middle))) for _ in range(row.rows * steps)
    ]
    return [" ".join(f"w{chance.randrange(most)}" for _ in range(length)) for length in lengths]


def make_model(shape: str, place: str, seed: int) -> None:
    """A folder `model` with random weights in bfloat16 and a tokenizer of which each word is a token."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    given = SHAPES[shape]
    folder, words = Path(place) / "model", min(WORDS, given["vocab_size"] - 8)
    torch.manual_seed(seed)
    config = AutoConfig.for_model(**given, pad_token_id=1, eos_token_id=2, bos_token_id=None)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    known = {"<unk>": 0, "<pad>": 1, "</s>": 2} | {f"w{number}": number + 3 for number in range(words)}
    backend = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<pad>", eos_token="</s>")
    made.save_pretrained(folder)


def by_worker(row: Row, place: Path, texts: list[str], steps: int) -> dict[str, Any]:
    """A run as a person's is done; its plan chooses all that a plan chooses."""
    folder = place / "run"
    folder.mkdir()
    own = {"rank": LORA["r"], "alpha": LORA["lora_alpha"]} if row.tuner == "lora" else {}
    spec = RunSpec.parse(
        {
            "model": {"id": str(place / "model"), "load": row.load},
            "data": [{"source": str(place / "texts.jsonl")}],
            "objective": "text",
            "tuner": {"name": row.tuner, **own},
            "training": {
                "max_steps": steps, "epochs": 1, "batch_size": row.rows, "max_tokens": row.most, "save_minutes": 60,
            },
            "evaluation": {"before": False},
        }
    )  # fmt: skip
    spec.save(folder / "spec.yaml")
    rows = [Example(number, "train", text=text) for number, text in enumerate(texts, start=1)]
    examples_file.save(rows, folder / "examples.jsonl")
    with open(folder / "worker.log", "wb") as log:
        command = [sys.executable, "-m", "engine.runs.worker", str(folder)]
        subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    events, _ = read(folder / "events.jsonl")
    failed = next((event for event in events if isinstance(event, Failed)), None)
    if failed:
        return {"failed": failed.problem}
    seen = [event for event in events if isinstance(event, Progress) and event.phase == "train" and event.step]
    done = next(event for event in events if isinstance(event, Finished))
    # The worker tells tokens a second over all steps so far: between two of them lie what they differ by.
    marks = [(one.seconds, (one.tokens_per_second or 0.0) * one.seconds) for one in seen]
    return _figures(_speeds(marks), done.peak_memory_bytes)


def by_trl(row: Row, place: Path, side: str, steps: int) -> dict[str, Any]:
    """The same rows in TRL's trainer; tokens a second between updates, as its callbacks see them."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    model_folder = str(place / "model")
    texts = json.loads((place / "texts.json").read_text(encoding="utf-8"))
    marks: list[tuple[float, float]] = []
    tuned = side != "trl"
    settings: dict[str, Any] = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": max(1, row.rows // 8)}
    if tuned:
        # A packed sequence holds an update's tokens, as far as one may be that long.
        settings = {"per_device_train_batch_size": 1, "packing": True, "gradient_checkpointing": False}
        settings |= {"max_length": max(row.most, row.rows * row.mean), "gradient_accumulation_steps": 1}
    arguments = SFTConfig(
        output_dir=str(place / side),
        max_steps=steps,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        bf16=True,
        **({"max_length": row.most} | settings),
    )
    if side == "unsloth":
        fast = importlib.import_module("unsloth").FastLanguageModel
        model, tokenizer = fast.from_pretrained(
            model_folder, max_seq_length=arguments.max_length, load_in_4bit=row.load == "4bit", dtype=torch.bfloat16
        )
        if row.tuner == "lora":
            model = fast.get_peft_model(model, r=LORA["r"], lora_alpha=LORA["lora_alpha"])
        additions = None
    else:
        tokenizer = AutoTokenizer.from_pretrained(model_folder)
        load: dict[str, Any] = {"dtype": torch.bfloat16 if tuned else torch.float32}
        if row.load == "4bit":
            from transformers import BitsAndBytesConfig

            load["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
            )
        model = AutoModelForCausalLM.from_pretrained(model_folder, **load)
        additions = LoraConfig(**LORA) if row.tuner == "lora" else None

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            tokens = float(state.num_input_tokens_seen or 0)
            marks.append((time.monotonic(), tokens))

    arguments.include_num_input_tokens_seen = "non_padding"
    data = Dataset.from_list([{"text": text} for text in texts])
    trainer = SFTTrainer(model, args=arguments, train_dataset=data, processing_class=tokenizer, peft_config=additions)
    trainer.add_callback(Watch())
    with _no_casts(trainer.model, tuned and side != "unsloth" and row.tuner == "lora"):
        trainer.train()
    return _figures(_speeds(marks), torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0)


def _no_casts(model: Any, active: bool) -> Any:
    from peft.helpers import disable_input_dtype_casting

    return disable_input_dtype_casting(model, active=active)


def _apart(name: str, place: Path, side: str, steps: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--row", name, "--loop", side, "--place", str(place)]
    done = subprocess.run(
        [*command, "--steps", str(steps)],
        cwd=CHECKOUT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else "it said nothing"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _speeds(marks: list[tuple[float, float]]) -> list[float]:
    """Tokens a second between updates that were told of, the first of which, in which kernels are chosen, is left out.

    marks: seconds, and tokens so far.
    """
    return [(tokens - before) / (now - then) for (then, before), (now, tokens) in pairwise(marks) if now > then]


def _figures(speeds: list[float], memory: int) -> dict[str, Any]:
    if not speeds:
        return {"failed": "it told of too few updates"}
    ordered = sorted(speeds)
    quarter = len(ordered) // 4
    return {
        "tokens_per_second": round(statistics.median(ordered), 1),
        "middle_half": [round(ordered[quarter], 1), round(ordered[-1 - quarter], 1)],
        "peak_memory_bytes": memory,
    }


def floor(row: Row, flops: float) -> float:
    """Tokens a second if nothing but the products of its weights took time. flops: of the card, a second.

    A token costs two operations a weight forward, two backward, and two more where the weight itself learns.
    """
    shape = SHAPES[row.shape]
    heads, size = (
        shape["num_attention_heads"],
        shape.get("head_dim", shape["hidden_size"] // shape["num_attention_heads"]),
    )
    attention = shape["hidden_size"] * size * (2 * heads + 2 * shape["num_key_value_heads"])
    layer = attention + 3 * shape["hidden_size"] * shape["intermediate_size"]
    weights = shape["num_hidden_layers"] * layer + shape["hidden_size"] * shape["vocab_size"]
    return flops / ((4 if row.tuner == "lora" else 6) * weights)


def device() -> dict[str, Any]:
    """The card, with what a large product of bfloat16 numbers comes to on it; nothing without one."""
    code = (
        "import json, time, torch\n"
        "if not torch.cuda.is_available(): print('{}'); raise SystemExit\n"
        "one = torch.randn(8192, 8192, device='cuda', dtype=torch.bfloat16)\n"
        "for number in range(30):\n"
        "    if number == 10: torch.cuda.synchronize(); began = time.monotonic()\n"
        "    one @ one\n"
        "torch.cuda.synchronize()\n"
        "flops = 20 * 2 * 8192**3 / (time.monotonic() - began)\n"
        "print(json.dumps({'name': torch.cuda.get_device_name(), 'flops': flops}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(name: str, found: dict[str, Any], card: dict[str, Any]) -> list[str]:
    """Lines for people: each side with its ratio to TRL's own settings. card: as `device` tells it."""
    most = floor(ROWS[name], card["flops"]) if card else None
    usual = found.get("trl", {}).get("tokens_per_second")
    lines = [f"{name} on {card.get('name', 'no GPU: a dry run')}"]
    for side, one in found.items():
        if "tokens_per_second" not in one:
            lines.append(f"  {side:<10} {'; '.join(f'{key}: {value}' for key, value in one.items())}")
            continue
        speed, (low, high) = one["tokens_per_second"], one["middle_half"]
        beside = f", {speed / usual:.2f} of trl" if usual else ""
        share = f", {100 * speed / most:.0f} % of the floor" if most else ""
        memory = one["peak_memory_bytes"] / 2**30
        lines.append(f"  {side:<10} {speed:,.0f} tokens/s ({low:,.0f} to {high:,.0f}), {memory:.1f} GiB{beside}{share}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
