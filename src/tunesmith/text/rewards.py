"""What an answer is worth, by rules that anybody can check: a frozen table of named functions.

Nothing of the project file is executed: a reward is a name out of this table and its settings. Each
is a number from 0 to 1, so that their weights say what matters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field, model_validator

from tunesmith.core.section import Expression, Section

MAX_MATCHED = 4096
"""Characters of an answer that a regular expression is shown: some take for ever on long ones."""


class Reward(Section):
    """One thing that an answer is rewarded for."""

    name: Literal["exact", "pattern", "json", "length"]
    """"exact": it is the row's answer, but for white space around it; "pattern": it matches as a
    whole; "json": it is a JSON object with all the keys; "length": it is not too long."""
    weight: float = Field(default=1.0, gt=0)
    """How much it counts beside the others."""
    pattern: Expression = ""
    """A regular expression of Python's `re`, with "pattern"."""
    keys: tuple[str, ...] = ()
    """Keys that the object must have, with "json"."""
    max_chars: int = Field(default=0, ge=0)
    """The most characters that it may have, with "length"."""

    @model_validator(mode="after")
    def _require_what_is_read(self) -> Self:
        reads = {"pattern": "pattern", "json": "keys", "length": "max_chars"}
        wanted = reads.get(self.name)
        for setting in reads.values():
            given = bool(getattr(self, setting))
            if given != (setting == wanted):
                said = "needs" if setting == wanted else "does not read"
                raise ValueError(f"the reward {self.name!r} {said} {setting}")
        return self


def exact(_reward: Reward, answer: str, wanted: str) -> float:
    """1 for what the row says, 0 for anything else."""
    return float(answer.strip() == wanted.strip())


def pattern(reward: Reward, answer: str, _wanted: str) -> float:
    """1 for an answer of that form."""
    text = answer.strip()
    return float(len(text) <= MAX_MATCHED and re.fullmatch(reward.pattern, text) is not None)


def json_keys(reward: Reward, answer: str, _wanted: str) -> float:
    """1 for a JSON object that has the keys."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return 0.0
    return float(isinstance(found, dict) and set(reward.keys) <= found.keys())


def length(reward: Reward, answer: str, _wanted: str) -> float:
    """1 for an answer that is short enough, and is one."""
    return float(0 < len(answer.strip()) <= reward.max_chars)


TABLE: Mapping[str, Callable[[Reward, str, str], float]] = MappingProxyType(
    {"exact": exact, "pattern": pattern, "json": json_keys, "length": length}
)


def worth(rewards: Sequence[Reward], answer: str, wanted: str) -> float:
    """The mean of `rewards` by their weights, from 0 to 1; `wanted` is the row's answer.

    >>> worth([Reward(name="exact")], " mit\\n", "mit")
    1.0
    """
    total = sum(each.weight * TABLE[each.name](each, answer, wanted) for each in rewards)
    return total / sum(each.weight for each in rewards)
