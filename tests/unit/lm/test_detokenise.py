from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tunesmith.lm.detokenise import REPLACEMENT, Detokeniser
from tunesmith.lm.tokenizer import Tokenizer, tokenizer_of_files

if TYPE_CHECKING:
    from pathlib import Path

texts = st.text(st.characters(codec="utf-8") | st.sampled_from("ab 🙂é\ufffd"), max_size=30)


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path) -> Tokenizer:
    return tokenizer_of_files({p.name: p.read_bytes() for p in tiny_folder.glob("*.json")})


def pieces(tokenizer: Tokenizer, text: str, stop: tuple[str, ...] = ()) -> list[str]:
    detokeniser = Detokeniser(tokenizer, stop)
    out = []
    for token in tokenizer.encode(text):
        out.append(detokeniser.add(token))
        if detokeniser.stopped:
            return out
    return [*out, detokeniser.finish()]


@given(text=texts)
def test_the_pieces_are_the_text(tokenizer: Tokenizer, text: str) -> None:
    found = pieces(tokenizer, text)

    assert "".join(found) == text
    if REPLACEMENT not in text:
        assert not any(REPLACEMENT in piece for piece in found)


@given(text=texts, stop=st.lists(st.text("ab ", max_size=3), max_size=3))
@example(text="baa", stop=["a", "baa"])
def test_the_pieces_end_before_the_first_stop_string(
    tokenizer: Tokenizer, text: str, stop: list[str]
) -> None:
    """Of two that overlap, the first is the one that is complete first: "a" ends "baa" before "baa"
    could, as nothing is generated after it."""
    expected = text
    ids = tokenizer.encode(text)
    for count in range(1, len(ids) + 1):
        said = tokenizer.decode(ids[:count])
        ends = [said.find(word) for word in stop if word and word in said]
        if ends:
            expected = said[: min(ends)]
            break

    assert "".join(pieces(tokenizer, text, tuple(stop))) == expected


def test_half_a_character_at_the_end_is_shown_as_such(tokenizer: Tokenizer) -> None:
    detokeniser = Detokeniser(tokenizer)
    half = tokenizer.encode("🙂")[:-1]

    assert [detokeniser.add(token) for token in half] == [""] * len(half)
    assert REPLACEMENT in detokeniser.finish()
