from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.stages.probe.paraphrases import read_paraphrases
from tunesmith.stages.probe.rephrase import (
    ASKS,
    OF_REQUESTS,
    POLITE,
    contractions,
    is_english,
    polite_line,
    question_frame,
)

PAIRS = [
    ("I don't know", "I do not know"),
    ("They can't pay", "They cannot pay"),
    ("It won't start", "It will not start"),
    ("a rule that doesn't hold", "a rule that does not hold"),
    ("We weren't told", "We were not told"),
]
"""Each is the other's: one form stands for the other in English grammars."""


@pytest.mark.parametrize(("short", "long"), PAIRS)
def test_short_forms_are_written_out_and_long_ones_made_short(short: str, long: str) -> None:
    assert contractions(short) == long
    assert contractions(short.replace("'", "’")) == long
    assert contractions(long) == short


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I'm here and they're late", "I am here and they are late"),
        ("We've paid, you'll see", "We have paid, you will see"),
        ("You said it isn't, so I can't", "You said it is not, so I cannot"),
    ],
)
def test_other_short_forms_are_written_out(text: str, said: str) -> None:
    assert contractions(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "Why don't you pay?",  # its long form has another order
        "Isn't it free?",
        "It is free, isn't it?",
        "with it isn't it",
        "It's mine, the licence's text",  # is, has, or whose it is
        "I'd go",  # had, or would
        "Let's go",  # let us may ask to be let
        'It says "I don\'t know"',  # somebody else's words
        "Print 'I don't know'",
        "run `if it doesn't hold`",
        "<p>I don't know</p>",
        "That is who I am",  # "who I'm" is none
        "I cannot but agree",
        "Yes or no?",
        "Das kann ich nicht.",
        "",
    ],
)
def test_what_would_be_in_doubt_stays(text: str) -> None:
    assert contractions(text) == text


@given(st.text(alphabet="IWetinhysdacoul' \n.?", max_size=80) | st.text(max_size=80))
def test_contractions_change_negations_and_verbs_alone(text: str) -> None:
    """What is left of both when all that a contraction is made of is taken away is the same."""

    def rest(of: str) -> str:
        whole = of.replace("’", "'").replace("won't", "will not").replace("can't", "cannot")
        whole = re.sub(r"n't\b", " not", whole)
        return re.sub(r"'(m|re|ve|ll)\b| (am|are|have|will)\b", " V", whole)

    assert rest(contractions(text)) == rest(text)


def test_what_stands_before_a_request_is_all_that_changes() -> None:
    ask = "Name the licence of this file."
    assert polite_line(ask) == POLITE + ask
    assert question_frame("What is the licence of it?") == f"{ASKS}What is the licence of it?"
    for text in (
        ask,  # no question
        "What is the licence? And of that?",
        "This is the file. What is the licence?",
        "Here it is:\nWhat is the licence?",
        "Was ist das für eine Lizenz?",
        "The what of this?",
    ):
        assert question_frame(text) == text
    assert polite_line("Nenne die Lizenz dieser Datei.") == "Nenne die Lizenz dieser Datei."
    assert not is_english("Wat is dit voor een licentie in het bestand?")
    assert not is_english("Quelle est la licence de ce fichier?")


@given(st.text(max_size=100), st.sampled_from(["", "What of the ", "Does this ", "the of "]))
def test_what_is_asked_stays_to_the_letter_behind_a_frame(text: str, before: str) -> None:
    for rule in OF_REQUESTS.values():
        assert rule(before + text).endswith(before + text)


def test_paraphrases_are_found_by_id_or_by_text() -> None:
    found = read_paraphrases(
        '{"id": "a1", "paraphrase": "One?"}\n\n{"text": "Who  is\\nit?", "paraphrase": "And who?"}',
        "p.jsonl",
    )
    assert found.num == 2
    assert found.of("a1", "anything") == "One?"
    assert found.of("b", " Who is it? ") == "And who?"
    assert found.of("b", "Who?") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1: this is no JSON"),
        ('{"id": "a"}', "line 1: it must be an object with 'paraphrase'"),
        ('{"id": "a", "paraphrase": " "}', "line 1: it must be an object"),
        ('{"id": "a", "paraphrase": "b", "by": "ann"}', "line 1: it must be an object"),
        ('{"paraphrase": "b"}', "must name one row"),
        ('{"id": "a", "text": "c", "paraphrase": "b"}', "must name one row"),
        ('{"id": 3, "paraphrase": "b"}', "must name one row"),
        ('{"text": " ", "paraphrase": "b"}', "must name one row"),
        ('{"id": "a", "paraphrase": "b"}\n' * 2, "has two paraphrases"),
        ('{"text": "A b", "paraphrase": "c"}\n{"text": "A  b", "paraphrase": "d"}', "has two"),
        ('{"text": "A b", "paraphrase": "A  b"}', "is the text itself"),
        ("", "says nothing"),
    ],
)
def test_a_file_of_paraphrases_that_cannot_be_used_says_why(text: str, said: str) -> None:
    with pytest.raises(DataError, match=f"p.jsonl.*{said}") as caught:
        read_paraphrases(text, "p.jsonl")
    assert caught.value.remedy or "JSON" in said
