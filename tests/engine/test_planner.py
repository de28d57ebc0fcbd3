"""How a run is laid out on a machine, with stand-ins for objective and tuner."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from engine import objectives, tuners
from engine.bases.catalog import MINILM, SMOLLM2
from engine.bases.models import ModelFacts, embedded_facts
from engine.errors import MachineError, SettingError
from engine.machine import Gpu, Machine
from engine.methods.objective import Objective
from engine.methods.tuner import Tuner
from engine.planning import layout, number_formats, planner
from engine.settings import Section
from engine.specs.sections import Data, Evaluate, Launch, Mixture, Model, Output, Training
from engine.specs.spec import RunSpec

GB = 10**9
FACTS = embedded_facts(SMOLLM2)
LAPTOP = Machine(
    device="cpu", cores=4, memory_total=16 * GB, memory_available=14 * GB, disk_free=100 * GB, cpu_bfloat16=True
)
L4 = replace(LAPTOP, device="cuda", gpus=(Gpu("NVIDIA L4", 24 * GB, 22 * GB, 8.9),))
T4 = replace(LAPTOP, device="cuda", gpus=(Gpu("Tesla T4", 16 * GB, 15 * GB, 7.5),))
ROWS = [300] * 100


class Nothing(Section):
    pass


def _plannable(kind: Any) -> Any:
    """Lets a stand-in be made without the methods that planning never calls."""
    kind.__abstractmethods__ = frozenset()
    return kind


@_plannable
class Answers(Objective):
    name = title = "answers"
    help = ""
    wants = "messages"
    architectures = frozenset({"decoder"})
    gives = frozenset({"gradients", "answers", "trainable base"})
    rate_factor = 0.5
    packs = True
    main_metric = "exact_match"
    Settings = Nothing


@_plannable
class Classes(Answers):
    name = title = "classes"
    gives = frozenset({"gradients", "class scores", "trainable base"})
    rate_factor = 1.0
    head_rate = 3e-3
    packs = False


@_plannable
class Additions(Tuner):
    name = title = "additions"
    help = ""
    base_rate = 4e-4
    loads = frozenset({"auto", "32bit", "16bit", "8bit", "4bit"})
    Settings = Nothing

    def trainable_parameters(self, facts: ModelFacts, settings: Any) -> int:
        return 5_000_000


@_plannable
class InFront(Additions):
    name = title = "in front"
    packs = False

    def virtual_tokens(self, settings: Any) -> int:
        return 20


@_plannable
class Everything(Additions):
    name = title = "everything"
    base_rate = 5e-5
    loads = frozenset({"auto", "32bit", "16bit"})
    trains_base = True

    def trainable_parameters(self, facts: ModelFacts, settings: Any) -> int:
        return facts.parameters


def _spec(
    objective: type[Objective] = Answers,
    tuner: type[Tuner] = Additions,
    load: str = "auto",
    launch: dict[str, Any] | None = None,
    **training: Any,
) -> RunSpec:
    return RunSpec(
        name="",
        model=Model(id="embedded:smollm2-135m", load=load),
        data=[Data(source="x.csv")],
        objective=objective(),
        objective_settings=Nothing(),
        tuner=tuner(),
        tuner_settings=Nothing(),
        mixture=Mixture(),
        training=Training(**training),
        evaluation=Evaluate(),
        output=Output(),
        launch=Launch(**(launch or {})),
    )


def test_a_batch_is_micro_batches_times_accumulation() -> None:
    for available in (14, 3, 2, 1.8):
        plan = planner.make(_spec(batch_size=12), FACTS, ROWS, replace(LAPTOP, memory_available=int(available * GB)))
        assert plan.micro_batch * plan.accumulation == 12


def test_the_whole_batch_is_computed_at_once_where_memory_allows() -> None:
    assert planner.make(_spec(), FACTS, ROWS, LAPTOP).micro_batch == 8


def test_less_memory_makes_the_micro_batch_smaller_and_says_so() -> None:
    plan = planner.make(_spec(), FACTS, ROWS, replace(LAPTOP, memory_available=3 * GB))
    assert plan.micro_batch < 8
    assert not plan.checkpointing
    assert any("an update is still made from 8 rows" in reason for reason in plan.reasons)


def test_checkpointing_comes_only_when_smaller_micro_batches_do_not_help() -> None:
    long = [4096] * 100
    plan = planner.make(_spec(max_tokens=4096), FACTS, long, replace(LAPTOP, memory_available=5 * GB))
    assert plan.checkpointing
    assert any("checkpointing is on" in reason for reason in plan.reasons)


def test_a_plan_that_was_made_smaller_fits_with_room_to_spare() -> None:
    machine = replace(LAPTOP, memory_available=3 * GB)
    assert planner.make(_spec(), FACTS, ROWS, machine).memory_bytes <= layout.TIGHT * 3 * GB


def test_a_given_micro_batch_that_does_not_divide_the_batch_is_lowered_and_said() -> None:
    plan = planner.make(_spec(batch_size=12, micro_batch_size=5), FACTS, ROWS, LAPTOP)
    assert (plan.micro_batch, plan.accumulation) == (4, 3)
    assert any("not 5" in reason for reason in plan.reasons)


def test_a_given_micro_batch_is_kept_even_where_memory_is_short() -> None:
    spec = _spec(micro_batch_size=8, checkpointing="off", launch={"ignore_memory": True})
    assert planner.make(spec, FACTS, ROWS, replace(LAPTOP, memory_available=GB)).micro_batch == 8


def test_what_can_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(MachineError) as error:
        planner.make(_spec(max_tokens=8192), FACTS, [8000] * 9, replace(LAPTOP, memory_available=4 * GB))
    assert "does not fit" in error.value.problem
    assert "Longest row" in error.value.fix


def test_the_longest_row_that_is_proposed_does_fit() -> None:
    machine = replace(LAPTOP, memory_available=4 * GB)
    with pytest.raises(MachineError) as error:
        planner.make(_spec(max_tokens=8192), FACTS, [8000] * 9, machine)
    proposed = int(error.value.fix.split(" to ")[1].split()[0])
    planner.make(_spec(max_tokens=8192), FACTS, [proposed] * 9, machine)


def test_a_micro_batch_that_was_asked_for_is_named_as_the_way_out() -> None:
    with pytest.raises(MachineError, match="Leave 'Rows at a time'"):
        planner.make(
            _spec(batch_size=64, micro_batch_size=64, checkpointing="off"),
            FACTS,
            ROWS,
            replace(LAPTOP, memory_available=4 * GB),
        )


def test_a_model_that_learns_whole_and_is_too_large_is_sent_to_lora() -> None:
    with pytest.raises(MachineError, match="LoRA"):
        planner.make(_spec(tuner=Everything), FACTS, [64] * 9, replace(LAPTOP, memory_available=2 * GB))


def test_a_refused_run_starts_when_the_person_insists_and_a_warning_stands_in_the_reasons() -> None:
    machine = replace(LAPTOP, memory_available=2 * GB)
    plan = planner.make(_spec(tuner=Everything, launch={"ignore_memory": True}), FACTS, ROWS, machine)
    assert any(reason.startswith("Memory is tight") for reason in plan.reasons)


def test_memory_is_called_tight_between_85_and_100_percent() -> None:
    spec = _spec(micro_batch_size=8, checkpointing="off")
    need = planner.make(spec, FACTS, ROWS, LAPTOP).memory_bytes
    plan = planner.make(spec, FACTS, ROWS, replace(LAPTOP, memory_available=int(need / 0.9)))
    assert any(reason.startswith("Memory is tight") for reason in plan.reasons)
    roomy = planner.make(spec, FACTS, ROWS, replace(LAPTOP, memory_available=int(need / 0.8)))
    assert not any(reason.startswith("Memory is tight") for reason in roomy.reasons)


@pytest.mark.parametrize(
    ("rows", "batch", "epochs"), [(100, 8, 3.0), (7, 8, 1.0), (33, 4, 0.5), (10, 3, 2.7), (1, 1, 1)]
)
@pytest.mark.parametrize("micro", [1, 2])
def test_steps_are_counted_as_the_trainer_counts_them(rows: int, batch: int, epochs: float, micro: int) -> None:
    plan = planner.make(_spec(batch_size=batch, epochs=epochs, micro_batch_size=micro), FACTS, [50] * rows, LAPTOP)
    # transformers.Trainer.set_initial_training_values: batches of an epoch, then updates of an epoch, then all.
    batches = math.ceil(rows / plan.micro_batch)
    updates = max(1, batches // plan.accumulation + int(batches % plan.accumulation > 0))
    assert plan.total_steps == math.ceil(epochs * updates)


def test_a_step_limit_ends_the_run_and_is_said() -> None:
    plan = planner.make(_spec(max_steps=5), FACTS, ROWS, LAPTOP)
    assert plan.total_steps == 5
    assert any("step limit" in reason for reason in plan.reasons)


def test_a_step_limit_above_the_passes_changes_nothing() -> None:
    assert planner.make(_spec(max_steps=10_000), FACTS, ROWS, LAPTOP).total_steps == 39


@pytest.mark.parametrize(("epochs", "every"), [(3.0, 10), (0.01, 1)])
def test_held_out_loss_is_measured_four_times_a_run_and_at_least_each_step(epochs: float, every: int) -> None:
    assert planner.make(_spec(epochs=epochs), FACTS, ROWS, LAPTOP).evaluate_every == every


def test_warm_up_is_a_share_of_the_steps_and_leaves_one() -> None:
    assert planner.make(_spec(warmup=0.1), FACTS, ROWS, LAPTOP).warmup_steps == 4
    assert planner.make(_spec(warmup=0.9, epochs=0.01), FACTS, ROWS, LAPTOP).warmup_steps == 0


def test_the_learning_rate_is_the_tuners_times_the_objectives_factor() -> None:
    plan = planner.make(_spec(), FACTS, ROWS, LAPTOP)
    assert plan.learning_rate == 2e-4
    assert plan.head_rate is None


def test_a_tuner_may_want_another_rate_beside_a_new_head() -> None:
    vera, chat = tuners.get("vera"), objectives.get("chat")
    assert vera.rate_with(chat) == vera.base_rate
    assert {vera.rate_with(objectives.get(name)) for name in ("classify", "distill-labels")} == {vera.rate_beside_head}
    lora, classify = tuners.get("lora"), objectives.get("classify")
    assert lora.rate_with(classify) == lora.base_rate * classify.rate_factor


def test_a_given_learning_rate_is_used_and_the_heads_stays() -> None:
    plan = planner.make(_spec(objective=Classes, learning_rate=1e-5), FACTS, ROWS, LAPTOP)
    assert (plan.learning_rate, plan.head_rate) == (1e-5, 3e-3)


@pytest.mark.parametrize(
    ("machine", "compute"),
    [
        (LAPTOP, "bfloat16"),
        (replace(LAPTOP, cpu_bfloat16=False), "float32"),
        (replace(LAPTOP, device="mps"), "float32"),
        (L4, "bfloat16"),
        (T4, "float16"),
    ],
)
def test_the_computing_format_suits_the_processor_and_frozen_weights_share_it(machine: Machine, compute: str) -> None:
    plan = planner.make(_spec(), FACTS, ROWS, machine)
    assert (plan.compute, plan.weights) == (compute, compute)


def test_weights_that_learn_are_float32() -> None:
    assert planner.make(_spec(tuner=Everything), FACTS, ROWS, LAPTOP).weights == "float32"


def test_16_bit_weights_that_learn_stay_float32_and_this_is_said() -> None:
    plan = planner.make(_spec(tuner=Everything, load="16bit"), FACTS, ROWS, LAPTOP)
    assert plan.weights == "float32"
    assert any("lose small updates" in reason for reason in plan.reasons)


@pytest.mark.parametrize(
    ("spec", "machine"),
    [
        (_spec(tuner=Everything, load="4bit"), LAPTOP),
        (_spec(precision="float16"), LAPTOP),
        (_spec(precision="bfloat16"), T4),
        (_spec(precision="float32", load="16bit"), LAPTOP),
        (_spec(objective=Classes, packing="on"), LAPTOP),
    ],
)
def test_settings_that_exclude_each_other_are_refused_by_name(spec: RunSpec, machine: Machine) -> None:
    with pytest.raises(SettingError, match=r"model\.load|training\.precision|training\.packing"):
        planner.make(spec, FACTS, ROWS, machine)


def test_4_bit_weights_without_bitsandbytes_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_formats.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="bitsandbytes"):
        planner.make(_spec(load="4bit"), FACTS, ROWS, LAPTOP)


def test_4_bit_weights_need_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_formats.util, "find_spec", lambda name: object())
    four = planner.make(_spec(load="4bit"), FACTS, ROWS, LAPTOP)
    assert four.weights == "4bit"
    assert four.memory_bytes < planner.make(_spec(), FACTS, ROWS, LAPTOP).memory_bytes


def test_apples_gpus_refuse_4_bit_weights() -> None:
    with pytest.raises(MachineError, match="Apple"):
        planner.make(_spec(load="4bit"), FACTS, ROWS, replace(LAPTOP, device="mps"))


def test_packing_is_for_gpus_and_objectives_that_allow_it() -> None:
    assert planner.make(_spec(), FACTS, ROWS, L4).packing
    assert not planner.make(_spec(), FACTS, ROWS, LAPTOP).packing
    assert not planner.make(_spec(objective=Classes), FACTS, ROWS, L4).packing
    assert planner.make(_spec(packing="on"), FACTS, ROWS, LAPTOP).packing
    assert not planner.make(_spec(packing="off"), FACTS, ROWS, L4).packing


def test_rows_longer_than_the_model_reads_are_refused_with_the_limit() -> None:
    with pytest.raises(SettingError, match=r"reads at most 512.*max_tokens\) to 512"):
        planner.make(_spec(objective=Classes), embedded_facts(MINILM), [700], LAPTOP)


def test_virtual_tokens_take_room_from_the_rows() -> None:
    facts = embedded_facts(MINILM)
    assert planner.make(_spec(objective=Classes, tuner=InFront), facts, [492], LAPTOP)
    with pytest.raises(SettingError, match=r"reads at most 492 beside 20 virtual ones.*max_tokens\) to 492"):
        planner.make(_spec(objective=Classes, tuner=InFront), facts, [493], LAPTOP)
    with pytest.raises(SettingError, match="leave no room for a text"):
        planner.make(_spec(objective=Classes, tuner=InFront), replace(facts, context=20), [5], LAPTOP)


def test_virtual_tokens_cost_memory_as_real_ones_do() -> None:
    longer = planner.make(_spec(), FACTS, [320] * 100, LAPTOP, learned=[9] * 100)
    in_front = planner.make(_spec(tuner=InFront), FACTS, [300] * 100, LAPTOP, learned=[9] * 100)
    assert in_front.memory_bytes == longer.memory_bytes


def test_a_tuner_that_needs_each_row_by_itself_is_not_packed() -> None:
    assert not planner.make(_spec(tuner=InFront), FACTS, ROWS, L4).packing
    with pytest.raises(SettingError, match="in front needs each row by itself"):
        planner.make(_spec(tuner=InFront, packing="on"), FACTS, ROWS, L4)


def test_threads_are_the_cores_unless_given() -> None:
    assert planner.make(_spec(), FACTS, ROWS, LAPTOP).threads == 4
    assert planner.make(_spec(launch={"threads": 2}), FACTS, ROWS, LAPTOP).threads == 2


def test_a_machines_notices_stand_first_in_the_reasons() -> None:
    plan = planner.make(_spec(), FACTS, ROWS, replace(LAPTOP, notices=("There is a GPU that can't be used.",)))
    assert plan.reasons[0] == "There is a GPU that can't be used."


def test_fewer_learned_tokens_need_less_memory() -> None:
    few = planner.make(_spec(), FACTS, ROWS, LAPTOP, learned=[5] * 100)
    assert few.memory_bytes < planner.make(_spec(), FACTS, ROWS, LAPTOP).memory_bytes


def test_no_rows_are_refused() -> None:
    with pytest.raises(SettingError, match="no rows"):
        planner.make(_spec(), FACTS, [], LAPTOP)
