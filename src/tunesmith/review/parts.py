"""A row as people are shown it: its parts, each with a name, and nothing that leads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

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
    Turn,
)
from tunesmith.stages.curate.verdicts import FIRST, SECOND, in_order


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A text of a row."""

    name: str
    """e.g. "prompt"."""
    text: str


def parts(content: Content) -> tuple[Part, ...]:
    """What is shown of a row. Not its label, nor which answer its source prefers."""
    return tuple(Part(name=name, text=text) for name, text in _texts(content))


def _texts(content: Content) -> Iterator[tuple[str, str]]:
    match content:
        case Labelled() | Text():
            yield "text", content.text
        case Chat():
            if content.tools:
                yield "tools", "\n".join(_json(tool) for tool in content.tools)
            yield from ((turn.role, _turn(turn)) for turn in content.messages)
        case Completion() | Feedback():
            yield "prompt", content.prompt
            yield "completion", content.completion
        case Checked():
            yield "prompt", content.prompt
            yield "answer", content.answer
        case Preference():
            yield "prompt", content.prompt
            yield from zip((FIRST, SECOND), in_order(content), strict=True)
        case Tagged():
            yield "words", " ".join(content.tokens)
            pairs = zip(content.tokens, content.tags, strict=True)
            yield "tags", "\n".join(f"{tag}  {word}" for word, tag in pairs)
        case Pair():
            yield "anchor", content.anchor
            yield "positive", content.positive
            yield from (("negative", each) for each in content.negatives)


def _turn(turn: Turn) -> str:
    """What a turn says, and the tools that it calls."""
    calls = [f"calls {call.name}({_json(call.arguments)})" for call in turn.tool_calls]
    return "\n".join([*([turn.content] if turn.content else []), *calls])


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
