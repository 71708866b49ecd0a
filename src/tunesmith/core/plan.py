"""What would run, and why: a step's identity, its key, and the field that changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.core.canonical import fingerprint
from tunesmith.core.catalog import Run
from tunesmith.core.code_version import code_version, environment
from tunesmith.core.kinds import kind
from tunesmith.core.ref import to_plain
from tunesmith.core.step import Step

KEY_SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """One step of a plan."""

    step: Step
    hit: Run | None
    """The run whose record will be used again; None when the step will run."""
    reason: str
    """Why it will run; empty for a hit."""
    last: Run | None
    """The newest successful run of this step, whatever its key was: what the price is based on."""
    waived: str = ""
    """For a hit of another key: who accepted it in place of what would run, and why."""
    as_before: Run | None = None
    """For a step that waits for one whose code alone changed: the run that is used again if that
    one makes what it made before."""
    key: str = ""
    """The step's key; empty while it is not known what the step will be given."""


def identity(step: Step, inputs: Mapping[str, list[str]]) -> dict[str, Any]:
    """All that bears on a step's result, as JSON; `inputs` are the digests of its input records.

    Raises:
        TypeError: a setting has no stable bytes.
    """
    of = kind(step.kind)
    return {
        "schema": KEY_SCHEMA,
        "kind": step.kind,
        "code": code_version(of),
        "config": to_plain(step.config),
        "inputs": dict(inputs),
        "seed": step.seed,
        "environment": environment(of),
    }


def key(identity: Mapping[str, Any]) -> str:
    """The cache key of an identity."""
    return fingerprint(identity)


def changes(before: Mapping[str, Any], after: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """The fields in which two identities differ, as people would say it.

    >>> list(changes({"config": {"rank": 8}}, {"config": {"rank": 16}}))
    ['config.rank: 8 -> 16']
    """
    for name in sorted(before.keys() | after.keys()):
        path = f"{where}.{name}" if where else name
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changes(old, new, path)
        elif where == "inputs":
            yield f"{path} is another version"
        elif path == "code":
            yield "the step's code changed"
        else:
            yield f"{path}: {_short(old)} -> {_short(new)}"


def why(last: Run | None, what: Mapping[str, Any]) -> str:
    """Why a step that is now `what` runs, when `last` is the newest run of it that succeeded."""
    if last is None:
        return "it never ran"
    changed = list(changes(last.identity, what))
    return "; ".join(changed) if changed else "its earlier result is no longer there"


def _short(value: object) -> str:
    text = "(none)" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
