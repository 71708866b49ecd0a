"""How many tokens a row has, by its format and with its base model's tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.core.blobs import Blobs
from tunesmith.lm.chat_template import answered, conversation, prompt_ids
from tunesmith.lm.lessons import with_system
from tunesmith.lm.load import is_encoder, load_tokenizer
from tunesmith.lm.questions import asked
from tunesmith.lm.tokenizer import Tokenizer
from tunesmith.lm.turns import render_chat
from tunesmith.records.model import BaseModel
from tunesmith.records.rows import (
    Chat,
    Checked,
    Completion,
    Content,
    Feedback,
    Labelled,
    Pair,
    Preference,
    Tagged,
    Text,
)
from tunesmith.stages.curate.config import ASKED, DatasetConfig

if TYPE_CHECKING:
    import tokenizers

END = 1
"""The token that ends a text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Length:
    """Tokens of a row."""

    total: int
    """All that go through the model; what two answers share counts once."""
    longest: int
    """Of the longest piece that the model sees at once."""


def counter(
    config: DatasetConfig, base: BaseModel, blobs: Blobs
) -> tuple[Callable[[Content], Length], str]:
    """What counts the tokens of a row, and what it counts, in words.

    Raises:
        DataError: the base model's tokenizer cannot be read, or it has no chat template and the
            format needs one. What is returned raises it too: the template refuses the row.
    """
    if config.format in ASKED or (config.format == "labels" and not is_encoder(base, blobs)):
        tokenizer = load_tokenizer(base, blobs)
        words = "over the whole conversation"
        return lambda content: _asked(tokenizer, config.instruction, content), words
    core = load_tokenizer(base, blobs).core
    return lambda content: _plain(core, content), "over all texts of a row"


def _asked(tokenizer: Tokenizer, instruction: str, content: Content) -> Length:
    """Of a row that is asked by the chat template."""
    match content:
        case Labelled():
            return _one(len(conversation(tokenizer, instruction, content.text, content.label).ids))
        case Chat():
            return _of_chat(tokenizer, instruction, content)
        case Feedback():
            messages = asked(instruction, content.prompt)
            return _one(len(answered(tokenizer, messages, content.completion).ids))
        case Checked():  # what will be answered is not known yet
            return _one(len(prompt_ids(tokenizer, asked(instruction, content.prompt))))
        case Preference():
            messages = asked(instruction, content.prompt)
            chosen = answered(tokenizer, messages, content.chosen)
            rejected = answered(tokenizer, messages, content.rejected)
            return Length(
                total=len(chosen.ids) + len(rejected.ids) - chosen.num_prompt,
                longest=max(len(chosen.ids), len(rejected.ids)),
            )
    raise TypeError(f"{type(content).__name__} is not asked by a chat template")


def _plain(core: tokenizers.Tokenizer, content: Content) -> Length:
    """Of a row that no chat template is used for."""
    match content:
        case Labelled():
            return _one(len(core.encode(content.text).ids))
        case Text():
            return _one(len(core.encode(content.text, add_special_tokens=False).ids) + END)
        case Completion():
            parts = (content.prompt, content.completion)
            counts = [len(core.encode(part, add_special_tokens=False).ids) for part in parts]
            return _one(sum(counts) + END)
        case Tagged():
            return _one(len(core.encode(list(content.tokens), is_pretokenized=True).ids))
        case Pair():
            texts = (content.anchor, content.positive, *content.negatives)
            counts = [len(core.encode(text).ids) for text in texts]
            return Length(total=sum(counts), longest=max(counts))
    raise TypeError(f"{type(content).__name__} is asked by a chat template")


def _one(num_tokens: int) -> Length:
    return Length(total=num_tokens, longest=num_tokens)


def _of_chat(tokenizer: Tokenizer, instruction: str, chat: Chat) -> Length:
    """Of a conversation, in as many pieces as it is learnt in."""
    pieces = render_chat(tokenizer, with_system(chat, instruction), chat.tools)
    counts = [len(piece.ids) for piece in pieces]
    return Length(total=sum(counts), longest=max(counts))
