"""Languages on article 1 of the Universal Declaration of Human Rights, and on what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.text.language import UNTOLD, known_languages, language

ARTICLE_1 = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "zh": "人人生而自由,在尊严和权利上一律平等。",
    "ja": "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。",
}


@pytest.mark.parametrize(("code", "text"), ARTICLE_1.items())
def test_a_sentence_says_its_language(code: str, text: str) -> None:
    found, confidence = language(text)
    assert found == code
    assert 0.5 < confidence <= 1.0


@pytest.mark.parametrize("text", ["", "MIT", "\n\n", "\ud800", "x"])
def test_what_says_nothing_is_not_guessed_at(text: str) -> None:
    assert language(text)[0] == UNTOLD


@given(st.text(max_size=60))
def test_every_text_has_an_answer(text: str) -> None:
    code, confidence = language(text)
    assert code in known_languages()
    assert 0.0 <= confidence <= 1.0
