"""The model card: what it says comes from the run, what it must not say is nowhere in it, and its code runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from engine import home
from engine.bases import parts
from engine.errors import RunError
from engine.events import Finished, Writer
from engine.publishing import bundle, cards, origin, stories
from engine.runs import store
from engine.scripts import snippets
from engine.specs.sections import Data, Model
from tests.fakes import models
from tests.fakes.finished import CHECKOUT, pretended, trained
from tests.fakes.hub import FakeHub
from tests.fakes.hub_uploads import Account, Uploads, card_problem

TOKEN = "hf_secretSecretsecret"


def card_of(run: store.Run, merged: bool = False, base: origin.Base | None = None) -> str:
    return cards.card(stories.read(run, base or origin.base(run.spec().model)), "ada/helper", merged)


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n", 2)[1])
    return found


def finished_again(run: store.Run, **changes: Any) -> None:
    """Let the run's last event say something else."""
    last = next(event for event in reversed(run.last_events()) if isinstance(event, Finished))
    (run.folder / "events.jsonl").unlink()
    with Writer(run.folder / "events.jsonl") as writer:
        writer.write(Finished(**{**vars(last), **changes}))


# --- what it says


def test_the_front_matter_is_what_the_hub_takes() -> None:
    text = card_of(pretended())
    assert card_problem(text) == ""
    found = ModelCard(text).data
    assert found.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct" and found.license == "apache-2.0"
    assert found.library_name == "peft" and found.pipeline_tag == "text-generation"
    assert front(text)["base_model_relation"] == "adapter"
    [result] = front(text)["model-index"][0]["results"]
    assert result["dataset"]["args"] == {"held_out_rows": 2} and result["dataset"]["split"] == "test"
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {"exact_match": 0.9, "loss": 0.5}


def test_merged_weights_are_a_finetune_that_loads_without_peft() -> None:
    text = card_of(pretended(), merged=True)
    assert front(text)["library_name"] == "transformers" and front(text)["base_model_relation"] == "finetune"
    assert "from peft" not in text and "merged into the base model" in text


def test_figures_come_from_the_events() -> None:
    run = pretended()
    before = card_of(run)
    assert "| Training time | 2 min |" in before and "| Memory at its peak | 2.9 GB |" in before
    assert "460,800 of 134,975,808 weights learned" in before and "Measured on 2 held-out rows" in before
    finished_again(run, seconds=7200.0, trainable_parameters=5, peak_memory_bytes=5_100_000_000)
    after = card_of(run)
    assert "| Training time | 2.0 h |" in after and "| Memory at its peak | 5.1 GB |" in after
    assert "5 of 134,975,808 weights learned" in after


def test_rows_are_counted_by_their_use_and_findings_told() -> None:
    run = pretended()
    finding = {"name": "duplicates", "title": "Rows that repeat an earlier one", "count": 3, "rows": [7], "help": "x"}
    (run.folder / "data.json").write_text(json.dumps({"findings": [finding]}))
    text = card_of(run)
    assert "| 8 | to learn from (train) |" in text and "| 2 | held out, to score (test) |" in text
    assert "- Rows that repeat an earlier one: 3" in text


def scored(run: store.Run, before: list[int], after: list[int]) -> store.Run:
    """Let the run's held-out rows have come out so, row by row."""
    (run.folder / "scores").mkdir(exist_ok=True)
    sums = {}
    for name, scores in (("before", before), ("after", after)):
        rows = [
            {"row": row, "prompt": f"p{row}", "expected": "x", "answer": "y", "score": score, "loss": None}
            for row, score in enumerate(scores, start=1)
        ]
        record = {"main": "exact_match", "metrics": {}, "rows": rows}
        (run.folder / "scores" / f"{name}.json").write_text(json.dumps(record))
        sums[name] = {"exact_match": sum(scores) / len(scores)} if scores else None
    metrics = {"main": "exact_match", "rows": len(after), "split": "test", "baselines": {}, **sums}
    finished_again(run, metrics=metrics)
    return run


def test_scores_stand_with_their_intervals() -> None:
    assert "| Exact match | 10.0 % (0.0 to 25.0) | 90.0 % (70.0 to 100.0) |" in card_of(pretended())


