"""Renders the templates of a harness's task over its rows, in a process of its own: it imports
nothing of Tunesmith. Templates of strangers are programs, so Jinja's sandbox keeps them from
Python's insides, and limits of the process keep them from its time and memory.

It is given one JSON object on standard input, `text`, `target`, `choice`, `description`, `prefix`,
`before_prefix` and `docs`, and answers with one: `rows`, or `problem`.
"""

from __future__ import annotations

import ast
import json
import resource
import sys
from typing import Any

import jinja2
import jinja2.sandbox

CPU_S = 60
MEMORY_BYTES = 2 << 30


def main() -> None:
    """Answer standard input on standard output."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    asked = json.load(sys.stdin)
    jinja = environment()
    rows: list[dict[str, Any]] = []
    try:
        for doc in asked["docs"]:
            rows.append(_row(jinja, asked, doc))
    except Exception as error:
        said = f"row {len(rows) + 1}: {type(error).__name__}: {error}"[:300]
        json.dump({"problem": said}, sys.stdout)
        return
    json.dump({"rows": rows}, sys.stdout)


def environment() -> jinja2.sandbox.SandboxedEnvironment:
    """What templates are rendered in: the harness's settings, in Jinja's sandbox."""
    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )


def _row(jinja: Any, asked: dict[str, Any], doc: dict[str, Any]) -> dict[str, Any]:
    """What is asked, what is right, and the choices, of one row."""
    prompt = _value(jinja, asked["text"], doc)
    if not isinstance(prompt, str):
        raise TypeError(f"doc_to_text gives {prompt!r}, no text")
    if asked["choice"] is not None and prompt.isdigit() and asked["text"] not in doc:
        raise TypeError(
            f"doc_to_text gives the place {prompt} of a choice: that the choices stand before "
            "what is read is not carried over"
        )
    if prefix := str(_value(jinja, asked["prefix"], doc)):
        joined = not prompt or prompt[-1].isspace() or prefix[0].isspace()
        prompt += prefix if joined else asked["before_prefix"] + prefix
    description = str(_value(jinja, asked["description"], doc))
    row: dict[str, Any] = {"prompt": description + prompt}
    target = _value(jinja, asked["target"], doc)
    if asked["choice"] is not None:
        choices = _choices(jinja, asked["choice"], doc)
        row["choices"] = [str(choice) for choice in choices]
        if isinstance(target, str) and target.strip().isdigit() and target not in row["choices"]:
            target = int(target)
    else:
        # A column is taken as it is; what a template says may be a list.
        is_column = isinstance(asked["target"], str) and asked["target"] in doc
        found = target if is_column else _literal(target)
        if asked["among"] is not None:  # it is asked for by its number
            found = _choices(jinja, asked["among"], doc)[int(found)]
        target = [str(each) for each in found] if isinstance(found, list) else str(found)
    row["answer"] = target
    return row


def _choices(jinja: Any, source: Any, doc: dict[str, Any]) -> list[Any]:
    choices = _literal(_value(jinja, source, doc))
    if isinstance(choices, dict):
        choices = list(choices.values())
    if not isinstance(choices, list):
        raise TypeError(f"doc_to_choice gives {choices!r}, no list")
    return choices


def _value(jinja: Any, source: Any, doc: dict[str, Any]) -> Any:
    """Of a column its value, of a template what it renders to, anything else as it is."""
    if not isinstance(source, str):
        return source
    return doc[source] if source in doc else jinja.from_string(source).render(**doc)


def _literal(value: Any) -> Any:
    """The list that a rendered text is, if it is one."""
    if isinstance(value, str) and value.strip().startswith("[") and value.strip().endswith("]"):
        try:
            return ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            return value
    return value


if __name__ == "__main__":
    main()
