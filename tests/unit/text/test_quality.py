"""Texts that are hardly prose, each on both sides of its threshold; counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.quality import broken

PROSE = (
    "The clerk opened the letter in the morning and read it twice before lunch. Nobody had told "
    "him that the bridge was closed, so he walked along the river until he found a boat."
)

LINE, OTHER = "a line of just seven short words", "and a third one of four words"


def test_prose_breaks_no_rule() -> None:
    assert broken(PROSE) == ()
    assert broken("Der Beamte las den Brief zweimal, bevor er ihn weglegte.") == ()


@pytest.mark.parametrize(
    ("rule", "breaks", "holds"),
    [
        ("few-letters", "of these ten words seven have letters 1 2 3",
         "of these ten words just eight have letters 1 2"),
        ("symbols", "one # two three four five six seven",
         "one # two three four five six eight a nine"),
        ("bullets", "- milk\n- bread\n• some eggs", "- milk\n- bread\nsome eggs"),
        ("ellipses", "it began ...\nand then\nit was over…",
         "it began ...\nand\nthen\nit was over"),
        ("repeated-lines", f"{LINE}\n{LINE}\nyet another\n{OTHER}\n{OTHER}",
         f"{LINE}\n{LINE}\nyet another\n{OTHER}\nand one more\nthe sixth of these lines"),
    ],
)  # fmt: skip
def test_each_rule(rule: str, breaks: str, holds: str) -> None:
    assert rule in broken(breaks)
    assert rule not in broken(holds)


def test_words_of_three_to_ten_characters_in_the_mean() -> None:
    assert "odd-words" in broken("aa bbb")
    assert "odd-words" not in broken("aaa bbb")
    assert "odd-words" not in broken("a" * 10)
    assert "odd-words" in broken("a" * 11)


def test_a_run_of_words_is_too_much_of_a_text() -> None:
    """Of 24 words of four characters: 4 runs of 3 words are half; 2 of 3 are a quarter."""
    others = [f"w{number:03}" for number in range(24)]
    run = ["once", "more", "said"]
    assert "repeated-words" in broken(" ".join([*run, *others[:3]] * 4))
    twice = [*run, *others[:9], *run, *others[9:18]]
    assert "repeated-words" in broken(" ".join(twice))  # 24 of 96 characters, above 18 %
    assert "repeated-words" not in broken(" ".join([*twice, *others[18:], *map(str.upper, others)]))
    assert "repeated-words" not in broken(" ".join(run * 5)), "too short to say"


@given(st.text(max_size=400))
def test_any_text_is_judged(text: str) -> None:
    found = broken(text)
    assert len(set(found)) == len(found)
    assert found == () or text.split()
