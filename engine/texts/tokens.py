"""Text to token ids and back, and which tokens are learned, without torch or transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import tokenizers

from engine.errors import ModelError
from engine.texts import alignment, entity_tags, pair_tokens, tokenizer
from engine.texts.markers import with_markers
from engine.texts.templates import CHATML, PLAIN, ChatTemplate, Message, Span, Tools

_NO_TEMPLATE = "This model has no chat template of its own."
_PLAIN_LINES = (
    "Conversations are written as lines that begin with 'User:' and 'Assistant:', each answer closed by {}. "
    "The template is saved with the result."
)
_OTHER_OPENING = (
    "This model's chat template begins an answer with {!r} when the model is asked, "
    "but not in the conversations that it learns from."
)
_BROKEN = "\ufffd"
_LONGEST_CHARACTER = 8
"""Tokens after which a character that is still incomplete is taken for broken (UTF-8 has at most 4 bytes)."""


@dataclass(frozen=True)
class Encoded:
    """ids and learned have equal length. `full_length` is the length in tokens before truncation."""

    ids: list[int]
    learned: list[bool]
    full_length: int
    kinds: list[int] = field(default_factory=list)
    """Where two texts are read together: of which each token is, 0 or 1. Empty for one text."""
    words: list[int] = field(default_factory=list)
    """Where words are told apart: of which each token is, from 0; -1 for special and unknown ones."""
    places: list[Span] = field(default_factory=list)
    """Where words are marked: which characters each token stands for; (0, 0) for special ones."""

    @property
    def truncated(self) -> bool:
        return self.full_length > len(self.ids)


class Tokens:
    """A tokenizer with its chat templates, by name. Make one with `Tokens.load`."""

    def __init__(
        self, folder: Path, backend: tokenizers.Tokenizer, names: Mapping[str, str], templates: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.has_template = "default" in templates
        """Whether the model brought a chat template of its own."""
        self._backend = backend
        self._names = dict(names)
        sources = dict(templates) if self.has_template else self._plain_template()
        added = (token.content for token in backend.get_added_tokens_decoder().values())
        specials = [token for token in added if token.strip()]
        self._templates = {name: ChatTemplate(source, self._names, specials) for name, source in sources.items()}

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        """Read the tokenizer files of a model's folder. Raises ModelError where they are missing or damaged."""
        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(
                f"{folder} has no tokenizer.json.",
                "Choose a model that has one, or save its tokenizer anew with a current version of transformers.",
            )
        try:
            backend = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # The library raises nothing narrower.
            raise ModelError(f"{path} is damaged: {error}.", "Download the model again.") from None
        config = tokenizer.read_json(folder / "tokenizer_config.json")
        # Files often carry the padding and truncation of the day they were made.
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = bool(config.get("split_special_tokens", False))
        fallback = tokenizer.read_json(folder / "special_tokens_map.json")
        try:
            names = tokenizer.names(config, fallback)
            tokenizer.add_tokens(backend, config, names)
            sources = tokenizer.template_sources(folder, config)
        except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
            problem = f"The tokenizer configuration in {folder} is not laid out as expected: {error!r}."
            raise ModelError(problem, "Download the model again, or choose another one.") from None
        return cls(folder, backend, names, sources)

    # Ids

    @property
    def eos_id(self) -> int | None:
        return self._id("eos_token")

    @property
    def bos_id(self) -> int | None:
        return self._id("bos_token")

    @property
    def pad_id(self) -> int | None:
        pad = self._id("pad_token")
        return self.eos_id if pad is None else pad

    @property
    def mask_id(self) -> int | None:
        """The token that stands for a word to be guessed, of a masked language model."""
        return self._id("mask_token")

    @property
    def unknown_id(self) -> int | None:
        return self._id("unk_token")

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Tokens that the tokenizer's configuration names: frame, padding, mask, unknown."""
        return frozenset(one for name in self._names if (one := self._id(name)) is not None)

    @cached_property
    def stop_ids(self) -> set[int]:
        """Tokens that end an answer: end of text, those of generation_config.json, and the template's end of turn."""
        listed = tokenizer.read_json(self.folder / "generation_config.json").get("eos_token_id")
        stops = set(listed if isinstance(listed, list) else [listed])
        mark = self._templates["default"].end_of_turn if "default" in self._templates else None
        stops |= {self.eos_id, self._backend.token_to_id(mark) if mark else None}
        return {stop for stop in stops if isinstance(stop, int)}

    # Conversations

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False, tools: Tools = None) -> str:
        """A conversation as text. Raises DataError where the template refuses it, ModelError where there is none."""
        return self._template(tools).render(messages, add_generation_prompt, tools)

    def encode_chat(self, messages: Sequence[Message], max_tokens: int, tools: Tools = None) -> Encoded:
        """A conversation with its answers learned, cut at the end to `max_tokens`. Raises as `render`."""
        rendered = self._template(tools).answers(messages, tools)
        encoding = self._backend.encode(rendered.text, add_special_tokens=False)
        return _cut(encoding, rendered.answers, max_tokens)

    def encode_chats(
        self,
        conversations: Sequence[Sequence[Message]],
        max_tokens: int,
        tools: Sequence[Tools] | None = None,
    ) -> list[Encoded]:
        """`encode_chat` of many, tokenised in parallel. Raises at the first one that the template refuses."""
        given = tools if tools is not None else [None] * len(conversations)
        rendered = [self._template(own).answers(chat, own) for chat, own in zip(conversations, given, strict=True)]
        encodings = self._backend.encode_batch([item.text for item in rendered], add_special_tokens=False)
        return [_cut(encoding, item.answers, max_tokens) for encoding, item in zip(encodings, rendered, strict=True)]

    def steps(self, messages: Sequence[Message], max_tokens: int, tools: Tools = None) -> alignment.Steps:
        """A conversation's tokens with where each goes on in its answers, cut as `encode_chat` does it."""
        rendered = self._template(tools).answers(messages, tools)
        encoding = self._backend.encode(rendered.text, add_special_tokens=False)
        learned = _learned(encoding.offsets, rendered.answers)
        return alignment.steps(encoding.ids[:max_tokens], encoding.offsets, learned, rendered.text, rendered.answers)

    def encode_prompt(self, messages: Sequence[Message], tools: Tools = None) -> list[int]:
        """A conversation up to where the model's answer begins."""
        text = self.render(messages, add_generation_prompt=True, tools=tools)
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    # Plain text

    def encode_text(self, text: str, max_tokens: int) -> Encoded:
        """Text with the special tokens that the tokenizer adds; these stay when the text is cut to `max_tokens`."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        added = self._backend.num_special_tokens_to_add(False)
        full_length = len(encoding) + added
        encoding.truncate(max(0, max_tokens - added))
        ids = list(self._backend.post_process(encoding, None, True).ids)
        return Encoded(ids, [True] * len(ids), full_length)

    def encode_words(self, text: str, max_tokens: int) -> Encoded:
        """As `encode_text`, with the word that each token belongs to."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        added = self._backend.num_special_tokens_to_add(False)
        full_length = len(encoding) + added
        encoding.truncate(max(0, max_tokens - added))
        encoding = self._backend.post_process(encoding, None, True)
        ids = list(encoding.ids)
        words = [
            -1 if word is None or token in self.special_ids else word
            for token, word in zip(ids, encoding.word_ids, strict=True)
        ]
        return Encoded(ids, [True] * len(ids), full_length, words=words)

    def encode_places(self, text: str) -> Encoded:
        """The whole text, with the special tokens, and which characters each token stands for. Nothing is cut."""
        encoding = self._backend.encode(text, add_special_tokens=True)
        places = entity_tags.places_of(text, encoding.offsets, encoding.special_tokens_mask)
        return Encoded(list(encoding.ids), [begin < end for begin, end in places], len(encoding.ids), places=places)

    def encode_pair(self, text: str, second: str, max_tokens: int) -> Encoded:
        """Two texts as one sequence, the longer cut first; special tokens stay, as in `encode_text`."""
        first, other = (self._backend.encode(one, add_special_tokens=False).ids for one in (text, second))
        frame, kinds = self.pair_frame
        ids, owners = pair_tokens.together(list(first), list(other), frame, kinds, max_tokens)
        return Encoded(ids, [True] * len(ids), len(first) + len(other) + sum(map(len, frame)), owners)

    @cached_property
    def pair_frame(self) -> tuple[list[list[int]], list[int]]:
        """The tokens before, between and after two texts; and of which text each of the five parts is, 0 or 1.

        A tokenizer with a separator of its own says how a pair looks. Others (of models that write) put two texts
        together as if they were one, or with a new beginning between them: there an empty line stands between, which
        every model has met as the end of one passage and the beginning of the next.
        """
        before, after = self.frame
        bare = self._backend.encode("a", add_special_tokens=False).ids
        whole = self._backend.encode("a", "a")
        ids, types = list(whole.ids), list(whole.type_ids)
        start, width = len(before), len(bare)
        rest = ids[start + width :]
        place = next((at for at in range(len(rest)) if rest[at : at + width] == bare), 0)
        if self._id("sep_token") is None or not place or ids[:start] != before:
            return [before, list(self._backend.encode("\n\n", add_special_tokens=False).ids), after], [0, 0, 0, 0, 0]
        middle = start + width
        last = middle + place + width
        kinds = [0, types[start], types[middle], types[middle + place], types[last] if last < len(ids) else 0]
        return [before, rest[:place], ids[last:]], kinds

    def divided(self, text: str, max_tokens: int) -> list[str]:
        """The text in parts of at most `max_tokens` tokens (as `encode_text` counts); joined they are the text again.

        A part ends with a paragraph, a line, a sentence or a word, whichever of these ends in its last quarter.
        Raises ValueError where there is no room for a token.
        """
        room = max_tokens - self._backend.num_special_tokens_to_add(False)
        if room < 1:
            raise ValueError(f"{max_tokens} tokens leave no room for text")
        parts, begin = [], 0
        offsets = self._backend.encode(text, add_special_tokens=False).offsets
        first = 0
        while len(offsets) - first > room:
            end = _cut_at(text, offsets, begin, first, first + room)
            while end > begin + 1 and len(self._backend.encode(text[begin:end], add_special_tokens=False)) > room:
                end -= max(1, (end - begin) // 50)  # cut off from what followed, some texts take a token more
            parts.append(text[begin:end])
            begin = end
            first = next((place for place in range(first, len(offsets)) if offsets[place][1] > end), len(offsets))
        return [*parts, text[begin:]] if text[begin:] or not parts else parts

    def encode_bare(self, text: str) -> tuple[list[int], list[Span]]:
        """Text without the special tokens that the tokenizer adds, and which characters each token stands for."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        return list(encoding.ids), list(encoding.offsets)

    @cached_property
    def frame(self) -> tuple[list[int], list[int]]:
        """The special tokens that the tokenizer puts before a text and after it."""
        bare = self._backend.encode("a", add_special_tokens=False).ids
        whole = self._backend.encode("a").ids
        place = next((at for at in range(len(whole)) if whole[at : at + len(bare)] == bare), len(whole))
        return list(whole[:place]), list(whole[place + len(bare) :])

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Every token's id, those that were added among them."""
        return dict(self._backend.get_vocab(with_added_tokens=True))

    def of_word(self, word: str) -> list[int]:
        """The tokens that are this word, by name, at a text's start or after a space; [] where it takes several."""
        found = {self._backend.token_to_id(word)}
        for text in (word, f" {word}"):
            ids = self._backend.encode(text, add_special_tokens=False).ids
            found |= set(ids) if len(ids) == 1 else set()
        unknown = self._id("unk_token")
        return sorted(one for one in found if one is not None and one != unknown)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        return str(self._backend.decode(list(ids), skip_special_tokens=skip_special))

    def pieces(self, encoded: Encoded) -> list[tuple[str, bool]]:
        """Text piece by piece, with whether it is learned. Tokens that share a character make one piece."""
        stream = TextStream(self, skip_special=False)
        found: list[tuple[str, bool]] = []
        learned = False
        for token, is_learned in zip(encoded.ids, encoded.learned, strict=True):
            learned = learned or is_learned
            text = stream.push(token)
            if text:
                found.append((text, learned))
                learned = False
        rest = stream.flush()
        return [*found, (rest, learned)] if rest else found

    # Files

    @cached_property
    def template_note(self) -> str | None:
        """What a person should know of the chat template before it is used, or None."""
        template = self._templates.get("default")
        if template is None:
            return None
        if self.has_template:
            asked, stored = template.opening
            return None if asked == stored else _OTHER_OPENING.format(asked[len(stored) :])
        if template.source == CHATML:
            return f"{_NO_TEMPLATE} Conversations are written as ChatML, whose tokens it has."
        return f"{_NO_TEMPLATE} {_PLAIN_LINES.format(self._names['eos_token'])}"

    @cached_property
    def template_with_markers(self) -> str | None:
        """The chat template, with `{% generation %}` around what is learned if that could be proven to be the same."""
        template = self._templates.get("default")
        return None if template is None else with_markers(template) or template.source

    def save(self, folder: Path) -> None:
        """Write all files of the tokenizer, with the template that training used."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in tokenizer.FILES:
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)
        config = tokenizer.read_json(folder / "tokenizer_config.json")
        config.pop("chat_template", None)
        _write(folder / "tokenizer_config.json", json.dumps(config, ensure_ascii=False, indent=2) + "\n")
        for name, template in self._templates.items():
            if name == "default":
                _write(folder / tokenizer.TEMPLATE_FILE, self.template_with_markers or template.source)
            else:
                (folder / tokenizer.MORE_TEMPLATES).mkdir(exist_ok=True)
                _write(folder / tokenizer.MORE_TEMPLATES / f"{name}.jinja", template.source)

    # Inside

    def _id(self, name: str) -> int | None:
        token = self._names.get(name)
        return None if token is None else self._backend.token_to_id(token)

    def _template(self, tools: Tools) -> ChatTemplate:
        template = self._templates.get("tool_use") if tools else None
        template = template or self._templates.get("default")
        if template is None:
            raise ModelError(
                f"The model in {self.folder} can't converse: it has neither a chat template nor an end-of-text token.",
                "Choose a chat model, or use it to classify.",
            )
        return template

    def _plain_template(self) -> dict[str, str]:
        """A template for a model that has none: ChatML if its tokens are known, else plain lines; {} for neither."""
        if all(self._backend.token_to_id(mark) is not None for mark in ("<|im_start|>", "<|im_end|>")):
            return {"default": CHATML}
        if "eos_token" not in self._names:
            return {}
        opens_with_bos = self.bos_id is not None and self._backend.encode("").ids[:1] == [self.bos_id]
        return {"default": ("{{ bos_token }}" if opens_with_bos else "") + PLAIN}


class TextStream:
    """Token ids to text as they come. A character is given out once all its bytes are there."""

    def __init__(self, tokens: Tokens, skip_special: bool = True) -> None:
        self._tokens = tokens
        self._skip_special = skip_special
        self._ids: list[int] = []
        self._given = 0
        """How many of `_ids` are given out. They are kept for context: a decoder treats the first token its own way."""

    def push(self, token: int) -> str:
        """The text that `token` completes; "" while a character is incomplete."""
        self._ids.append(token)
        text = self._pending()
        if not text or (text.endswith(_BROKEN) and len(self._ids) - self._given < _LONGEST_CHARACTER):
            return ""
        self._ids = self._ids[self._given :]
        self._given = len(self._ids)
        return text

    def flush(self) -> str:
        """What is left at the end, without a character that stayed incomplete."""
        text = self._pending().rstrip(_BROKEN)
        self._given = len(self._ids)
        return text

    def _pending(self) -> str:
        before = self._tokens.decode(self._ids[: self._given], self._skip_special)
        return self._tokens.decode(self._ids, self._skip_special)[len(before) :]


def _cut(encoding: tokenizers.Encoding, answers: list[Span], max_tokens: int) -> Encoded:
    ids = encoding.ids
    learned = _learned(encoding.offsets, answers)
    return Encoded(list(ids[:max_tokens]), learned[:max_tokens], len(ids))


_ENDS = ("\n\n", "\n", ". ", " ")
"""Where a text is cut, the best first."""


def _cut_at(text: str, offsets: list[Span], begin: int, first: int, stop: int) -> int:
    """The character before which a part ends that begins at `begin`, and holds the tokens from `first` up to `stop`."""
    last = stop
    while last > first + 1 and offsets[last][0] < offsets[last - 1][1]:
        last -= 1  # both are bytes of one character
    # Spaces before a word belong to its token, whatever the offsets say.
    end = max(offsets[last - 1][1], begin + 1)
    earliest = offsets[stop - max(1, (stop - first) // 4)][0]
    for mark in _ENDS:
        place = text.rfind(mark, earliest, end)
        if place > begin:
            # A space goes with the word behind it; what ends a line or a sentence stays with that.
            return place if mark == " " else place + len(mark.rstrip(" "))
    return end


def _learned(offsets: list[Span], answers: list[Span]) -> list[bool]:
    """Whether each token, at `offsets` (characters), overlaps an answer. `answers` are ordered."""
    learned: list[bool] = []
    reach = place = 0
    for begin, end in offsets:
        if end <= reach:  # A further byte of the character before, or a token without text.
            learned.append(bool(learned) and learned[-1])
            continue
        if begin == end:  # Byte-level tokenizers trim spaces off offsets; this one is all spaces.
            begin = reach
        while place < len(answers) and answers[place][1] <= begin:
            place += 1
        learned.append(place < len(answers) and answers[place][0] < end)
        reach = end
    return learned


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
