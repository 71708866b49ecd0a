"""What the harness itself asked, as it logs it (`--log_samples`): a line for each row, with its
prompts, also of tasks whose templates are functions.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.errors import DataError

KEYS = frozenset({"doc_id", "doc", "target", "arguments"})


def are_logged(docs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether rows are what the harness logs, and not what it reads."""
    return all(doc.keys() >= KEYS and isinstance(doc["arguments"], dict) for doc in docs)


def rows_of_logged(
    docs: Sequence[Mapping[str, Any]], ask: str, between: str
) -> list[dict[str, Any]]:
    """Our rows: the prompt, what is right, the choices, and the fields of the row beside.

    Args:
        docs: lines as they were logged; of one row there is one for each filter, of which the
            first counts.
        ask: what our task asks.
        between: what stands between a prompt and each choice.

    Raises:
        DataError: a line is not what such a task logs.
    """
    by_id = {str(doc["doc_id"]): doc for doc in reversed(docs)}
    rows = []
    for doc in reversed(by_id.values()):
        try:
            fields = doc["doc"] if isinstance(doc["doc"], dict) else {}
            rows.append({**fields, **_row(doc, ask, between)})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"what was logged of row {doc['doc_id']} cannot be asked here: {error}",
                remedy="give what the harness logs of this very task with --log_samples",
            ) from error
    return rows


def _row(doc: Mapping[str, Any], ask: str, between: str) -> dict[str, Any]:
    asked = [_texts(doc["arguments"][f"gen_args_{at}"]) for at in range(len(doc["arguments"]))]
    prompts = {each[0] for each in asked}
    if len(prompts) != 1:
        raise ValueError("what is read after its prompts is the same, and they are not")
    prompt, target = asked[0][0], doc["target"]
    if ask == "choose":
        choices = [each[1] for each in asked]
        if not all(each.startswith(between) for each in choices):
            raise ValueError(f"its choices do not begin with {between!r}")
        choices = [each.removeprefix(between) for each in choices]
        return {"prompt": prompt, "choices": choices, "answer": _chosen(target, choices)}
    if ask == "score":  # a whole text has no prompt before it
        return {"prompt": prompt if len(asked[0]) > 1 else "", "answer": asked[0][-1]}
    return {"prompt": prompt, "answer": _listed(target)}


def _texts(arguments: Mapping[str, Any]) -> list[str]:
    """The prompt, and what is read after it; settings of answers are no texts."""
    found = [arguments[f"arg_{at}"] for at in range(len(arguments))]
    texts = [each for each in found if isinstance(each, str)]
    if texts != found[: len(texts)] or not texts:
        raise ValueError("its prompt is no text")
    return texts


def _chosen(target: Any, choices: Sequence[str]) -> str | int:
    """Which choice is right: there it is logged as text, whether it is a place or the choice."""
    said = str(target)
    place = int(said) if said.isdigit() and int(said) < len(choices) else None
    if said in choices and place is not None and choices[place] != said:
        raise ValueError(f"the target {said!r} may be a choice or the place of one")
    if place is None and said not in choices:
        raise ValueError(f"the target {said!r} is none of its choices")
    return said if place is None else place


def _listed(target: Any) -> str | list[str]:
    """The right answer, or the right ones, of which a list was logged as text."""
    said = str(target)
    if said.startswith("[") and said.endswith("]"):
        try:
            found = ast.literal_eval(said)
        except (ValueError, SyntaxError):
            return said
        if isinstance(found, list) and found:
            return [str(each) for each in found]
    return said
