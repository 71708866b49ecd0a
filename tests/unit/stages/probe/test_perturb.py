from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.probe.perturb import CHANGES, perturbed

TEXTS = st.text(max_size=200)
SENTENCE = "Permission is hereby granted, free of charge, to any person who wants it."


@pytest.mark.parametrize("change", CHANGES)
@given(text=TEXTS, seed=st.integers(0, 5))
def test_a_change_is_drawn_for_its_name_alone(change, text, seed):
    assert perturbed(text, change, f"{seed}/a") == perturbed(text, change, f"{seed}/a")


@given(TEXTS, st.integers(0, 9))
def test_typos_exchange_letters_and_nothing_else(text, seed):
    found = perturbed(text, "typos", f"{seed}/row")
    assert sorted(found) == sorted(text)
    for before, after in zip(text.split(), found.split(), strict=True):
        assert before[:1] == after[:1]
        assert len(before) == len(after)


def test_typos_are_there_and_differ_from_row_to_row():
    found = {perturbed(SENTENCE, "typos", f"1/row{n}") for n in range(20)}
    assert len(found) > 10
    assert SENTENCE not in found


@given(TEXTS)
def test_whitespace_moves_no_word(text):
    found = perturbed(text, "whitespace", "1/row")
    assert found.split() == text.split()
    assert len(found.splitlines()) >= len(text.splitlines())
    assert found != text


@given(st.text(alphabet="abcXYZ .!?\n", max_size=60))
def test_case_and_punctuation_keep_the_letters(text):
    assert perturbed(text, "lower case", "n").casefold() == text.casefold()
    assert perturbed(text, "upper case", "n").casefold() == text.casefold()
    bare = perturbed(text, "punctuation", "n")
    assert bare.rstrip(" .!?\n") == text.rstrip(" .!?\n")


def test_punctuation_is_taken_away_or_put_there():
    assert perturbed("All right.", "punctuation", "n") == "All right"
    assert perturbed("All right", "punctuation", "n") == "All right."
    assert perturbed("!!!", "punctuation", "n") == "!!!"
