from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.stages.evaluate.answers import METRICS, nearest, normalised_match, token_f1
from tunesmith.stages.evaluate.task import WRITTEN

WORDS = ["the", "a", "Licence", "licence,", "mit", "gpl-2.0", "x", "An", "(c)", "2007", "nda"]
texts = st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join)
some = st.lists(st.sampled_from([*WORDS, "für", "Straße"]), min_size=1, max_size=7).map(" ".join)


marked = st.lists(
    st.sampled_from([*WORDS, "3.5,", "x-y", "&amp;", "7-", '"so"', "no.", "für", "a\nb"]),
    min_size=1,
    max_size=9,
).map(" ".join)


@given(said=texts, wanted=texts)
def test_rouge_is_that_of_rouge_score(said: str, wanted: str) -> None:
    """An oracle that shares no code with torchmetrics."""
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(wanted, said)

    for name, kind in {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}.items():
        assert nearest(name, said, [wanted]) == pytest.approx(expected[kind].fmeasure, abs=1e-6)


@given(said=marked, wanted=marked)
def test_of_one_answer_bleu_and_chrf_are_those_of_a_sentence(said: str, wanted: str) -> None:
    from sacrebleu import sentence_bleu, sentence_chrf

    assert nearest("chrF", said, [wanted]) == pytest.approx(
        sentence_chrf(said, [wanted]).score / 100, abs=1e-15
    )
    expected = sentence_bleu(said, [wanted], use_effective_order=True)
    assert nearest("BLEU", said, [wanted]) == pytest.approx(expected.score / 100, abs=1e-15)


def test_bleu_and_chrf_by_hand() -> None:
    """BLEU of "the licence of all is MIT": 5, 3, 2 and 1 of 6, 5, 4 and 3 runs are right, it is as
    long as it was to be. chrF of "abcd" for "abce": precision and recall 3/4, 2/3, 1/2 and 0."""
    bleu = nearest("BLEU", "the licence of all is MIT", ["the licence of all was MIT"])
    chrf = nearest("chrF", "abc d", ["ab ce"])

    assert bleu == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** (1 / 4))
    assert chrf == pytest.approx((3 / 4 + 2 / 3 + 1 / 2) / 4)


def test_of_several_right_answers_bleu_takes_the_words_of_all() -> None:
    """As published figures with several references do: "a b c" has every word in one of them."""
    assert nearest("BLEU", "a b c", ["a b x", "y b c"]) > nearest("BLEU", "a b c", ["a b x"])
    assert nearest("ROUGE-L", "a b c", ["x", "a b c d"]) == pytest.approx(6 / 7)


def test_an_answer_of_nothing_has_no_bleu() -> None:
    assert nearest("BLEU", "", ["the licence"]) == nearest("BLEU", "the licence", [""]) == 0.0


def test_each_metric_that_a_task_can_name_can_be_counted() -> None:
    assert tuple(METRICS) == WRITTEN


@pytest.mark.parametrize(("module", "metric"), [("sacrebleu", "BLEU"), ("torchmetrics", "ROUGE-L")])
def test_without_its_library_a_metric_names_the_extra(module: str, metric: str) -> None:
    """In a process of its own, which can import the others, and everything but that metric."""
    code = f"""
import sys
sys.modules[{module!r}] = None
from tunesmith.core.errors import MissingExtra
from tunesmith.stages.evaluate.answers import nearest
from tunesmith.stages.evaluate.task import require_libraries
require_libraries(["exact match", "token F1"])
assert nearest("token F1", "the MIT", ["MIT"]) == 1.0
try:
    require_libraries(["exact match", {metric!r}])
except MissingExtra as error:
    print(error.exit_code, error.message, "|", error.remedy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        f"1 {module}, which counts {metric}, is needed here and is not installed | "
        "pip install 'tunesmith[text-metrics]'\n"
    )


def test_nothing_of_the_extra_is_imported_before_it_is_asked_for() -> None:
    code = """
import sys
import tunesmith.stages.evaluate.asking, tunesmith.stages.evaluate.run
print([name for name in ("sacrebleu", "torchmetrics") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


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
    assert nearest("ROUGE-1", "für", ["fär"]) == 0.0
    assert nearest("ROUGE-1", "лицензия", ["лицензия"]) == 1.0


@given(said=some)
def test_what_was_to_be_said_has_one_by_every_metric(said: str) -> None:
    for name in set(METRICS) - {"ROUGE-2"}:  # of which a single word has none
        if any(word not in ("the", "a", "An") for word in said.split()):
            assert nearest(name, said, ["something else", said]) == 1.0, name


def test_an_answer_of_nothing_is_worth_nothing() -> None:
    assert {nearest(name, "", ["mit"]) for name in METRICS} == {0.0}
