"""How far hidden states are from those of a teacher. Needs torch alone: a standalone script holds this source, too."""

from collections.abc import Callable, Sequence

import torch


def layer_pairs(mine: int, theirs: int, which: str) -> list[tuple[int, int]]:
    """Places among hidden states, 0 being the embeddings, that are held against each other: of the model, the teacher.

    mine, theirs: layers of both; which: "last", or "all" of the model's, with evenly spaced ones of the teacher
    (TinyBERT, arXiv 1909.10351, section 3.1).
    """
    if which == "last":
        return [(mine, theirs)]
    return [(layer, max(1, round(layer * theirs / mine))) for layer in range(1, mine + 1)]


def hidden_distance(
    mine: Sequence[torch.Tensor],
    theirs: Sequence[torch.Tensor],
    mask: torch.Tensor,
    which: str,
    project: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Of each row, (rows,), from 0 to 2: 1 less the cosine of both models' states, over real tokens and layers.

    By their direction (DistilBERT, arXiv 1910.01108, section 2), as models differ in how large their states are.
    mine, theirs: (rows, tokens, width) of the embeddings and of each layer; what stands before the tokens is left out.
    project: from the model's width to the teacher's.
    """
    tokens = mask.shape[1]
    found = []
    for own, other in layer_pairs(len(mine) - 1, len(theirs) - 1, which):
        states = project(mine[own][:, -tokens:].float()), theirs[other][:, -tokens:].float()
        apart = 1 - torch.nn.functional.cosine_similarity(*states, dim=-1)
        found.append((apart * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1))
    return torch.stack(found).mean(dim=0)