def test_a_clear_gain_is_told_as_the_page_tells_it() -> None:
    text = card_of(scored(pretended(), [0] * 18 + [1] * 2, [1] * 18 + [1] * 2))
    assert "Exact match rose from 10.0 % to 100.0 %." in text and "18 got better and none got worse" in text


def test_noise_is_no_gain() -> None:
    text = card_of(scored(pretended(), [1, 0] * 10, [1] * 6 + [0] * 4 + [1] * 5 + [0] * 5))
    assert "No measurable change" in text and "rose" not in text


def test_a_loss_is_told_as_a_loss() -> None:
    assert "Exact match fell from 100.0 % to 10.0 %." in card_of(scored(pretended(), [1] * 20, [0] * 18 + [1] * 2))


def test_without_a_score_before_nothing_is_said_of_a_gain() -> None:
    text = card_of(scored(pretended(), [], [1] * 20))
    assert "was not scored" in text and "rose" not in text


def test_without_held_out_rows_nothing_is_scored() -> None:
    text = card_of(pretended(before=None, after=None))
    assert "nothing was scored" in text and "model-index" not in front(text)


def test_a_run_that_has_not_finished_has_no_card() -> None:
    run = pretended()
    (run.folder / "events.jsonl").unlink()
    with pytest.raises(RunError):
        card_of(run)


# --- where it comes from


def test_weights_that_were_rounded_are_told_of_where_the_adapter_stands_on_others() -> None:
    assert "rounded to 4 bits" in card_of(pretended())
    assert "rounded to 4 bits" not in card_of(pretended(), merged=True)


def test_a_licence_that_is_not_stated_is_unknown() -> None:
    text = card_of(pretended(model="owner/model"))
    assert front(text)["license"] == "unknown" and "Licence: unknown." in text


@pytest.mark.parametrize(
    ("stated", "license", "name"),
    [("MIT", "mit", None), ("llama3.2", "llama3.2", None), ("My Own Terms 1.0", "other", "my-own-terms-1.0")],
)
def test_a_licence_is_written_as_the_hub_knows_it(stated: str, license: str, name: str | None) -> None:
    found = front(card_of(pretended(), base=origin.Base("a/b", "a/b", stated)))
    assert found["license"] == license and found.get("license_name") == name


def test_the_terms_of_a_gated_base_are_told() -> None:
    assert "It is gated" in card_of(pretended(), base=origin.Base("a/b", "a/b", "gemma", gated=True))


def test_a_folder_is_called_by_its_name_and_its_own_card_states_the_licence(tmp_path: Path) -> None:
    folder = tmp_path / "private place" / "house-model"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    text = card_of(pretended(model=str(folder)))
    assert front(text)["license"] == "mit" and "base_model" not in front(text)
    assert "house-model" in text and "private place" not in text and str(tmp_path) not in text


def test_a_run_on_top_of_another_names_the_first_base() -> None:
    first = pretended()
    found = origin.base(Model(id=f"run:{first.id}"))
    assert found.id == "HuggingFaceTB/SmolLM2-135M-Instruct" and not found.exact
    assert "an earlier run" in found.note


@pytest.mark.parametrize(
    ("source", "name", "id"),
    [
        ("/home/user/secret/customers.csv", "customers.csv", None),
        ("sample:banking-intents", "banking-intents", None),
        ("owner/set", "owner/set", "owner/set"),
        ("train/rows.csv", "rows.csv", None),
        ("~/rows.jsonl", "rows.jsonl", None),
    ],
)
def test_data_is_named_without_its_place(source: str, name: str, id: str | None) -> None:
    entry = Data(source=source)
    assert origin.data_name(entry) == name and origin.data_id(entry) == id


def test_data_of_the_hub_is_named_in_the_front_matter() -> None:
    text = card_of(pretended(data=[{"source": "PolyAI/banking77"}]))
    assert front(text)["datasets"] == ["PolyAI/banking77"]


# --- what it must not say


def test_neither_places_nor_owners_nor_rows_stand_in_it() -> None:
    run = pretended(owner="v-0123456789abcdef01234567", name=f"my {home.home()}/run")
    text = card_of(run)
    for secret in (
        str(home.home()),
        str(Path.home()),
        str(CHECKOUT),
        "v-0123456789abcdef01234567",
        "Where is my card?",
    ):
        assert secret not in text
    assert "customers.csv" in text and "secret place" not in text


