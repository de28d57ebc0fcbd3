"""Models of the Hub by words: those that can be trained here, the most used first."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from engine.bases import access, architecture, hub
from engine.errors import ModelError

MOST = 8
ASKED = 40
"""Of these the ones that can't be used are left out."""
SEARCH_S = 6.0
SHORTEST = 3
"""Letters; fewer find nothing that is meant."""
_QUANTISED = re.compile(r"gguf|awq|gptq|exl2|bnb|[48]-?bit|mlx|onnx|openvino|fp8|int[48]", re.IGNORECASE)
_PROPERTIES = ["safetensors", "config", "gated", "tags", "downloads"]

# A search that nobody waits for any more ends by itself; a few of them at a time.
_pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="models")


@dataclass(frozen=True)
class Found:
    id: str
    kind: Literal["decoder", "encoder"]
    parameters: int | None
    license: str | None
    gated: bool
    downloads: int | None
    """In the last 30 days."""
    config: dict[str, Any] = field(default_factory=dict, repr=False)


def search(words: str, kinds: frozenset[str]) -> list[Found]:
    """Models whose names hold the words, of these kinds and with safetensors weights.

    Raises ModelError where the Hub can't be reached, or does not answer in time.
    """
    if len(words.strip()) < SHORTEST:
        return []
    if not hub.reachable():
        raise ModelError(
            "The Hub can't be reached from here right now.", "Choose one of the models below, or a folder."
        )
    return [found for found in _in_time(words.strip()[:100], access.token()) if found.kind in kinds][:MOST]


def _in_time(words: str, token: str | bool | None) -> tuple[Found, ...]:
    from huggingface_hub import errors

    try:
        return _pool.submit(_asked, words, token, hub.now()).result(timeout=SEARCH_S)
    except TooLate:
        raise ModelError(f"The Hub did not answer within {SEARCH_S:g} seconds.", "Try again in a minute.") from None
    except (errors.HfHubHTTPError, errors.HTTPError, OSError) as error:
        raise ModelError(f"The Hub's answer did not come ({type(error).__name__}).", "Try again in a minute.") from None


@lru_cache(maxsize=128)
def _asked(words: str, token: str | bool | None, minute: int) -> tuple[Found, ...]:
    """By token: what one person may see of the Hub is not told to the next."""
    from huggingface_hub import HfApi

    answers = HfApi(token=token).list_models(
        search=words, filter="safetensors", sort="downloads", limit=ASKED, expand=list(_PROPERTIES), token=token
    )
    return tuple(found for found in map(_found, answers) if found is not None)


def _found(item: Any) -> Found | None:
    """None for what can't be trained: quantised weights, models of other kinds, adapters."""
    config = item.config if isinstance(item.config, dict) else {}
    tags = [str(tag) for tag in item.tags or []]
    quantised = "quantization_config" in config or _QUANTISED.search(item.id.partition("/")[2])
    kind = architecture.kind(config)
    if quantised or kind not in ("decoder", "encoder") or {"peft", "custom_code"} & set(tags):
        return None
    license = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)
    total = getattr(item.safetensors, "total", None)
    return Found(item.id, kind, total, license, bool(item.gated), item.downloads, config)
