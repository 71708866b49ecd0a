"""The rows of a task's own file: what is asked, and what is right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.core.errors import DataError
from tunesmith.records.evaluation import TaskRows
from tunesmith.stages.evaluate.extract import without
from tunesmith.stages.evaluate.task import FILE, TaskConfig

_AN_OBJECT = 'write an object a line, such as {"question": "...", "answer": "..."}'
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnRow:
    """A row of a task's own file."""

    row_id: str
    """The task's name and the number of the line, e.g. "answers:3"."""
    prompt: str
    right: tuple[str, ...]
    """The right answers; of choices the one that is right."""
    choices: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


def read_own(config: TaskConfig, rows: TaskRows) -> list[OwnRow]:
    """The rows of a task's own file.

    Raises:
        DataError: a line is no object, lacks a field, or has no right answer; the message says
            which.
    """
    file = (config.rows if rows.task == config.name else config.examples).removeprefix(FILE)
    found = [
        _own(config, fields, f"{rows.task}:{number}", f"{file}, line {number}")
        for number, fields in fields_of(rows, file)
    ]
    if not found:
        raise DataError(f"{file} has no rows", remedy=_AN_OBJECT)
    return found


def fields_of(rows: TaskRows, file: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The number and the fields of each line that is not blank; `file` is what messages call it.

    Raises:
        DataError: it is no JSON object.
    """
    for number, line in enumerate(rows.text.split("\n"), start=1):
        if line.strip():
            yield number, _object(line, f"{file}, line {number}")


def filled(template: str, fields: Mapping[str, Any], where: str = "the row") -> str:
    """`template` with fields in place of their names in braces; doubled braces are braces.

    >>> filled("{q} {{x}}", {"q": "Why?"})
    'Why? {x}'

    Raises:
        DataError: there is no such field.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        if found[1] not in fields:
            raise DataError(
                f"{where} has no field {found[1]!r}, which the prompt names",
                remedy=f"there is: {', '.join(fields) or 'none'}",
            )
        return text_of(fields[found[1]])

    return _FIELD.sub(value, template)


def names_in(template: str) -> list[str]:
    """The names of fields in a template, in order.

    >>> names_in("{q} {{x}} {a}")
    ['q', 'a']
    """
    return [found[1] for found in _FIELD.finditer(template) if found[1] is not None]


def words_of(template: str) -> list[str]:
    """What a template says itself, in order: all but its fields.

    >>> words_of("Is {q} of {{x}}? {a}")
    ['Is ', ' of {x}? ', '']
    """
    said = [""]
    last = 0
    for found in _FIELD.finditer(template):
        said[-1] += template[last : found.start()]
        last = found.end()
        if found[1] is None:  # a brace
            said[-1] += found[0][0]
        else:
            said.append("")
    said[-1] += template[last:]
    return said


def _own(config: TaskConfig, fields: Mapping[str, Any], row_id: str, where: str) -> OwnRow:
    if config.answer not in fields:
        raise DataError(
            f"{where} has no field {config.answer!r}, which says what is right",
            remedy="give the row that field, or name another in `answer` of the task",
        )
    given = fields[config.answer]
    choices = config.choices
    if isinstance(choices, str):
        own = fields.get(choices)
        if not isinstance(own, list) or len(own) < 2:
            raise DataError(
                f"{where}: {choices!r} is no list of at least two choices",
                remedy="give each row its choices, or name the field in `choices` of the task",
            )
        choices = tuple(map(text_of, own))
    if choices and isinstance(given, int) and not isinstance(given, bool):
        right: tuple[str, ...] = choices[given : given + 1] if given >= 0 else ()
    else:
        right = tuple(map(text_of, given)) if isinstance(given, list) else (text_of(given),)
    if not all(map(str.strip, right or ("",))) or (
        choices and (len(right) > 1 or right[0] not in choices)
    ):
        raise DataError(
            f"{where}: {given!r} is no right answer"
            + (f" among the choices {', '.join(choices)}" if choices else ""),
            remedy="give a text, a list of texts, or of choices one of them or its place from 0",
        )
    if config.ask == "score" and len(right) > 1:
        raise DataError(
            f"{where}: {given!r} is more than one text, and one is read", remedy="give one text"
        )
    if config.ignore and not all(map(str.strip, without(config.ignore, right))):
        raise DataError(
            f"{where}: of {given!r} nothing is left that `ignore` does not match",
            remedy="ignore less, or give another answer",
        )
    prompt = filled(config.prompt, fields, where)
    return OwnRow(row_id=row_id, prompt=prompt, right=right, choices=choices, fields=fields)


def _object(line: str, where: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON: {error}", remedy=_AN_OBJECT) from error
    if not isinstance(found, dict):
        raise DataError(f"{where} is no JSON object", remedy=_AN_OBJECT)
    if "\\ud" in line.lower() and not _is_text(found):
        raise DataError(
            f"{where} has half a character",
            remedy=r"write its \u escapes in pairs, or the character itself",
        )
    return found


def _is_text(value: Any) -> bool:
    """Whether it can be written: half of a character that JSON escapes in two parts cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def text_of(value: Any) -> str:
    """What a field says: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
