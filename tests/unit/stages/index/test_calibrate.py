import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunesmith.retrieve.store import Document, Store, build
from tunesmith.stages.index.calibrate import (
    ALPHA,
    UNCALIBRATED,
    calibrate,
    fit,
    upper_bound,
)


def _silent(*_):
    """Report no progress."""


@given(st.integers(1, 300), st.data())
def test_the_bound_is_clopper_and_pearsons(total, data):
    wrong = data.draw(st.integers(0, total))
    expected = stats.binomtest(wrong, total, alternative="less").proportion_ci(0.95, "exact").high
    assert upper_bound(wrong, total) == pytest.approx(expected)


def test_the_lowest_threshold_that_bounds_the_false_answers():
    unanswerable = [0.9] * 2 + [0.7] * 8 + [0.5] * 90
    calibration = fit({"near": unanswerable}, {"plain": [0.4] * 10 + [0.95] * 90})
    # Two in a hundred: at most 6.2 %; at 0.7 it would be ten: at most 16.4 %.
    assert calibration.threshold == 0.71
    assert "near, 2 of 100 (2.0%; at most 6.2%)" in calibration.text
    assert "plain, 90 of 100 (90.0%)" in calibration.text


def test_an_easy_kind_does_not_hide_a_hard_one():
    calibration = fit({"easy": [0.0] * 900, "hard": [0.8] * 20 + [0.3] * 80}, {"plain": [1.0]})
    assert calibration.threshold == 0.81  # together it would be twenty in a thousand at 0.8
    assert "easy, 0 of 900" in calibration.text
    assert "hard, 0 of 100 (0.0%; at most 3.0%)" in calibration.text


def test_questions_that_nothing_speaks_of_need_little():
    assert fit({"far": [0.0] * 100}, {}).threshold == 0.01


@given(st.lists(st.floats(0, 1), max_size=200))
def test_a_fitted_threshold_keeps_its_promise(unanswerable):
    calibration = fit({"made": unanswerable}, {"plain": [1.0]})
    if "not calibrated" in calibration.text:
        assert calibration.threshold == UNCALIBRATED
    else:
        wrong = sum(score >= calibration.threshold for score in unanswerable)
        assert upper_bound(wrong, len(unanswerable)) <= ALPHA


def _document(key, vocabulary, chooser):
    text = " ".join(f"The {' '.join(chooser.sample(vocabulary, 8))} holds." for _ in range(12))
    return Document(key=key, title=key, names=(key,), text=text)


def test_it_is_fitted_on_documents_that_were_left_out(tmp_path):
    chooser = random.Random(1)
    shared = [f"shared{'abcdefghij'[i]}{'klmnopqrst'[j]}" for i in range(10) for j in range(10)]
    own = [word.replace("shared", "other") for word in shared]
    inside = [_document(f"in-{'abcdefgh'[i]}", shared, chooser) for i in range(8)]
    outside = [_document(f"out-{'abcdefgh'[i]}", shared + own, chooser) for i in range(8)]
    build(tmp_path / "i", inside, _silent)
    reports = []
    with Store(tmp_path / "i") as store:
        first = calibrate(store, outside, seed=3, progress=lambda *report: reports.append(report))
        assert first == calibrate(store, outside, seed=3, progress=_silent)
        alone = calibrate(store, [], seed=3, progress=_silent)
    assert "not calibrated" not in first.text
    assert 0 < first.threshold <= 1
    for kind in ("left out", "and such words", "that no document has", "that only others have"):
        assert f"{kind}, " in first.text
    assert "a title and a word that no document has, 0 of" in first.text
    assert "a title and a word that only others have, 0 of" in first.text
    assert reports
    assert alone.threshold == UNCALIBRATED
    assert "not calibrated: 0 questions" in alone.text
