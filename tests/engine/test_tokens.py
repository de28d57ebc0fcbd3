from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from engine.errors import DataError, ModelError
from engine.texts.tokens import TextStream, Tokens
from tests.engine.chat_templates import CHATML, GEMMA, MARKED, QWEN3, SMOLLM2, STYLES, THINKING
from tests.engine.tokenizer_folders import byte_level, sentencepiece, wordpiece

FAR = 100_000
SHORT = [{"role": "user", "content": "Where is my card?"}, {"role": "assistant", "content": "On its way. 🎉"}]
LONG = [
    {"role": "user", "content": "Where?"},
    {"role": "assistant", "content": " It will\ncome. "},
    {"role": "user", "content": "Überall?\n\n  ja   "},
    {"role": "assistant", "content": "naïve 日本語 <tag>  \n\n"},
]
SYSTEM = [{"role": "system", "content": "Be brief."}, *SHORT]
TOOLS = [{"type": "function", "function": {"name": "rate", "description": "<b>€ & more</b>", "parameters": {}}}]


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece"])
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a model's folder with a template, for both kinds of tokenizer."""
    makers = {"byte_level": byte_level, "sentencepiece": sentencepiece}
    return lambda template: makers[request.param](tmp_path_factory.mktemp("tokenizer"), template)


def transformers_tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def learned_text(tokens: Tokens, messages: list[dict[str, Any]]) -> str:
    return "".join(text for text, learned in tokens.pieces(tokens.encode_chat(messages, FAR)) if learned)


# Equality with transformers


@pytest.mark.parametrize("style", STYLES)
def test_text_and_ids_of_conversations_are_those_of_transformers(make: Any, style: str) -> None:
    folder = make(STYLES[style])
    tokens, reference = Tokens.load(folder), transformers_tokenizer(folder)
    for messages in (SHORT, LONG, SYSTEM):
        if style == "gemma" and messages is SYSTEM:
            continue
        assert tokens.render(messages) == reference.apply_chat_template(messages, tokenize=False)
        expected = reference.apply_chat_template(messages, return_dict=False)
        assert tokens.encode_chat(messages, FAR).ids == expected


@pytest.mark.parametrize("style", STYLES)
def test_prompts_are_those_of_transformers(make: Any, style: str) -> None:
    folder = make(STYLES[style])
    expected = transformers_tokenizer(folder).apply_chat_template(
        LONG[:-1], add_generation_prompt=True, return_dict=False
    )
    assert Tokens.load(folder).encode_prompt(LONG[:-1]) == expected


@pytest.mark.parametrize("style", ["smollm2", "chatml", "marked"])
def test_a_saved_template_marks_for_transformers_exactly_what_was_learned(
    make: Any, style: str, tmp_path: Path
) -> None:
    tokens = Tokens.load(make(STYLES[style]))
    tokens.save(tmp_path / "saved")
    reference = transformers_tokenizer(tmp_path / "saved")
    # transformers marks nothing from an answer on that begins with a space, where offsets leave spaces out.
    stripped = [{**message, "content": message["content"].strip()} for message in LONG]
    for messages in (SHORT, stripped, SYSTEM):
        marked = reference.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
        encoded = tokens.encode_chat(messages, FAR)
        assert marked["input_ids"] == encoded.ids
        assert [bool(flag) for flag in marked["assistant_masks"]] == encoded.learned


def test_tools_are_written_as_transformers_writes_them(make: Any) -> None:
    folder = make(CHATML)
    expected = transformers_tokenizer(folder).apply_chat_template(SHORT, tools=TOOLS, tokenize=False)
    assert Tokens.load(folder).render(SHORT, tools=TOOLS) == expected


@pytest.mark.parametrize("template", [None, MARKED])
def test_tools_take_the_template_that_is_named_for_them(tmp_path: Path, template: str | None) -> None:
    named = [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "{{ tools | length }}"}]
    folder = byte_level(tmp_path, chat_template=named)
    tokens = Tokens.load(folder)
    assert (tokens.render(SHORT, tools=TOOLS), tokens.render(SHORT)[:12]) == ("1", "<|im_start|>")


def test_messages_with_empty_keys_and_reasoning_are_read_as_transformers_reads_them(make: Any) -> None:
    folder = make(QWEN3)
    messages = [SHORT[0], {**SHORT[1], "tool_calls": None, "reasoning": "Let me see."}]
    expected = transformers_tokenizer(folder).apply_chat_template(messages, tokenize=False)
    assert "Let me see." in expected
    assert Tokens.load(folder).render(messages) == expected


