"""Models of the Hub by words, from a loopback Hub, asked in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.bases import model_search
from engine.errors import ModelError
from tests.fakes.hub import FakeHub

CHECKOUT = Path(__file__).resolve().parents[2]
ASK = """
import json, sys
from engine.bases import model_search
from engine.errors import UserError
try:
    found = model_search.search(sys.argv[1], frozenset(sys.argv[2].split(",")))
    print(json.dumps([[item.id, item.kind, item.parameters, item.license, item.gated, item.downloads] for item in found]))
except UserError as error:
    print(json.dumps(error.problem))
"""


def listed(id: str, architecture: str = "LlamaForCausalLM", model_type: str = "llama", **more: Any) -> dict[str, Any]:
    """One line of the Hub's answer."""
    record = {
        "id": id,
        "modelId": id,
        "tags": ["safetensors", "license:apache-2.0"],
        "downloads": 7,
        "gated": False,
        "config": {"architectures": [architecture], "model_type": model_type},
        "safetensors": {"parameters": {"BF16": 1000}, "total": 1000},
    }
    return record | more


def ask(url: str, words: str, kinds: str = "decoder", **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", ASK, words, kinds],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "no_proxy": "127.0.0.1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_search_tells_size_licence_and_gates() -> None:
    with FakeHub({}, found=[listed("a/one"), listed("a/two", gated="manual")]) as hub:
        assert ask(hub.url, "one") == [
            ["a/one", "decoder", 1000, "apache-2.0", False, 7],
            ["a/two", "decoder", 1000, "apache-2.0", True, 7],
        ]


def test_what_can_not_be_trained_is_left_out() -> None:
    unfit = [
        listed("a/model-GGUF"),
        listed("a/awq-model-AWQ"),
        listed("a/adapter", tags=["safetensors", "peft"]),
        listed("a/own-code", tags=["safetensors", "custom_code"]),
        listed("a/seq2seq", "T5ForConditionalGeneration", "t5"),
        listed("a/quantised", config={"architectures": ["LlamaForCausalLM"], "quantization_config": {}}),
        listed("a/encoder", "BertForMaskedLM", "bert"),
    ]
    with FakeHub({}, found=[*unfit, listed("a/fit")]) as hub:
        assert [found[0] for found in ask(hub.url, "model")] == ["a/fit"]
        assert [found[0] for found in ask(hub.url, "model", "encoder")] == ["a/encoder"]


def test_words_too_short_to_mean_anything_ask_nobody() -> None:
    with FakeHub({}) as hub:
        assert ask(hub.url, "q") == []
        assert not hub.asked


def test_without_a_hub_one_sentence_says_so_at_once() -> None:
    with pytest.raises(ModelError, match="can't be reached"):
        model_search.search("qwen", frozenset({"decoder"}))  # tests run with HF_HUB_OFFLINE
