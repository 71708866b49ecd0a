"""What one row of a dataset says, by the dataset's format.

A row's content is kept as canonical JSON of one of these; its fields have the names that the field
uses, so that a file made for another trainer can be read as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A call of a function that the assistant asks for."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""
    """What the answer refers to; empty where the data have none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant's turn."""
    tool_call_id: str = ""
    """Of a tool's turn: the call that it answers; empty where the data have none."""
    weight: float = 1.0
    """Of an assistant's turn: how much each of its tokens counts; 0 leaves it out of the loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """A text and the label that it is to be given."""

    text: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chat:
    """A conversation; the assistant's turns are learnt."""

    messages: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    """JSON schemas of the functions that the assistant may call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """A prompt as it stands, and what is to follow it; no chat template is used."""

    prompt: str
    completion: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A text that is learnt as a whole."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """Two answers to one question, and which of them is better."""

    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """One answer to a question, and whether it was liked."""

    prompt: str
    completion: str
    label: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A question whose answers can be checked; whatever the model answers is rewarded by rules."""

    prompt: str
    answer: str = ""
    """What is right, for rules that compare with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tagged:
    """Words, and the tag of each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A text, one that belongs to it, and others that do not."""

    anchor: str
    positive: str
    negatives: tuple[str, ...] = ()


Content = Labelled | Chat | Completion | Text | Preference | Feedback | Checked | Tagged | Pair

FORMATS: Mapping[str, type[Content]] = MappingProxyType(
    {
        "labels": Labelled,
        "chat": Chat,
        "completion": Completion,
        "text": Text,
        "preference": Preference,
        "feedback": Feedback,
        "checked": Checked,
        "tags": Tagged,
        "pairs": Pair,
    }
)
"""What a row of a dataset of each format is."""
