"""The number format of the arithmetic, applied."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from engine.planning.plan import Plan


def dtype(name: str) -> torch.dtype:
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def autocast(plan: Plan) -> AbstractContextManager[None]:
    """Products in the plan's 16-bit format; sums, norms and losses stay float32."""
    return torch.autocast(
        plan.device, dtype=dtype(plan.compute) if plan.compute != "float32" else None, enabled=plan.compute != "float32"
    )