def test_a_name_is_shown_letter_by_letter() -> None:
    text = card_of(pretended(name="<img src=x onerror=alert(1)> [a](b)\n# no heading"))
    assert "<img" not in text.replace("\\<img", "") and "\n# no heading" not in text


def test_configs_name_no_place_of_this_machine() -> None:
    run = pretended()
    story = stories.read(run, origin.base(run.spec().model))
    files = bundle.contents(story, "ada/helper", None)
    config = files["tokenizer_config.json"]
    assert isinstance(config, bytes) and str(Path.home()) not in config.decode()


# --- how to load it


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Two tiny runs, trained for real and pushed to a Hub of this machine, which serves them again."""
    place = tmp_path_factory.mktemp("cards")
    (place / "home").mkdir()
    rows = place / "customers.csv"
    texts = [("Where is my card number {}?", "card arrival"), ("Which rate for {} euros?", "exchange rate")]
    lines = [f"{text.format(number)},{label}\n" for number in range(20) for text, label in texts]
    rows.write_text("message,intent\n" + "".join(lines), encoding="utf-8")
    uploads = Uploads(place / "pushed", {TOKEN: Account("ada")})
    bases = {"owner/chat": models.tiny_decoder(place / "chat"), "owner/encoder": models.tiny_encoder(place / "encoder")}
    shared = {
        "data": [{"source": str(rows)}],
        "training": {"max_steps": 6, "precision": "float32", "learning_rate": 1e-2},
        "launch": {"threads": 1},
    }
    wanted = {"chat": ("owner/chat", "chat", "lora"), "classify": ("owner/encoder", "classify", "full")}
    wanted["light"] = ("owner/encoder", "classify", "lora")
    wanted["features"] = ("owner/encoder", "classify", "head")
    wanted["top"] = ("owner/chat", "chat", "top-layers")
    with FakeHub(bases, uploads=uploads) as hub:
        environment = {
            **os.environ,
            "TUNESMITH_HOME": str(place / "home"),
            "HF_ENDPOINT": hub.url,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(place / "hub"),
        }
        found: dict[str, Any] = {"environment": environment, "uploads": uploads, "folder": place / "home" / "runs"}
        for name, (model, objective, tuner) in wanted.items():
            spec = {"name": name, "model": {"id": model}, "objective": objective, "tuner": tuner, **shared}
            found[name] = trained(place / "home", hub.url, spec)
        asked = [
            (found["chat"], "ada/chat"),
            (found["chat"], "ada/merged", "--merged"),
            (found["classify"], "ada/classify"),
            (found["light"], "ada/light"),
            (found["features"], "ada/features"),
            (found["top"], "ada/top"),
        ]
        for run, repo, *more in asked:
            command = [sys.executable, "-m", "engine", "push", run, "--repo", repo, *more]
            with_token = environment | {"HF_TOKEN": TOKEN}
            done = subprocess.run(command, cwd=CHECKOUT, env=with_token, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        yield found
    assert uploads.wrong == []


OURS = """
import json, sys
from pathlib import Path
import torch
from engine.compute.result import open_result
job, model = open_result(Path(sys.argv[1]))
with torch.no_grad():
    if sys.argv[3] == "chat":
        ids = job.tokens.encode_prompt([{"role": "user", "content": sys.argv[2]}])
        logits = model(torch.tensor([ids])).logits[0, -1]
    else:
        ids = job.objective.encode(job.examples["test"][0].__class__(1, text=sys.argv[2]), job.tokens, job.objective_settings, 512).ids
        logits = model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long))[0]