@pytest.mark.parametrize("limit", [3, 5, 12, 400])
@pytest.mark.parametrize("kind", [byte_level, sentencepiece, wordpiece])
def test_plain_text_is_encoded_and_cut_as_by_transformers(tmp_path: Path, kind: Any, limit: int) -> None:
    folder = kind(tmp_path)
    text = "Where is my card? Überall 日本 🎉 " * 6
    reference = transformers_tokenizer(folder)
    encoded = Tokens.load(folder).encode_text(text, limit)
    assert encoded.ids == reference(text, truncation=True, max_length=limit)["input_ids"]
    assert encoded.full_length == len(reference(text)["input_ids"])
    assert all(encoded.learned)


def test_text_is_decoded_as_by_transformers(make: Any) -> None:
    folder = make(SMOLLM2)
    tokens, reference = Tokens.load(folder), transformers_tokenizer(folder)
    ids = tokens.encode_chat(LONG, FAR).ids
    for skip_special in (True, False):
        assert tokens.decode(ids, skip_special) == reference.decode(ids, skip_special_tokens=skip_special)


# What is learned


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("smollm2", "On its way. 🎉<|im_end|>"),
        ("chatml", "On its way. 🎉<|im_end|>"),
        ("llama3", "On its way. 🎉<|eot_id|>"),
        ("gemma", "On its way. 🎉<end_of_turn>"),
        ("qwen3", "<think>\n\n</think>\n\nOn its way. 🎉<|im_end|>"),
        ("llama2", " On its way. 🎉 </s>"),
        ("thinking", "On its way. 🎉</s>"),
        ("marked", "On its way. 🎉<|im_end|>"),
    ],
)
def test_answers_and_their_end_marks_are_learned_and_nothing_else(tmp_path: Path, style: str, expected: str) -> None:
    assert learned_text(Tokens.load(byte_level(tmp_path, STYLES[style])), SHORT) == expected


def test_every_answer_of_a_conversation_is_learned(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, SMOLLM2))
    assert learned_text(tokens, LONG) == " It will\ncome. <|im_end|>naïve 日本語 <tag>  \n\n<|im_end|>"


def test_an_answer_that_a_template_rewrites_later_is_learned_as_it_stands(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, QWEN3))
    thoughtful = [LONG[0], {**LONG[1], "content": "<think>\nHm.\n</think>\n\nSoon."}, *LONG[2:]]
    learned = learned_text(tokens, thoughtful)
    assert learned == "Soon.<|im_end|><think>\n\n</think>\n\nnaïve 日本語 <tag>  \n\n<|im_end|>"


def test_answers_between_tool_messages_are_learned(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, CHATML))
    messages = [SHORT[0], {"role": "assistant", "content": "Look up."}, {"role": "tool", "content": "7"}, SHORT[1]]
    assert learned_text(tokens, messages) == "Look up.<|im_end|>On its way. 🎉<|im_end|>"


def test_a_conversation_that_opens_with_an_answer_is_learned_from(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, SMOLLM2))
    assert learned_text(tokens, [{"role": "assistant", "content": "Hello!"}, *SHORT]).startswith("Hello!<|im_end|>On")


def test_markers_in_a_template_decide_what_is_learned(tmp_path: Path) -> None:
    only_last = MARKED.replace("message.role == 'assistant'", "message.role == 'assistant' and loop.last")
    tokens = Tokens.load(byte_level(tmp_path, only_last))
    assert learned_text(tokens, LONG) == "naïve 日本語 <tag><|im_end|>"


def test_markers_that_a_filter_would_change_give_way_to_prefixes(tmp_path: Path) -> None:
    filtered = CHATML.replace("{{- '<|im_start|>'", "{%- set text %}{% generation %}  {% endgeneration %}{% endset %}"
                              "{{- text | trim + '<|im_start|>'")  # fmt: skip
    assert learned_text(Tokens.load(byte_level(tmp_path, filtered)), SHORT) == "On its way. 🎉<|im_end|>"


def test_a_template_whose_answers_cannot_be_told_is_refused_with_the_reason(tmp_path: Path) -> None:
    shouting = CHATML.replace("message.content | trim", "message.content | upper").replace(
        "{%- if add_generation_prompt %}", "{%- if add_generation_prompt %}{{ 'Go: ' }}"
    )
    tokens = Tokens.load(byte_level(tmp_path, shouting))
    with pytest.raises(ModelError, match="rewrites the answer in message 2"):
        tokens.encode_chat(SHORT, FAR)


def test_a_prompt_that_differs_from_stored_answers_is_noted(tmp_path: Path) -> None:
    note = Tokens.load(byte_level(tmp_path, THINKING)).template_note
    assert note is not None and "<think>" in note


