"""What a run would do, before it does it: rows, steps, memory, and the reason for each choice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from engine import machine, models, planner, preview
from engine.data.prepare import Prepared, prepare
from engine.jobs import require_pair
from engine.plan import Plan
from engine.preview import Lengths
from engine.spec import RunSpec


@dataclass(frozen=True)
class Explanation:
    model: str
    rows: dict[str, int]
    """By split."""
    epochs: float
    lengths: Lengths
    """In tokens, of the rows that are learned from."""
    plan: Plan
    trainable_parameters: int
    total_parameters: int

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        share = 100 * self.trainable_parameters / max(1, self.total_parameters)
        return (
            f"{self.rows['train']:,} rows, {self.epochs:g} passes, {self.plan.total_steps:,} steps; "
            f"{self.trainable_parameters:,} of {self.total_parameters:,} weights learn ({share:.2g} %); about "
            f"{self.plan.memory_bytes / 1e9:.1f} of {self.plan.memory_available / 1e9:.1f} GB of memory."
        )

    def lines(self) -> list[str]:
        found = [f"{self.model}: {self.sentence}"]
        if self.lengths.truncated:
            found.append(f"{self.lengths.truncated:,} rows are longer than allowed and are cut at the end.")
        if self.lengths.unlearned:
            found.append(f"In {self.lengths.unlearned:,} rows nothing is left to learn after the cut.")
        found += self.plan.reasons
        found += [f"{part.name}: {part.bytes / 1e6:,.0f} MB" for part in self.plan.memory]
        return found

    def as_dict(self) -> dict[str, Any]:
        lengths = {
            "truncated": self.lengths.truncated,
            "unlearned": self.lengths.unlearned,
            "longest": self.lengths.longest,
            "total": self.lengths.total,
        }
        return {
            "model": self.model,
            "rows": self.rows,
            "sentence": self.sentence,
            "tokens": lengths,
            "trainable_parameters": self.trainable_parameters,
            "total_parameters": self.total_parameters,
            "memory_bytes": self.plan.memory_bytes,
            "plan": asdict(self.plan),
        }


def explain(spec: RunSpec, prepared: Prepared | None = None) -> Explanation:
    """Look at data, model and machine without starting anything. Raises what starting would raise."""
    prepared = prepared or prepare(spec.data, spec.objective.wants, spec.training.seed)
    facts = models.facts(spec.model)
    require_pair(spec, facts)
    folder = models.ensure(spec.model, lambda text: None)
    rows = {split: [e for e in prepared.examples if e.split == split] for split in ("train", "validation", "test")}
    lengths = preview.lengths(folder, spec, rows["train"])
    return Explanation(
        model=facts.id,
        rows={split: len(found) for split, found in rows.items()},
        epochs=spec.training.epochs,
        lengths=lengths,
        plan=planner.make(spec, facts, lengths.lengths, machine.inspect(), lengths.learned),
        trainable_parameters=spec.tuner.trainable_parameters(facts, spec.tuner_settings),
        total_parameters=facts.parameters,
    )