print(json.dumps([logits.tolist(), ids]))
"""


def code_of(world: dict[str, Any], repo: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", world["uploads"].repositories[repo].files["README.md"].decode(), re.S)


def ran(world: dict[str, Any], code: str, *arguments: str) -> Any:
    environment = {name: value for name, value in world["environment"].items() if name != "HF_TOKEN"}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("repo", "kind"), [("ada/chat", "chat"), ("ada/merged", "chat"), ("ada/top", "top")])
def test_the_cards_code_loads_a_chat_model_that_answers_as_ours(world: dict[str, Any], repo: str, kind: str) -> None:
    load, ask = code_of(world, repo)
    assert len(load.strip().splitlines()) <= (6 if kind == "top" else 4)
    ask = ask.replace("Write a message here.", "Where is my card?").replace("max_new_tokens=256", "max_new_tokens=8")
    show = "\nimport json\nprint(json.dumps([model(**prompt).logits[0, -1].tolist(), prompt['input_ids'][0].tolist()]))"
    theirs, ids = ran(world, load + ask + show)
    ours, expected = ran(world, OURS, str(world["folder"] / world[kind]), "Where is my card?", "chat")
    assert ids == expected
    assert theirs == pytest.approx(ours, abs=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["classify", "light", "features"])
def test_the_cards_code_loads_a_classifier_that_judges_as_ours(world: dict[str, Any], kind: str) -> None:
    load, ask = code_of(world, f"ada/{kind}")
    ask = ask.replace("Write a text here.", "Where is my card?").replace("print(", "named = (")
    show = "\nprint(json.dumps([scores[0].tolist(), ids[0].tolist(), named]))"
    theirs, ids, named = ran(world, load + ask + show)
    ours, expected = ran(world, OURS, str(world["folder"] / world[kind]), "Where is my card?", "classify")
    assert ids == expected and theirs == pytest.approx(ours, abs=1e-5)
    assert named == ["card arrival", "exchange rate"][ours.index(max(ours))]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_licence_comes_from_the_base_models_page(world: dict[str, Any]) -> None:
    text = world["uploads"].repositories["ada/chat"].files["README.md"].decode()
    assert front(text)["license"] == "mit" and front(text)["base_model"] == "owner/chat"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_merged_weights_name_every_token_that_ends_an_answer(world: dict[str, Any]) -> None:
    files = world["uploads"].repositories["ada/merged"].files
    kept = json.loads((world["folder"] / world["chat"] / "model" / "generation_config.json").read_text())
    assert json.loads(files["generation_config.json"])["eos_token_id"] == kept["eos_token_id"]
    assert "adapter_model.safetensors" not in files and "model.safetensors" in files


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "max"])
@pytest.mark.parametrize("form", ["whole", "adapter", "changed", *parts.PARTS])
@pytest.mark.parametrize("on_hub", [True, False])
def test_every_snippet_is_python(pooling: str, form: Any, on_hub: bool) -> None:
    if form in parts.PARTS:
        source = snippets.Source("a/b", "attached", 'house "model"', on_hub, part=form)
    else:
        source = snippets.Source("a/b", form, 'house "model"', on_hub)
    for snippet in (
        snippets.classify(source, {"pooling": pooling}, 64),
        snippets.chat(source, [{"role": "user", "content": '"'}]),
    ):
        compile(f"{snippet.load}\n{snippet.ask}", "card", "exec")


def test_a_method_that_can_not_be_merged_offers_no_merging() -> None:
    run = pretended(tuner="beft")
    story = stories.read(run, origin.base(run.spec().model))
    assert story.form == "adapter" and not story.can_merge


def test_weights_that_learned_alone_are_no_whole_model() -> None:
    run = pretended(tuner="top-layers")
    folder = run.folder / "model"
    (folder / "adapter_model.safetensors").rename(folder / snippets.CHANGED_FILE)
    (folder / "adapter_config.json").unlink()
    (folder / "config.json").write_text("{}")
    story = stories.read(run, origin.base(run.spec().model))
    files = bundle.contents(story, "ada/helper", None)
    assert story.form == "changed" and "config.json" not in files and snippets.CHANGED_FILE in files
    text = card_of(run)
    assert "load_state_dict" in text and "library_name" not in front(text)
    assert {item.name for item in bundle.items(story, merged=True)} >= {"model.safetensors", "config.json"}


def test_parts_of_our_own_are_published_with_the_code_that_attaches_them() -> None:
    run = pretended(tuner="adapter")
    folder = run.folder / "model"
    (folder / "adapter_model.safetensors").rename(folder / "bottleneck.safetensors")
    (folder / "adapter_config.json").rename(folder / "bottleneck_config.json")
    story = stories.read(run, origin.base(run.spec().model))
    files = bundle.contents(story, "ada/helper", None)
    assert story.form == "attached" and not story.can_merge
    assert {"bottleneck.safetensors", "bottleneck_config.json"} <= files.keys()
    text = card_of(run)
    assert "class Bottleneck" in text and "library_name" not in front(text)
    assert front(text)["base_model_relation"] == "adapter"
