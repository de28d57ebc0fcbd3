"""How long will it take? Seconds of a run by part, from its tokens, the model's shapes and this machine's speed.

The speed was measured (`engine.planning.speed`). What earlier runs here took corrects the prediction
(`engine.planning.experience`): runs of the same model, objective and tuner by their factor for each part, other runs by
their common one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from engine.bases.models import ModelFacts
from engine.machine import Machine
from engine.methods.job import CHUNK_OF_BATCHES
from engine.planning import experience, memory
from engine.planning.plan import Plan, TimePart
from engine.planning.speed import Course, Speed, machine_key
from engine.specs.spec import RunSpec

SAMPLE_TOKENS = 48
MOST_ANSWER_TOKENS = 512
LOSS_ROWS = 16
"""Rows at a time when held-out loss is computed after the answers."""
OPTIMIZER_BYTES = 36
"""Read and written for each trained number and update: AdamW's two moments, weight and gradient, and the clipping."""
LOGIT_BYTES = 36
"""The same for each score of a word: the cast, the softmax and its gradient, in float32."""
WORDS_WITH_ADDITIONS = 1.7
"""How much longer a word takes with additions at each linear layer, measured with LoRA on SmolLM2-135M."""
FIT_S = 6e-6
"""Comparing five classifiers in five folds, for each row, feature and class; measured on features of MiniLM."""
AGAIN = (0.0, 0.45, 0.65, 0.7, 1.0)
"""What share of a pass forward is made again at each level of recomputing (`engine.planning.paths`): by the products of
a Llama's layer, of which gate and up are the largest."""
RELOAD_S = 0.4
DISK = 1e9
"""Bytes a second from a disk that has the file in memory already."""


@dataclass(frozen=True)
class Counts:
    """Tokens of some rows, and how many of them are learned."""

    lengths: Sequence[int]
    learned: Sequence[int]


@dataclass(frozen=True)
class Rows:
    """A run's rows: to learn from, to watch by, to score. baselines: further scores of the untouched model. classes:
    labels to choose from."""

    train: Counts
    validation: Counts
    scored: Counts
    baselines: int = 0
    classes: int = 0


def timed(plan: Plan, spec: RunSpec, facts: ModelFacts, rows: Rows, machine: Machine, speed: Speed | None) -> Plan:
    """The plan with its seconds by part; as it was where this machine's speed is not known."""
    if speed is None:
        return plan
    alike = _alike(plan, spec, machine)
    raw = predict(spec, facts, plan, rows, speed)
    factors, within = experience.corrections(alike)
    parts = [TimePart(name, seconds * factors.get(name, 1.0), seconds) for name, seconds in raw.items() if seconds > 0]
    reasons = [*plan.reasons, *_own_told(spec, facts, plan, rows, speed, raw.get("train", 0.0))]
    return replace(plan, seconds=parts, seconds_within=within, alike=alike, reasons=reasons)


def predict(spec: RunSpec, facts: ModelFacts, plan: Plan, rows: Rows, speed: Speed) -> dict[str, float]:
    """Seconds by part, from the machine's speed alone. Parts are named as the phases of `engine.events.Progress`."""
    asked, rows = rows.train, _learned(spec, facts, rows)
    work = _Work(spec, facts, plan, speed)
    stored = 4 * facts.parameters if plan.weights == "float32" else 2 * facts.parameters
    loads = 1 + (spec.evaluation.before and bool(rows.scored.lengths))
    found = {"load": speed.start_s + loads * (RELOAD_S + stored / DISK)}
    if rows.scored.lengths and spec.evaluation.before:
        before = work.scoring(rows.scored, trained=False)
        found |= {"score before": before, "score baseline": rows.baselines * before}
    if spec.tuner.kind == "fit":
        watching = rows.validation if rows.validation != rows.scored else Counts([], [])  # see engine.compute.fit
        found["features"] = work.reading(rows.train, plan.micro_batch) + work.reading(watching, plan.micro_batch)
        found["train"] = FIT_S * len(rows.train.lengths) * facts.hidden * max(2, rows.classes)
    elif spec.tuner.kind == "gradient":
        found["train"] = work.training(rows) + work.writing_own(asked)
    beside = spec.objective.beside(facts, spec.objective_settings)
    if beside and spec.tuner.kind == "gradient":
        found["load"] += RELOAD_S + 2 * beside.facts.parameters / DISK
        other = _Work(spec, beside.facts, plan, speed)
        if beside.is_scored and "score baseline" in found:
            found["score baseline"] += other.scoring(rows.scored, trained=False)
        if beside.writes:
            found["answers"] = other.writing(asked, beside.writes)
        elif beside.each_step:
            found["train"] += other.reading_along(rows)
        if not beside.writes and (beside.reads_first or not beside.each_step):
            found["teacher"] = other.reading(rows.train, LOSS_ROWS) + other.reading(rows.validation, LOSS_ROWS)
    parts = len(spec.tuner.runs(spec.tuner_settings))
    found["load"] += parts * (RELOAD_S + stored / DISK)
    found["score after"] = (1 + parts) * work.scoring(rows.scored, trained=True)
    return found


