from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.stages.probe.canaries import Canary, exposure, other_secrets, read_canaries


@given(st.lists(st.integers(-30, 0), min_size=2, max_size=60), st.data())
def test_exposure_is_by_the_rank_among_all(scores, data):
    own = data.draw(st.integers(0, len(scores) - 1))
    others = [score for n, score in enumerate(scores) if n != own]
    # By brute force: sorted from the likeliest, where equal ones do not push it back.
    rank = sorted(scores, reverse=True).index(scores[own]) + 1
    found = exposure(scores[own], others, len(scores), 0.95)
    assert found.value == pytest.approx(math.log2(len(scores)) - math.log2(rank))
    assert (found.low, found.high) == (found.value, found.value)


def test_a_sample_estimates_it_and_says_how_surely():
    """Of 10,000 secrets 80 are likelier: 6.97 bits. A sample's interval holds that."""
    every = [float(n) for n in range(10_000)]
    own, whole = every[-81], math.log2(10_000) - math.log2(81)
    held = 0
    for seed in range(100):
        others = random.Random(seed).sample([each for each in every if each != own], 500)
        found = exposure(own, others, 10_000, 0.95)
        assert found.low <= found.value <= found.high
        held += found.low <= whole <= found.high
    assert held >= 93


def test_a_sample_in_which_none_is_likelier_bounds_it():
    found = exposure(0.0, [-1.0] * 500, 10_000, 0.95)
    assert found.value == pytest.approx(math.log2(501))
    assert found.low == pytest.approx(-math.log2(1 - 0.025 ** (1 / 500)))
    assert found.high == pytest.approx(math.log2(10_000))


@given(st.text(alphabet="ab7-Z ", min_size=1, max_size=8), st.integers(1, 60))
def test_other_secrets_have_the_shape_and_are_others(secret, most):
    canary = Canary(canary=f"It is {secret}", secret=secret)
    others = other_secrets(canary, min(most, canary.num_secrets - 1), 3)
    assert len(set(others)) == len(others) == min(most, canary.num_secrets - 1)
    assert secret not in others
    for other in others:
        for before, after in zip(secret, other, strict=True):
            assert before.isdigit() == after.isdigit()
            assert before.isupper() == after.isupper()
            assert before == after or before.isalnum()


def test_all_of_a_small_space_are_tried():
    others = other_secrets(Canary(canary="PIN 42", secret="42"), 500, 0)
    assert sorted([*others, "42"]) == [f"{n:02}" for n in range(100)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"canary": "The code is 12.", "secret": "13"}', "does not hold its secret once"),
        ('{"canary": "12 and 12", "secret": "12"}', "does not hold its secret once"),
        ('{"canary": "The code is 12."}', "does not hold its secret once"),
        ('{"canary": "It is ...", "secret": "..."}', "could be no other"),
        ('{"kanari": "The code is 12."}', "line 1: it must be an object with 'canary'"),
        ("nothing", "line 1: this is no JSON"),
        ("", "says nothing"),
    ],
)
def test_bad_canaries_are_refused(line, said):
    with pytest.raises(DataError, match=said):
        read_canaries(line, "c.jsonl")