def test_long_conversations_are_cut_at_the_end_and_counted(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, SMOLLM2))
    whole, cut = tokens.encode_chat(LONG, FAR), tokens.encode_chat(LONG, 20)
    assert cut.ids == whole.ids[:20] and cut.learned == whole.learned[:20]
    assert cut.truncated and cut.full_length == len(whole.ids) and not whole.truncated


def test_a_conversation_whose_answer_is_cut_away_has_nothing_learned(tmp_path: Path) -> None:
    encoded = Tokens.load(byte_level(tmp_path, SMOLLM2)).encode_chat(SHORT, 8)
    assert encoded.truncated and not any(encoded.learned)


def test_many_conversations_at_once_are_encoded_as_one_by_one(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, SMOLLM2))
    chats = [SHORT, LONG, SYSTEM]
    assert tokens.encode_chats(chats, 40) == [tokens.encode_chat(chat, 40) for chat in chats]


def test_ten_thousand_conversations_take_seconds(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, SMOLLM2))
    began = time.process_time()
    tokens.encode_chats([SHORT] * 10_000, 256)
    assert time.process_time() - began < 15


# Templates


def test_a_system_message_that_the_model_does_not_take_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="takes no system message") as caught:
        Tokens.load(byte_level(tmp_path, GEMMA)).encode_chat(SYSTEM, FAR)
    assert "first question" in caught.value.fix


def test_roles_in_an_order_that_the_model_does_not_take_are_refused_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Roles must alternate"):
        Tokens.load(byte_level(tmp_path, GEMMA)).encode_chat([SHORT[0], SHORT[0]], FAR)


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{% for %}", ModelError),
        ("{{ messages[0].content.__class__.__mro__ }}", ModelError),
        ("{% set ns = namespace() %}{% set ns.__init__ = 1 %}", ModelError),
        ("{{ messages[7]['content'] + 'x' }}", DataError),
        ("{{ 1 / 0 }}", DataError),
        ("{{ range(10 ** 9) | list }}", DataError),
    ],
)
def test_broken_and_hostile_templates_end_in_a_user_error(tmp_path: Path, template: str, error: Any) -> None:
    with pytest.raises(error, match="chat template"):
        Tokens.load(byte_level(tmp_path, template)).render(SHORT)


def test_a_template_file_comes_before_the_configuration(tmp_path: Path) -> None:
    (byte_level(tmp_path, CHATML) / "chat_template.jinja").write_text("{{ 'file' }}")
    assert Tokens.load(tmp_path).render(SHORT) == "file"


@pytest.mark.parametrize("style", ["smollm2", "chatml"])
def test_templates_in_the_style_of_chatml_get_markers(tmp_path: Path, style: str) -> None:
    tokens = Tokens.load(byte_level(tmp_path, STYLES[style]))
    assert "{% generation %}" in (tokens.template_with_markers or "")
    assert "{% generation %}" not in STYLES[style]


@pytest.mark.parametrize("style", ["qwen3", "llama2", "marked"])
def test_other_templates_are_kept_as_they_are(tmp_path: Path, style: str) -> None:
    assert Tokens.load(byte_level(tmp_path, STYLES[style])).template_with_markers == STYLES[style]


def test_markers_that_miss_an_answer_are_not_put_in(tmp_path: Path) -> None:
    calls = "{%- if message.tool_calls %}{{- '<|im_start|>assistant\\nCall<|im_end|>\\n' }}{%- else %}"
    template = CHATML.replace(
        "    {{- '<|im_start|>' + message.role", calls + "{{- '<|im_start|>' + message.role"
    ).replace("{%- endfor %}", "{%- endif %}{%- endfor %}")
    assert Tokens.load(byte_level(tmp_path, template)).template_with_markers == template


def test_a_base_model_gets_a_plain_template_and_says_so(tmp_path: Path) -> None:
    config = json.loads((sentencepiece(tmp_path) / "tokenizer.json").read_text())
    config["added_tokens"] = [entry for entry in config["added_tokens"] if "im_" not in entry["content"]]
    text = json.dumps(config).replace("<|im_", "<|in_")
    (tmp_path / "tokenizer.json").write_text(text)
    tokens = Tokens.load(tmp_path)
    assert tokens.render(SYSTEM) == "<s>Be brief.\n\nUser: Where is my card?\nAssistant: On its way. 🎉</s>\n"
    assert learned_text(tokens, SYSTEM).strip() == "On its way. 🎉</s>"
    assert not tokens.has_template and "no chat template" in (tokens.template_note or "")


