import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.retrieve.lexical import match_any, terms, words


@pytest.mark.parametrize("spelling", ["GPL-3.0", "gplv3", "GPL 3", "GPL v3.0", "gpl3"])
def test_spellings_of_an_identifier_agree(spelling):
    assert words(spelling) == ["gpl", "3"]


@pytest.mark.parametrize(
    ("british", "american"),
    [("licence", "license"), ("authorised", "authorized"), ("favour", "favor")],
)
def test_spellings_of_a_word_agree(british, american):
    assert words(british) == words(american)


def test_words_that_only_frame_a_question_are_not_asked():
    assert terms("What does the Apache licence say about its patents?") == [
        "apache",
        "license",
        "patents",
    ]
    assert terms("What may I do?") == []


@given(st.text())
def test_words_are_their_own_words(text):
    assert words(" ".join(words(text))) == words(text)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_nothing_in_a_query_is_an_operator(found):
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE VIRTUAL TABLE t USING fts5(text)")
        database.execute("INSERT INTO t VALUES ('a near b')")
        database.execute("SELECT * FROM t WHERE t MATCH ?", (match_any(found),)).fetchall()
    finally:
        database.close()
