from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.rewards import TABLE, Reward, worth

EACH: dict[str, dict[str, Any]] = {
    "exact": {},
    "pattern": {"pattern": "[a-z]+"},
    "json": {"keys": ["licence"]},
    "length": {"max_chars": 5},
}


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("exact", " mit\n", 1),
        ("exact", "MIT", 0),
        ("exact", "", 0),
        ("pattern", "abc", 1),
        ("pattern", "abc 1", 0),
        ("pattern", "a" * 5000, 0),
        ("json", '{"licence": null, "more": 1}', 1),
        ("json", '{"more": 1}', 0),
        ("json", '["licence"]', 0),
        ("json", '{"licence": 1', 0),
        ("json", "[" * 100_000, 0),
        ("length", "12345", 1),
        ("length", "123456", 0),
        ("length", "  ", 0),
    ],
)
def test_what_an_answer_is_worth(name: str, answer: str, expected: int) -> None:
    assert worth([Reward(name=name, **EACH[name])], answer, "mit") == expected  # type: ignore[arg-type]


def test_weights_say_what_matters() -> None:
    both = [Reward(name="exact", weight=3), Reward(name="length", max_chars=2)]
    assert worth(both, "mit", "mit") == 0.75
    assert worth(both, "no", "mit") == 0.25


@given(
    answer=st.text(), wanted=st.text(), names=st.sets(st.sampled_from(sorted(TABLE)), min_size=1)
)
def test_it_is_a_share_whatever_is_said(answer: str, wanted: str, names: set[str]) -> None:
    rewards = [Reward.model_validate({"name": name, **EACH[name]}) for name in sorted(names)]
    assert 0 <= worth(rewards, answer, wanted) <= 1
    assert worth([Reward(name="json", keys=("a",))], json.dumps({"a": answer}), wanted) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "exact", "pattern": "a"}, "'exact' does not read pattern"),
        ({"name": "pattern"}, "'pattern' needs pattern"),
        ({"name": "pattern", "pattern": "("}, "no regular expression"),
        ({"name": "length", "keys": ["a"], "max_chars": 3}, "does not read keys"),
        ({"name": "code"}, "name"),
        ({"name": "exact", "weight": 0}, "weight"),
    ],
)
def test_what_nothing_reads_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=said):
        Reward.model_validate(settings)
