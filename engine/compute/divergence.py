"""How far one distribution over words is from another. Needs no other module: a standalone script holds it, too."""

from __future__ import annotations

import math

import torch


def divergence(kind: str, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Of log-probabilities (positions, words): (positions,), in nats.

    forward-kl: KL(teacher || student), which covers all that the teacher does (Hinton et al. 2015, arXiv 1503.02531).
    reverse-kl: KL(student || teacher), which stays where the teacher is (MiniLLM, arXiv 2306.08543).
    jensen-shannon: the mean of both to their middle (GKD, arXiv 2306.13649, with beta = 1/2).
    """
    if kind == "forward-kl":
        return _kl(teacher, student)
    if kind == "reverse-kl":
        return _kl(student, teacher)
    middle = torch.logaddexp(student, teacher) - math.log(2)
    return (_kl(teacher, middle) + _kl(student, middle)) / 2


def softened(logits: torch.Tensor, words: int, temperature: float) -> torch.Tensor:
    """Log-probabilities (positions, words) of the first `words` words at a temperature, float32."""
    return (logits[..., :words].float() / temperature).log_softmax(-1)


def _kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first.exp() * (first - second)).sum(-1)