class _Work:
    """What a run computes, in seconds."""

    def __init__(self, spec: RunSpec, facts: ModelFacts, plan: Plan, speed: Speed) -> None:
        self.spec, self.facts, self.plan, self.speed = spec, facts, plan, speed
        self.weights = sum(outputs * inputs for outputs, inputs in facts.linears.values())
        self.numbers = sum(outputs + inputs for outputs, inputs in facts.linears.values())
        self.trained = spec.tuner.trainable_parameters(facts, spec.tuner_settings)
        self.answers = "answers" in spec.objective.gives
        self.words_scored = spec.objective.scores_words(facts)
        self.learned_as, self.scored_as = spec.objective.readings(spec.objective_settings)
        added = speed.fast if plan.path == "fast" else speed.additions
        self.learner = speed.base if spec.tuner.trains_base else added

    def training(self, rows: Rows) -> float:
        plan, training = self.plan, self.spec.training
        updates = math.ceil(len(rows.train.lengths) / training.batch_size)
        batches = batched(rows.train, training.batch_size, plan.micro_batch, plan.packing)
        seconds = plan.total_steps / updates * self.learned_as * sum(self.learn(*batch) for batch in batches)
        seconds /= plan.processes
        seconds += plan.total_steps * self.trained * OPTIMIZER_BYTES / self.speed.memory
        if rows.validation.lengths:
            checks = math.ceil(plan.total_steps / plan.evaluate_every)
            words = self.words(1, SAMPLE_TOKENS, tuned=True) if self.answers else 0.0
            seconds += checks * (self.learned_as * self.reading(rows.validation, plan.micro_batch) + words)
        return seconds

    def reading_along(self, rows: Rows) -> float:
        """Of a model that reads each batch that another one learns from, and each check."""
        plan, batch = self.plan, self.spec.training.batch_size
        seconds = 0.0
        for tokens, longest, learned in batched(rows.train, batch, plan.micro_batch, plan.packing):
            seconds += self._pass(self.speed.read) + self._tokens(tokens, longest, self.speed.read, 2)
            seconds += self._scores(learned, 2)
        passes = plan.total_steps / math.ceil(len(rows.train.lengths) / batch)
        checks = math.ceil(plan.total_steps / plan.evaluate_every) if rows.validation.lengths else 0
        return passes * seconds + checks * self.reading(rows.validation, plan.micro_batch)

    def scoring(self, scored: Counts, trained: bool) -> float:
        """Answers, then losses. An untrained model doesn't know where to end, a trained one ends as the rows do."""
        if not scored.lengths:
            return 0.0
        if not self.spec.objective.answers_to_score:
            return self.scored_as * self.reading(scored, LOSS_ROWS)
        answer = max(scored.learned)
        most = answer + 1 if trained else min(answer + answer // 2 + 4, MOST_ANSWER_TOKENS)
        tuned = trained and not self.spec.tuner.trains_base
        return self._answering(scored, most, tuned) + self.reading(scored, LOSS_ROWS)

    def writing(self, asked: Counts, most: int) -> float:
        """Answers of at most so many tokens; of a teacher that ends as the rows do, and not much later."""
        answer = max(asked.learned)
        return self._answering(asked, min(most, answer + answer // 2 + 4), tuned=False)

    def writing_own(self, asked: Counts) -> float:
        """Of a model that writes answers itself, before each update: every one as long as it may be."""
        own = self.spec.objective.own(self.spec.objective_settings)
        if own is None:
            return 0.0
        count = max(1, math.ceil(own.share * min(self.spec.training.batch_size, len(asked.lengths))))
        prompt = sum(asked.lengths) / len(asked.lengths) - sum(asked.learned) / len(asked.learned)
        room = self.spec.longest_row(self.facts)
        most = max(1, min(own.tokens, room - round(prompt)))
        rounds = math.ceil(count / memory.rows_at_once(min(room, max(asked.lengths) + own.tokens)))
        read = rounds * self._pass(self.speed.read)
        read += self._tokens(round(count * prompt), round(prompt), self.speed.read, 2)
        return self.plan.total_steps * (read + rounds * self.words(math.ceil(count / rounds), most, tuned=True))

    def _answering(self, asked: Counts, most: int, tuned: bool) -> float:
        count = len(asked.lengths)
        prompts = [length - learned for length, learned in zip(asked.lengths, asked.learned, strict=True)]
        at_once = memory.rows_at_once(max(prompts) + most)
        # What all prompts begin with is computed once.
        own = sum(prompts) - count * shared(asked)
        rounds = math.ceil(count / at_once)
        read = rounds * self._pass(self.speed.read) + self._tokens(own, max(prompts), self.speed.read, 2)
        return read + rounds * self.words(min(count, at_once), most, tuned)

    def words(self, rows: int, count: int, tuned: bool) -> float:
        """This many words, one after the other, for some rows at once."""
        head = self.facts.vocabulary * self.facts.hidden
        fewer = max(rows, 8) / self.speed.few_rows  # fewer rows are no faster: the weights have to be read
        layers = self.facts.layers * self.speed.word_layer_s + 2 * self.weights * fewer
        more = WORDS_WITH_ADDITIONS if tuned and not self.spec.tuner.trains_base else 1.0
        return count * (self.speed.word_s + more * layers + 2 * head * fewer)

    def reading(self, counts: Counts, at_once: int) -> float:
        """Held-out loss of all rows."""
        order = sorted(zip(counts.lengths, counts.learned, strict=True))
        seconds = 0.0
        for start in range(0, len(order), at_once):
            some = order[start : start + at_once]
            tokens = len(some) * some[-1][0]
            seconds += self._pass(self.speed.read) + self._tokens(tokens, some[-1][0], self.speed.read, 2)
            seconds += self._scores(sum(learned for _, learned in some), 2)
        return seconds

    def learn(self, tokens: int, longest: int, learned: int) -> float:
        """Forward and backward of one micro-batch."""
        factor = 6 if self.spec.tuner.trains_base else 4
        seconds = self._pass(self.learner) + self._tokens(tokens, longest, self.learner, factor)
        seconds += self._scores(learned, factor)
        again = AGAIN[self.plan.recompute]
        if again:
            seconds += again * (self._pass(self.speed.read) + self._tokens(tokens, longest, self.speed.read, 2))
        if self.spec.tuner.trains_base and self.plan.compute != "float32":
            seconds += 6 * self.trained / self.speed.memory  # float32 weights are cast for each micro-batch
        return seconds

    def _pass(self, course: Course) -> float:
        return course.once_s + self.facts.layers * course.layer_s

    def _tokens(self, tokens: int, longest: int, course: Course, factor: int) -> float:
        attention = 2 * self.facts.layers * self.facts.hidden * longest
        return tokens * (self.numbers * course.number_s + factor * (self.weights + attention) / self.speed.products)

    def _scores(self, learned: int, factor: int) -> float:
        """The language head's product and the loss."""
        if not self.words_scored:
            return 0.0
        words = learned * self.facts.vocabulary
        return words * (factor * self.facts.hidden / self.speed.products + LOGIT_BYTES / self.speed.memory)


def _learned(spec: RunSpec, facts: ModelFacts, rows: Rows) -> Rows:
    """The rows as they are learned, with what the model writes of them itself."""
    own = spec.objective.own(spec.objective_settings)
    if own is None:
        return rows
    counts = own.usual(rows.train.lengths, rows.train.learned, spec.longest_row(facts))
    return replace(rows, train=Counts(*counts))


def _own_told(spec: RunSpec, facts: ModelFacts, plan: Plan, rows: Rows, speed: Speed, training: float) -> Iterator[str]:
    """What share of the training the model is at writing answers itself, in a sentence."""
    writing = _Work(spec, facts, plan, speed).writing_own(rows.train)
    if writing and spec.tuner.kind == "gradient":
        yield f"Up to about {math.ceil(20 * writing / training) * 5} % of the time of training is for writing answers."


def batched(rows: Counts, batch: int, micro: int, packing: bool) -> list[tuple[int, int, int]]:
    """Micro-batches of one pass, laid out as the trainer does: tokens with padding, longest row, learned tokens."""
    order = list(range(len(rows.lengths)))
    random.Random(0).shuffle(order)
    chunk = batch * CHUNK_OF_BATCHES
    found = []
    for start in range(0, len(order), chunk):
        near = sorted(order[start : start + chunk], key=lambda row: -rows.lengths[row])
        for begin in range(0, len(near), micro):
            some = near[begin : begin + micro]
            lengths = [rows.lengths[row] for row in some]
            tokens = sum(lengths) if packing else len(lengths) * max(lengths)
            found.append((tokens, max(lengths), sum(rows.learned[row] for row in some)))
    return found


def shared(rows: Counts) -> int:
    """A guess at how many tokens all prompts begin with: half of the shortest."""
    shortest = min(length - learned for length, learned in zip(rows.lengths, rows.learned, strict=True))
    return max(0, shortest // 2)


def _alike(plan: Plan, spec: RunSpec, machine: Machine) -> list[str]:
    """What makes runs comparable: machine and format; then model, objective and tuner."""
    how = " ".join(["fast"] * (plan.path == "fast") + ["recomputed"] * plan.checkpointing)
    model = f"{spec.model.id} {plan.weights} {how}".strip()
    return [f"{machine_key(machine)} | {plan.compute}", f"{model} | {spec.objective.name} | {spec.tuner.name}"]
