"""In which order rows are learned."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from engine.data.mixture import Mixture
from engine.methods.job import CHUNK_OF_BATCHES


class ByLength(Sampler[int]):
    """Rows in batches of like length, in an order that depends on seed and epoch alone."""

    def __init__(self, lengths: list[int], batch: int, seed: int, mixture: Mixture | None = None) -> None:
        self.lengths = lengths
        self.batch = batch
        self.seed = seed
        self.mixture = mixture
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        rows = self.mixture.order(self.epoch) if self.mixture else range(len(self.lengths))
        order = [rows[place] for place in torch.randperm(len(rows), generator=generator).tolist()]
        chunk = self.batch * CHUNK_OF_BATCHES
        for start in range(0, len(order), chunk):
            order[start : start + chunk] = sorted(order[start : start + chunk], key=lambda row: -self.lengths[row])
        whole = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        # A last batch that is not full stays last: the trainer counts on full ones before it.
        tail = [whole.pop()] if len(whole[-1]) < self.batch else []
        mixed = torch.randperm(len(whole), generator=generator).tolist()
        return iter([row for index in mixed for row in whole[index]] + [row for batch in tail for row in batch])
