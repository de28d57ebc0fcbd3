"""Weighted merge: what several runs added to one base, as one addition, without training (linear, TIES, DARE, SVD).

Task arithmetic: Ilharco et al. 2022, arXiv 2212.04089. TIES: Yadav et al. 2023, arXiv 2306.01708. DARE: Yu et al. 2023,
arXiv 2311.03099.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from engine.bases import lineage
from engine.bases.models import ModelFacts
from engine.errors import SettingError, UserError
from engine.methods.tuner import READING, Tuner
from engine.settings import Section, setting

if TYPE_CHECKING:
    from torch import nn

FEWEST, MOST = 2, 8
KINDS = {"linear": "cat", "svd": "svd", "ties": "ties_svd", "dare": "dare_linear_svd", "dare-ties": "dare_ties_svd"}
"""What is done, as PEFT calls it: on whole changes of weights, of which the best factors of the rank are kept."""


class Merge(Tuner):
    name = "merge"
    title = "Merge of several runs"
    help = (
        "Nothing learns: what several runs added to the same base (LoRA and its kin) is summed with weights of yours."
    )
    choose = (
        "Choose it for skills that were learned apart, or for several runs of one task. The sum is scored beside each "
        "of them."
    )
    paper = "https://arxiv.org/abs/2306.01708"
    order = 60
    family = "LoRA and its kin"
    kind = "merge"
    works = "Nothing learns: each run is scored on the held-out rows, then what they added is summed and scored."
    needs = frozenset()
    base_rate = 0.0
    once = "It sums what runs added; nothing of it learned."
    uses = READING | {"evaluation.options_in_prompt"}

    class Settings(Section):
        runs: str = setting(
            "",
            "Runs",
            "Ids of the runs, with spaces between them. All started from the base above, and learned with LoRA, LoRA+, "
            "LoRA-FA, PiSSA or AdaLoRA.",
        )
        weights: str = setting(
            "",
            "Weights",
            "A number for each run, with spaces between them, such as: 0.7 0.3. Empty means equal ones that sum to 1. "
            "Negative ones take away what a run learned.",
        )
        how: Literal["linear", "ties", "dare", "dare-ties", "svd"] = setting(
            "linear",
            "How",
            "linear: the exact weighted sum. svd: the same, cut to a smaller rank. ties: without small changes and "
            "those whose sign the others outvote. dare: changes are dropped at random and the rest enlarged. "
            "dare-ties: both.",
        )
        density: float = setting(
            0.5, "Share kept", "Of each run's changes, with ties and dare.", advanced=True, gt=0, le=1
        )
        rank: int | None = setting(
            None,
            "Rank",
            "Of the result, with svd, ties and dare. Empty means that of the largest of the runs.",
            advanced=True,
            ge=1,
            le=1024,
        )

        @model_validator(mode="after")
        def _fits(self) -> Any:
            shares = self.shares()
            if shares and len(shares) != len(self.ids()):
                raise ValueError(f"as many weights as runs ({len(self.ids())})")
            return self

        def ids(self) -> list[str]:
            return list(dict.fromkeys(one.removeprefix(lineage.PREFIX) for one in self.runs.split()))

        def shares(self) -> list[float]:
            """As they are written; none where that is left open."""
            try:
                return [float(one) for one in self.weights.replace(",", " ").split()]
            except ValueError:
                raise ValueError("weights that are numbers, such as: 0.7 0.3") from None

        def arguments(self) -> dict[str, Any]:
            """Of PEFT's `add_weighted_adapter`. Its "linear" sums the two factors apart; "cat" is the exact sum."""
            kind = KINDS[self.how]
            found: dict[str, Any] = {"combination_type": kind}
            if kind != "cat":
                found |= {"svd_rank": self.rank, "svd_full_matrices": False}
            return found if kind in ("cat", "svd") else found | {"density": self.density}

    def refuses(self, facts: ModelFacts, settings: Any) -> str | None:
        for run_id in settings.ids():
            try:
                found = lineage.parent(run_id)
                base = lineage.base(found.model)
            except UserError as error:
                return error.problem
            if not (found.result / "adapter_config.json").exists() or found.tuner not in COMBINED:
                return f"Run {run_id} learned with {found.tuner}; only {', '.join(COMBINED)} can be merged with others."
            if lineage.head_learned(found.result):
                return f"The head of run {run_id} learned beside what was added; such heads can't be made one."
            if (base.keep_layers or facts.made_of or facts.layers) != facts.layers:
                return f"Run {run_id} stands on other layers of {base.id} than those that were chosen here."
            if base.id != facts.id:
                return f"Run {run_id} started from {base.id}, not from {facts.id}: the base has to be the same."
        return None

    def settled(self, settings: Any, model_folder: Path) -> Any:
        count = len(settings.ids())
        if not FEWEST <= count <= MOST:
            raise SettingError(
                [f"Runs (tuner.runs) names {count}; a merge is of {FEWEST} to {MOST} runs of one base."],
                "Give ids from the list of runs, with spaces between them.",
            )
        if not settings.shares():
            return settings.model_copy(update={"weights": " ".join([repr(1 / count)] * count)})
        if not any(settings.shares()):
            raise SettingError(["Weights (tuner.weights) are all 0, so that nothing would be added."])
        return settings

    def learning(self, facts: ModelFacts) -> str:
        return f"Nothing learns: all {facts.parameters:,} weights of the model stay, and what the runs added is summed."

    def apply(self, backbone: nn.Module, settings: Any, seed: int) -> nn.Module:
        from engine.compute.combine import combined

        folders = [lineage.parent(run_id).result for run_id in settings.ids()]
        return combined(backbone, folders, settings.shares(), settings.arguments(), seed)

    def runs(self, settings: Any) -> list[str]:
        return list(settings.ids())

    def script(self, settings: Any) -> str:
        return ""

    def save(self, backbone: nn.Module, folder: Path) -> None:
        backbone.save_pretrained(folder)

    def restore(self, backbone: nn.Module, folder: Path) -> nn.Module:
        from peft import PeftModel

        return PeftModel.from_pretrained(backbone, folder)


COMBINED = ("lora", "lora-plus", "lora-fa", "pissa", "adalora", "merge")
"""Tuners whose results are ordinary LoRAs for the unchanged base."""
METHOD = Merge()
