"""How many prepared kernels torch's library for processors keeps. Without heavy imports: said before torch loads."""

from __future__ import annotations

from collections.abc import MutableMapping

_KEPT = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128", "LRU_CACHE_CAPACITY": "64"}


def keep_few_kernels(environment: MutableMapping[str, str]) -> None:
    """Let oneDNN keep so many kernels, and torch so many ways to call them; what the environment says already stays.

    In bfloat16 one is prepared for each shape of a product, and batches come in many shapes. By default 1,024 are kept:
    MiniLM (23 million weights) held 770 MB after its first step and 1,390 after 200, and went on growing; so it is 980,
    from step 50 on. What is prepared anew costs 3 % of a step of SmolLM2.
    """
    for name, count in _KEPT.items():
        environment.setdefault(name, count)
