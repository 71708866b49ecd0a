from __future__ import annotations

import math
from collections import Counter

import pytest

from tunesmith.stages.monitor.words import explain, log_odds


def test_log_odds_by_hand() -> None:
    reference = Counter({"gnu": 30, "mit": 10, "the": 60})
    traffic = Counter({"gnu": 5, "mit": 35, "the": 60})
    found = {shift.word: shift for shift in log_odds(reference, traffic)}
    # The prior of 500 words in the proportions of both: gnu 87.5, mit 112.5, the 300.
    theirs = math.log((35 + 112.5) / (600 - 35 - 112.5))
    ours = math.log((10 + 112.5) / (600 - 10 - 112.5))
    assert found["mit"].log_odds == pytest.approx(theirs - ours)
    assert found["mit"].z == pytest.approx((theirs - ours) / math.sqrt(1 / 147.5 + 1 / 122.5))
    assert found["the"].z == 0
    assert [shift.word for shift in log_odds(reference, traffic)] == ["gnu", "the", "mit"]


def test_swapping_the_sides_turns_the_signs() -> None:
    one, other = Counter("aabbbc"), Counter("abccccd")
    forth = {shift.word: shift.z for shift in log_odds(one, other)}
    back = {shift.word: -shift.z for shift in log_odds(other, one)}
    assert forth == pytest.approx(back)


def test_the_words_that_changed_are_named() -> None:
    reference = [f"Permission is granted number {i}" for i in range(100)]
    traffic = [f"Permission is revoked number {i}" for i in range(100)]
    more, fewer = explain(reference, traffic)
    assert more == "commoner, in 1,000 words: revoked 200 (was 0.0)"
    assert fewer == "rarer, in 1,000 words: granted 0.0 (was 200)"


def test_no_word_is_named_without_a_change() -> None:
    assert explain(["a b c"] * 20, ["c a b"] * 20) == ()
    assert explain([], []) == ()
    assert explain(["..."], ["!"]) == ()