def test_a_base_model_that_knows_chatml_is_written_to_in_chatml(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path))
    assert tokens.render(SHORT[:1], add_generation_prompt=True) == (
        "<|im_start|>user\nWhere is my card?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert learned_text(tokens, SHORT) == "On its way. 🎉<|im_end|>"


def test_the_plain_template_refuses_tools(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no form for tools"):
        Tokens.load(byte_level(tmp_path)).render(SHORT, tools=TOOLS)


def test_an_encoder_without_template_cannot_converse(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't converse"):
        Tokens.load(wordpiece(tmp_path)).encode_chat(SHORT, FAR)


# Files and ids


def test_a_folder_without_tokenizer_json_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json") as caught:
        Tokens.load(tmp_path)
    assert caught.value.fix


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("content", [b'{"cut', b"[]", b"\xff\xfe"])
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    byte_level(tmp_path, CHATML)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        Tokens.load(tmp_path)


def test_a_configuration_of_the_wrong_shape_is_a_user_error(tmp_path: Path) -> None:
    byte_level(tmp_path, chat_template=[{"name": "default"}])
    with pytest.raises(ModelError, match="not laid out as expected"):
        Tokens.load(tmp_path)


def test_special_tokens_are_read_as_text_or_mapping_or_from_their_own_file(tmp_path: Path) -> None:
    byte_level(tmp_path, CHATML, eos_token={"content": "<|im_end|>", "special": True}, pad_token=None)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))
    tokens = Tokens.load(tmp_path)
    assert (tokens.bos_id, tokens.eos_id, tokens.pad_id) == (1, 5, 0)


def test_padding_falls_back_to_the_end_of_text(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, CHATML))
    assert tokens.pad_id == tokens.eos_id == 2


@pytest.mark.parametrize("listed", [3, [3, 1]])
def test_answers_stop_at_every_token_that_may_end_them(tmp_path: Path, listed: Any) -> None:
    byte_level(tmp_path, CHATML)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))
    ours = {2, 5}  # "</s>" and the template's "<|im_end|>"
    assert Tokens.load(tmp_path).stop_ids == ours | set(listed if isinstance(listed, list) else [listed])


def test_tokens_of_the_configuration_alone_are_added_as_by_transformers(tmp_path: Path) -> None:
    byte_level(tmp_path, CHATML)
    first = Tokens.load(tmp_path).encode_text("<new>", FAR).ids
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"] = {"400": {"content": "<new>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    again = Tokens.load(tmp_path).encode_text("<new>", FAR).ids
    assert len(first) > 1 and len(again) == 1
    assert again == transformers_tokenizer(tmp_path)("<new>")["input_ids"]


def test_a_saved_tokenizer_loads_equal(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path / "own", SMOLLM2))
    tokens.save(tmp_path / "saved")
    assert Tokens.load(tmp_path / "saved").encode_chat(LONG, FAR) == tokens.encode_chat(LONG, FAR)


def test_names_of_templates_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    named = [{"name": "default", "template": CHATML}, {"name": "../../out", "template": "x"}]
    Tokens.load(byte_level(tmp_path / "own", chat_template=named)).save(tmp_path / "a" / "saved")
    assert not list(tmp_path.rglob("out.jinja"))


# Pieces


def test_pieces_join_to_the_whole_text_without_broken_characters(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path, SMOLLM2))
    pieces = tokens.pieces(tokens.encode_chat(LONG, FAR))
    assert "".join(text for text, _ in pieces) == tokens.render(LONG)
    assert not any("\ufffd" in text for text, _ in pieces)


def test_a_character_that_is_cut_in_two_is_left_out_of_the_pieces(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path))
    emoji = tokens.encode_text("a🎉", FAR)
    cut = tokens.encode_text("a🎉", len(emoji.ids) - 1)
    assert tokens.pieces(cut) == [("a", True)]


def test_text_streams_in_whole_characters(make: Any) -> None:
    tokens = Tokens.load(make(SMOLLM2))
    text = "Überall 日本語 🎉👍🏽 naïve"
    stream = TextStream(tokens)
    parts = [stream.push(token) for token in tokens.encode_chat([{"role": "user", "content": text}], FAR).ids]
    parts.append(stream.flush())
    assert text in "".join(parts) and not any("\ufffd" in part for part in parts)


def test_a_replacement_character_in_the_text_itself_is_kept(tmp_path: Path) -> None:
    tokens = Tokens.load(byte_level(tmp_path))
    assert "".join(text for text, _ in tokens.pieces(tokens.encode_text("a\ufffdb", FAR))) == "a\ufffdb"
