"""Texts that stand in longer ones."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text import contained as module
from tunesmith.text.contained import (
    AT_LEAST,
    NUM_WORDS,
    Held,
    asked_in,
    contained,
    everything_in,
    held_rows,
)
from tunesmith.text.sketch import words_of


def words(number: int, num: int = 40) -> str:
    draw = random.Random(number)
    return " ".join(f"w{draw.randrange(10**6)}" for _ in range(num))


def runs(text: str) -> set[tuple[str, ...]]:
    found = words_of(text)
    return {tuple(found[i : i + NUM_WORDS]) for i in range(len(found) - NUM_WORDS + 1)}


def test_a_text_in_the_middle_of_a_longer_one_is_found() -> None:
    within = [words(n, 300) for n in range(200, 230)]
    within[7] = f"{words(100, 90)}\n{words(2).upper()} -- {words(101, 200)}"
    found = contained([words(1), words(2)], within)
    assert found.held == (Held(first=1, second=7, share=1.0),)
    assert (found.num_short, found.num_common) == (0, 0)


@pytest.mark.parametrize(
    ("changed", "is_found"), [(0, True), (1, True), (2, False), (3, False), (10, False)]
)
def test_it_is_found_up_to_so_many_changed_words(changed: int, is_found: bool) -> None:
    asked = words(1, 60).split()
    edited = list(asked)
    for place in range(changed):
        edited[4 * place + 15] = "other"
    share = len(runs(" ".join(asked)) & runs(" ".join(edited))) / 53
    assert (share >= AT_LEAST) is is_found, share
    found = contained([" ".join(asked)], [f"{words(3)} {' '.join(edited)} {words(4)}"])
    assert bool(found.held) is is_found
    assert all(held.share == pytest.approx(share) for held in found.held)


def test_texts_of_too_few_words_are_not_looked_for() -> None:
    few, enough = words(1, NUM_WORDS - 1), words(2, NUM_WORDS)
    found = contained([few, enough, ""], [f"a {few} b", f"a {enough} b"])
    assert [(held.first, held.second) for held in found.held] == [(1, 1)]
    assert found.num_short == 2


def test_what_very_many_rows_have_is_no_leak() -> None:
    template = words(0, 60)
    within = [f"{template} {words(n, 30)}" for n in range(1, 41)]
    asked = [f"{template} {words(n, 12)}" for n in (100, 101)]
    assert contained([*asked, template], within).held == ()
    assert contained([template], within).num_common == 1
    # Of what is left of the second, all stands in a row.
    within[3] = f"{template} {words(101, 12)} {words(102)}"
    assert [(held.first, held.second) for held in contained(asked, within).held] == [(1, 3)]
    # Ten rows are not very many.
    assert len(contained([template], within[:10]).held) == 10


def test_a_word_that_is_filled_into_a_template_makes_no_text_of_it() -> None:
    def filled(name: str) -> str:
        return f"{words(0, 30)} {name} {words(1, 30)}"

    within = [*(filled(f"n{number}") for number in range(40)), filled("anna")]
    found = contained([filled("anna")], within)
    assert (found.held, found.num_common) == ((), 1)


def test_each_text_of_a_row_is_looked_for_by_itself() -> None:
    within = [words(9), f"{words(1)} {words(8)}", f"{words(2)} {words(3)}"]
    asked = [(f"{words(1)} {words(5)}", words(1)), (words(6),), (words(2), words(3)), ()]
    found = held_rows(asked, within)
    assert found == (Held(first=0, second=1, share=1.0), Held(first=2, second=2, share=1.0))


def test_what_a_row_says_twice_is_not_common_for_that() -> None:
    asked = [(f"{words(0)} {words(n, 3)}", words(0)) for n in range(1, 9)]
    assert len(held_rows(asked, [f"{words(20)} {words(0)}"])) == 8
    asked = [(f"{words(0)} {words(n, 3)}",) for n in range(1, 12)]
    assert held_rows(asked, [f"{words(20)} {words(0)}"]) == ()


def test_nothing_in_nothing() -> None:
    assert contained([], [words(1)]).held == contained([words(1)], []).held == ()
    assert contained(["", "!"], ["", words(1)]).num_short == 2


@given(st.integers(0, 10**6), st.integers(1, 50))
def test_it_counts_what_a_second_way_of_counting_counts(seed: int, at_once: int) -> None:
    draw = random.Random(seed)
    few = [f"v{number}" for number in range(4)]
    parts = [" ".join(draw.choices(few, k=draw.randint(5, 14))) for _ in range(6)]
    asked = [" ".join(draw.choices(parts, k=draw.randint(1, 2))) for _ in range(6)]
    within = [" ".join(draw.choices(parts, k=draw.randint(1, 4))) for _ in range(8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MATCHES_AT_ONCE", at_once)
        patch.setattr(module, "_TEXTS_AT_ONCE", 3)
        found = contained(asked, within)
    expected = [
        (first, second, len(runs(one) & runs(other)) / len(runs(one)))
        for first, one in enumerate(asked)
        for second, other in enumerate(within)
        if runs(one) and len(runs(one) & runs(other)) / len(runs(one)) >= AT_LEAST
    ]
    assert [(held.first, held.second, held.share) for held in found.held] == expected


def test_everything_that_a_row_says_and_what_is_asked_in_it() -> None:
    turns = [
        {"content": "Be brief.", "role": "system"},
        {"content": "One?", "role": "user"},
        {"content": "", "role": "assistant", "tool_calls": [{"name": "look", "arguments": {}}]},
        {"content": "Two?", "role": "user", "weight": 1.0},
    ]
    chat = json.dumps({"messages": turns})
    assert everything_in(chat).split("\n") == ["Be brief.", "One?", "", "look", "Two?"]
    assert asked_in(chat) == ("One?", "Two?")
    pair = json.dumps({"completion": "b", "prompt": "a"})
    assert (everything_in(pair), asked_in(pair)) == ("b\na", ())
    assert everything_in(json.dumps({"tags": ["X"], "tokens": ["a", "b"]})) == "X\na\nb"
