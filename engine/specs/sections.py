"""The sections of a spec that every run has: model, data, mixture, training, evaluation, output and launch."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator, model_validator

from engine import webhooks
from engine.reporters import Name as ReporterName
from engine.reporters import installed
from engine.settings import Section, setting
from engine.specs import optimizers
from engine.specs.optimizers import Choice as OptimizerChoice

FORMATS = ("auto", "chat", "sharegpt", "alpaca", "prompt-completion", "marked", "labelled", "text")


class Model(Section):
    id: str = setting(
        ...,
        "Base model",
        "A model of the Hub (owner/name), a folder on this machine, an embedded one such as embedded:smollm2-135m, or "
        "run:ID, what another run left.",
    )
    revision: str | None = setting(
        None, "Revision", "Branch, tag or commit of a Hub model; empty means the newest.", advanced=True
    )
    load: Literal["auto", "32bit", "16bit", "8bit", "4bit"] = setting(
        "auto",
        "Load weights as",
        "Fewer bits need less memory. 8 and 4 bits freeze the base weights, so that they go with tuners which add "
        "something and leave these as they are.",
        advanced=True,
    )
    continued: bool = setting(
        False,
        "Go on with what was added",
        "Where the base is a run: what that run added goes on learning, with the same method and settings. Otherwise "
        "it becomes a fixed part of the base, and something new learns on top.",
        advanced=True,
    )

    keep_layers: int = setting(
        0,
        "Layers to keep",
        "Make a smaller model of so many of its layers, evenly spaced, the first and the last among them; embeddings "
        "and head stay. It has to learn anew, best from the whole model as its teacher. 0 keeps all.",
        advanced=True,
        ge=0,
        le=10_000,
    )

    @field_validator("keep_layers")
    @classmethod
    def _has_both_ends(cls, value: int) -> int:
        if value == 1:
            raise ValueError("0 for all, or 2 and more, so that the first and the last are among them")
        return value


class Split(Section):
    """Shares of the rows that are kept away from training. Rows with equal content stay on one side."""

    test: float = setting(0.1, "Test share", "Rows held out to score the model before and after.", ge=0, lt=1)
    validation: float = setting(
        0.1,
        "Validation share",
        "Rows held out to choose the best checkpoint or classifier, and to stop early.",
        ge=0,
        lt=1,
    )
    test_rows: int | None = setting(
        None, "Test rows", "An exact number of test rows, in place of the share.", advanced=True, ge=0
    )
    validation_rows: int | None = setting(
        None, "Validation rows", "An exact number of validation rows, in place of the share.", advanced=True, ge=0
    )

    @model_validator(mode="after")
    def _leaves_rows(self) -> Split:
        if self.test + self.validation >= 1:
            raise ValueError("test and validation together below 1, so that rows are left to learn from")
        return self


class Data(Section):
    source: str = setting(
        ...,
        "Data",
        "A file, a folder of the home, a Hub data set (owner/name), or a sample such as sample:banking-intents.",
    )
    task: str = setting(
        "",
        "Name of the task",
        "What this data set is called beside others of the run: in its scores, where one of them is asked, and before "
        "its texts where that is chosen. Empty means the name of the file.",
        advanced=True,
    )
    format: Literal["auto", "chat", "sharegpt", "alpaca", "prompt-completion", "marked", "labelled", "text"] = setting(
        "auto", "Format", "How the rows are laid out. 'auto' looks at the columns and says what it found."
    )
    columns: dict[str, str] = setting(
        {}, "Columns", "Which column plays which part, for example {text: message, label: category}.", advanced=True
    )
    system: str | None = setting(
        None, "System message", "Put before every conversation that has no system message of its own.", advanced=True
    )
    prompt: str | None = setting(
        None,
        "Prompt template",
        "The person's message, with columns in braces: 'Summarise: {text}'. Empty means the text as it is.",
        advanced=True,
    )
    label_columns: str = setting(
        "",
        "Label columns",
        "Columns of 0 and 1 (or true and false) that are a label each, one name a line. Empty means found by what "
        "they hold, where no column holds labels.",
        advanced=True,
        lines=3,
    )
    label_separator: Literal["auto", ";", "|", ",", "none"] = setting(
        "auto",
        "Between labels",
        "What divides the labels of a cell that holds several. 'auto' looks at the cells and says what it found.",
        advanced=True,
    )
    config: str | None = setting(None, "Configuration", "The configuration of a Hub data set.", advanced=True)
    hub_split: str = setting("train", "Split", "The split of a Hub data set to read.", advanced=True)
    revision: str | None = setting(
        None, "Revision", "Branch, tag or commit of a Hub data set; empty means the newest.", advanced=True
    )
    bad_rows: Literal["refuse", "skip"] = setting(
        "refuse",
        "Rows with problems",
        "'refuse' stops before the start and lists them; 'skip' leaves them out and says how many.",
        advanced=True,
    )
    split: Split = setting(Split(), "Held-out rows", "Which rows are kept away from training.")


class Mixture(Section):
    """Of several data sets; with one there is nothing to mix."""

    by: Literal["size", "equal", "temperature"] = setting(
        "size",
        "Mix data sets by",
        "'size': a pass reads every row once. 'equal': as many rows of each set, so that small ones come more often. "
        "'temperature': in between.",
    )
    temperature: float = setting(
        2.0,
        "Temperature of the mix",
        "1 is by size, 2 by the square root of the size, and so on. Only where the mix is by temperature.",
        ge=1,
        le=100,
    )
    weights: list[float] = setting(
        [],
        "Weights of data sets",
        "How many times as much of each set, in their order, such as [2, 1]. Empty means all alike.",
        advanced=True,
    )

    @field_validator("weights")
    @classmethod
    def _are_weights(cls, value: list[float]) -> list[float]:
        if any(not 0 < weight <= 1000 for weight in value):
            raise ValueError("numbers above 0, at most 1000")
        return value


class Training(Section):
    epochs: float = setting(
        3.0,
        "Passes",
        "How often the model sees each row (epochs). More learns more, then learns by heart.",
        gt=0,
        le=1000,
    )
    max_steps: int | None = setting(
        None, "Step limit", "Stop after this many updates, whatever the passes say.", advanced=True, ge=1
    )
    learning_rate: float | None = setting(
        None,
        "Learning rate",
        "Size of each update. Empty means the value tried for this objective and tuner.",
        gt=0,
        le=1,
    )
    batch_size: int = setting(
        8, "Batch size", "Rows per update. Larger is steadier and makes fewer updates.", ge=1, le=4096
    )
    max_tokens: int = setting(
        1024,
        "Longest row",
        "In tokens. Longer rows are cut at the end, and counted before the start.",
        ge=8,
        le=1_000_000,
    )
    seed: int = setting(42, "Seed", "Equal seeds give equal runs.", advanced=True, ge=0, le=2**32 - 1)
    schedule: Literal["linear", "cosine", "constant"] = setting(
        "cosine", "Schedule", "How the learning rate falls during the run.", advanced=True
    )
    warmup: float = setting(
        0.05, "Warm-up share", "Part of the run in which the learning rate rises from zero.", advanced=True, ge=0, lt=1
    )
    optimizer: OptimizerChoice = setting(
        "auto",
        "Optimizer",
        "How weights are updated. AdamW keeps two averages of each weight; adamw-8bit holds them in 8 bits, 6 bytes a "
        "weight less (needs bitsandbytes). The paged one, for NVIDIA GPUs, moves them to main memory where the GPU's "
        "runs short. 'auto' is adamw, and adamw-8bit where only that fits an NVIDIA GPU.",
        advanced=True,
        offered=optimizers.offered,
    )
    weight_decay: float = setting(0.0, "Weight decay", "Pulls weights towards zero.", advanced=True, ge=0, le=1)
    clip_norm: float = setting(
        1.0,
        "Gradient clipping",
        "Longest gradient that is used as it is; 0 switches clipping off.",
        advanced=True,
        ge=0,
    )
    packing: Literal["auto", "on", "off"] = setting(
        "auto",
        "Packing",
        "Put several short rows into one sequence, without letting them see each other.",
        advanced=True,
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto",
        "Precision",
        "Number format of the computation. 16 bits are faster where the processor has them.",
        advanced=True,
    )
    checkpointing: Literal["auto", "on", "off"] = setting(
        "auto",
        "Gradient checkpointing",
        "Saves memory by computing parts twice; about a quarter slower.",
        advanced=True,
    )
    path: Literal["auto", "generic"] = setting(
        "auto",
        "Computing path",
        "'auto' takes the fast path where there is one: LoRA on models like Llama, Mistral and Qwen is computed by a "
        "forward and a backward pass of Tunesmith's own, in less time and memory. 'generic' computes as the libraries "
        "do. Both learn the same, but for rounding.",
        advanced=True,
    )
    micro_batch_size: int | None = setting(
        None,
        "Rows at a time",
        "Rows computed at once. Empty means as many as fit. The batch size stays what it is.",
        advanced=True,
        ge=1,
    )
    save_minutes: float = setting(
        2.0,
        "Minutes between checkpoints",
        "At most this much work is lost when the machine stops.",
        advanced=True,
        gt=0,
        le=60,
    )


class Evaluate(Section):
    every_steps: int | None = setting(
        None,
        "Steps between checks",
        "How often held-out loss is measured. Empty means four times a run.",
        ge=1,
        advanced=True,
    )
    early_stopping: int | None = setting(
        None,
        "Stop early after",
        "End the run when this many checks in a row brought no better held-out loss. Empty means never.",
        ge=1,
    )
    max_rows: int = setting(
        200,
        "Scored rows",
        "Most held-out rows that are answered and scored, before and after.",
        ge=1,
        le=100_000,
        advanced=True,
    )
    before: bool = setting(
        True, "Score before training", "Answer the held-out rows with the base model, too, to see the gain."
    )
    options_in_prompt: Literal["auto", "on", "off"] = setting(
        "auto",
        "Second baseline",
        "Also score the base model with the possible answers listed in its prompt (where answers are few).",
        advanced=True,
    )


class Output(Section):
    keep_checkpoints: int = setting(
        2, "Checkpoints kept", "The newest ones; the best one is kept besides.", ge=1, le=100, advanced=True
    )
    reporters: list[ReporterName] = setting(
        [],
        "Also report to",
        "Programs that are fed the run's figures besides; their files lie in the run's folder.",
        advanced=True,
        offered=installed,
    )
    webhook: str | None = setting(
        None,
        "Webhook",
        "An https address that gets a short message (JSON) when the run ends. Empty means none.",
        advanced=True,
    )

    @field_validator("reporters")
    @classmethod
    def _each_once(cls, value: list[ReporterName]) -> list[ReporterName]:
        return list(dict.fromkeys(value))

    @field_validator("webhook")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        address = (value or "").strip()
        return webhooks.checked(address) if address else None


class Launch(Section):
    target: Literal["local"] = setting("local", "Where", "The machine that trains.", advanced=True)
    ignore_memory: bool = setting(
        False, "Start even if it should not fit", "Overrides the memory check.", advanced=True
    )
    processes: int = setting(
        1,
        "Processes",
        "How many learn together. Each has a GPU of its own, holds the whole model and computes an equal part of every "
        "update, so that a run is that much faster. Without GPUs they share the processor, which gains nothing.",
        advanced=True,
        ge=1,
        le=64,
    )
    threads: int | None = setting(
        None, "Processor threads", "Empty means one for each core.", advanced=True, ge=1, le=1024
    )


class Common(Section):
    """What a spec says besides objective and tuner."""

    version: Literal[1] = setting(1, "Version", "Version of this file's layout.")
    name: str = setting("", "Name", "What you call this run.")
    model: Model = setting(..., "Model", "The model to start from.")
    data: list[Data] = setting(..., "Data", "What the model learns from.")
    mixture: Mixture = setting(Mixture(), "Mixture", "How much of each data set, where there are several.")
    training: Training = setting(Training(), "Training", "How it is trained.")
    evaluation: Evaluate = setting(Evaluate(), "Evaluation", "How it is judged.")
    output: Output = setting(Output(), "Output", "What is kept.")
    launch: Launch = setting(Launch(), "Launch", "Where it runs.")

    @model_validator(mode="after")
    def _weights_fit(self) -> Common:
        weights = self.mixture.weights
        if weights and len(weights) != len(self.data):
            raise ValueError(
                f"one weight in the mixture for each data set: there are {len(weights)} and {len(self.data)}"
            )
        return self

    @field_validator("data")
    @classmethod
    def _has_data(cls, value: list[Data]) -> list[Data]:
        if not value:
            raise ValueError("a list with at least one data set")
        return value
