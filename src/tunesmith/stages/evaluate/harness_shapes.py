"""What each key of a task of the harness must hold to be read.

The file is somebody else's, so its shapes are looked at once, where it is read, and no later step
has to ask again. Keys that are not here may hold anything: they are only named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.core.errors import DataError

Holds = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_mapping, value))


def _is_files(value: Any) -> bool:
    return all(map(_is_texts, value.values())) if isinstance(value, dict) else _is_texts(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


TEXT = (_is_text, "a text")
TEXTS = (_is_texts, "a text or a list of texts")
MAPPING = (_is_mapping, "a mapping")
SHAPES: Mapping[str, tuple[Holds, str]] = {
    "include": TEXTS,
    **dict.fromkeys(("task", "output_type", "dataset_path", "description"), TEXT),
    **dict.fromkeys(("training_split", "validation_split", "test_split", "fewshot_split"), TEXT),
    **dict.fromkeys(("target_delimiter", "fewshot_delimiter", "gen_prefix"), TEXT),
    **dict.fromkeys(("metadata", "dataset_kwargs", "generation_kwargs"), MAPPING),
    "dataset_kwargs.data_files": (_is_files, "names of files, or a mapping of splits to them"),
    "filter_list": (_is_mappings, "a list of mappings, each with a filter"),
    "metric_list": (_is_mappings, "a list of mappings, each with a metric"),
    "generation_kwargs.until": TEXTS,
    **dict.fromkeys(
        (f"generation_kwargs.{key}" for key in ("max_gen_toks", "max_new_tokens", "max_tokens")),
        (_is_count, "a whole number above 0"),
    ),
    "generation_kwargs.max_completion_tokens": (_is_count, "a whole number above 0"),
    "fewshot_config.split": TEXT,
}
"""By key, one in another after a dot. What is null is not there."""


def require_shapes(name: str, task: Mapping[Any, Any]) -> None:
    """Each key of the file `name` holds what can be read.

    Raises:
        DataError: one does not; which, and what it is to hold.
    """
    for key in task:
        if not isinstance(key, str):
            raise DataError(f"{name}: the key {key!r} is no text", remedy="put it in quotes")
    for path, (holds, expected) in SHAPES.items():
        outer, _, inner = path.partition(".")
        found = task.get(outer)
        if inner:
            found = found.get(inner) if isinstance(found, dict) else None
        if found is not None and not holds(found):
            raise DataError(
                f"{name}: {path} is {short(repr(found))}, and not {expected}",
                remedy=f"write {expected} under {path}",
            )


def short(text: str) -> str:
    """A value of a task's file, as a message has it."""
    return text if len(text) <= 60 else f"{text[:57]}..."
