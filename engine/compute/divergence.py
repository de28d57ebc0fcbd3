"""How far one distribution over words is from another. Needs no other module: a standalone script holds it, too."""

from __future__ import annotations

import math

import torch

LEAST = -40.0
"""Logarithm below which a share counts as this small, so that none is the logarithm of 0."""


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


def sorted_distance(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Between distributions over different words, of logits (positions, words): (positions,), from 0 to 2.

    Both are sorted, the shorter one is filled up with zeros, and the differences are summed: the Wasserstein distance
    where every word is as far from every other (universal logit distillation, arXiv 2402.12030).
    """
    words = max(student.shape[-1], teacher.shape[-1])
    ordered = []
    for logits in (student, teacher):
        shares = (logits.float() / temperature).softmax(-1).sort(-1, descending=True).values
        ordered.append(torch.nn.functional.pad(shares, (0, words - shares.shape[-1])))
    return (ordered[0] - ordered[1]).abs().sum(-1)


def softened(logits: torch.Tensor, words: int, temperature: float) -> torch.Tensor:
    """Log-probabilities (positions, words) of the first `words` words at a temperature, float32."""
    return (logits[..., :words].float() / temperature).log_softmax(-1)


def bucketed(logits: torch.Tensor, words: int, temperature: float, chosen: torch.Tensor) -> torch.Tensor:
    """The same in k + 1 buckets (positions, k + 1): each of the words `chosen` (positions, k), and all others together.

    By the log-sum of the others themselves: 1 less the sum of the chosen ones would be rounded away.
    """
    logits = logits[..., :words].float() / temperature
    others = logits.scatter(-1, chosen, -math.inf).logsumexp(-1, keepdim=True)
    shares = torch.cat([logits.gather(-1, chosen), others], -1) - logits.logsumexp(-1, keepdim=True)
    return shares.clamp(min=LEAST)


def largest(logits: torch.Tensor, words: int, temperature: float, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k likeliest words (positions, k), and the log-probabilities of these and of all others (positions, k + 1)."""
    chosen = logits[..., :words].float().topk(k, dim=-1).indices
    return chosen, bucketed(logits, words, temperature, chosen)


def _kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first.exp() * (first - second)).sum(-1)
