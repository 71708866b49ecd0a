"""The sandbox renders what transformers renders; what it refuses is in test_chat_template.py."""

from __future__ import annotations

import datetime
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from tunesmith.lm.sandbox import compile_template

trl = importlib.util.find_spec("trl")
assert trl is not None
assert trl.origin is not None
TEMPLATES = sorted((Path(trl.origin).parent / "chat_templates").glob("*.jinja"))
DATES = ("%Y-%m-%d", "%d %b %Y")
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The "weather" <b> é & more',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "where", "enum": ["Paris", "Rom"]},
                "days": {"type": "array", "items": {"type": "integer"}, "nullable": True},
            },
            "required": ["city"],
        },
    },
}
ARGUMENTS = {"city": "Pa\"r'is", "days": [1, 2.5, True, None], "more": {"a": {"b": "é"}}}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}}
SYSTEM = {"role": "system", "content": "  Be <brief>.\n"}
USER = {"role": "user", "content": 'Hi "you" & <them>\n'}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello"}
SAID = {"role": "assistant", "content": "Fine "}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
CALLED_TWICE = {"role": "assistant", "content": "I look.", "tool_calls": [CALL, CALL]}
RESULT = {"role": "tool", "content": '{"degrees": 20}'}
CONVERSATIONS: tuple[tuple[list[dict[str, Any]], list[Any] | None], ...] = (
    ([USER, THOUGHT, USER, SAID], None),
    ([SYSTEM, USER, SAID, USER], None),
    ([USER, CALLED, RESULT, SAID, USER, THOUGHT], [TOOL]),
    ([SYSTEM, USER, CALLED_TWICE, RESULT, RESULT, SAID], [TOOL, TOOL]),
    ([USER, SYSTEM, RESULT, CALLED], [TOOL]),
)


def ours(source: str, messages: list[dict[str, Any]], variables: dict[str, Any]) -> str | None:
    try:
        return compile_template(source).render(messages, variables)
    except Exception:
        return None


def theirs(source: str, messages: list[dict[str, Any]], variables: dict[str, Any]) -> str | None:
    """With our day for theirs."""
    try:
        (text,), _ = render_jinja_template([messages], chat_template=source, **variables)
    except Exception:
        return None
    today, day = datetime.datetime.now(), datetime.date(2024, 1, 1)
    for form in DATES:
        text = text.replace(today.strftime(form), day.strftime(form))
    return str(text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_of_many_families_render_as_by_transformers(path: Path) -> None:
    source = path.read_text()
    rendered = 0
    for messages, tools in CONVERSATIONS:
        for ask in (False, True):
            variables = {
                "tools": tools,
                "documents": None,
                "add_generation_prompt": ask,
                "bos_token": "<s>",
                "eos_token": "</s>",
            }
            text = ours(source, messages, variables)
            assert text == theirs(source, messages, variables)
            rendered += text is not None
    assert rendered or path.stem.startswith("llava_next")  # which only knows lists of pictures


def test_json_is_written_as_by_transformers() -> None:
    for written in (
        "tojson",
        "tojson(ensure_ascii=true)",
        "tojson(indent=2)",
        "tojson(separators=(',', ':'))",
        "tojson(separators=[', ', '= '], sort_keys=true)",
        "tojson(indent=1, separators=(',', ':'), sort_keys=true)",
    ):
        source = f"{{{{ messages | {written} }}}}"
        text = ours(source, [CALLED], {})

        assert text is not None
        assert text == theirs(source, [CALLED], {})
