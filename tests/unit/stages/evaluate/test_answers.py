from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.evaluate.answers import (
    METRICS,
    bleu,
    chr_f,
    nearest,
    normalised_match,
    rouge_l,
    rouge_n,
    token_f1,
)

WORDS = ["the", "a", "Licence", "licence,", "mit", "gpl-2.0", "x", "An", "(c)", "2007", "nda"]
texts = st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)
some = st.lists(st.sampled_from([*WORDS, "für", "Straße"]), min_size=1, max_size=7).map(" ".join)


@given(said=texts, wanted=texts)
def test_rouge_is_that_of_rouge_score(said: str, wanted: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(wanted, said)

    assert rouge_n(said, wanted, 1) == pytest.approx(expected["rouge1"].fmeasure)
    assert rouge_n(said, wanted, 2) == pytest.approx(expected["rouge2"].fmeasure)
    assert rouge_l(said, wanted) == pytest.approx(expected["rougeL"].fmeasure)


@given(said=some, wanted=some)
def test_chrf_is_that_of_sacrebleu(said: str, wanted: str) -> None:
    from sacrebleu.metrics import CHRF

    assert chr_f(said, wanted) == pytest.approx(CHRF().sentence_score(said, [wanted]).score / 100)


marked = st.lists(
    st.sampled_from([*WORDS, "3.5,", "x-y", "&amp;", "7-", '"so"', "no.", "für", "a\nb"]),
    min_size=1,
    max_size=9,
).map(" ".join)


@given(said=marked, wanted=marked)
def test_bleu_is_that_of_sacrebleu(said: str, wanted: str) -> None:
    from sacrebleu.metrics import BLEU

    expected = BLEU(effective_order=True).sentence_score(said, [wanted]).score / 100
    assert bleu(said, wanted) == pytest.approx(expected)


def test_bleu_of_nothing_is_nothing() -> None:
    assert bleu("", "the licence") == bleu("the licence", "") == 0.0


@given(said=texts, wanted=texts)
def test_token_f1_is_that_of_squad(said: str, wanted: str) -> None:
    from torchmetrics.functional.text import squad

    expected = squad(
        [{"prediction_text": said, "id": "1"}],
        [{"answers": {"text": [wanted], "answer_start": [0]}, "id": "1"}],
    )

    assert token_f1(said, wanted) == pytest.approx(float(expected["f1"]) / 100)
    assert normalised_match(said, wanted) == float(expected["exact_match"]) / 100


def test_words_of_other_scripts_are_words() -> None:
    """rouge-score knows a to z alone: it would hold these for the same."""
    assert rouge_n("für", "fär", 1) == 0.0
    assert rouge_n("лицензия", "лицензия", 1) == 1.0


@given(said=some)
def test_what_was_to_be_said_has_one_by_every_metric(said: str) -> None:
    for name in set(METRICS) - {"ROUGE-2"}:  # of which a single word has none
        if any(word not in ("the", "a", "An") for word in said.split()):
            assert nearest(name, said, ["something else", said]) == 1.0, name


def test_an_answer_of_nothing_is_worth_nothing() -> None:
    assert {nearest(name, "", ["mit"]) for name in METRICS} == {0.0}
