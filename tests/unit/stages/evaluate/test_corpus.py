from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu import corpus_bleu, corpus_chrf
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from tunesmith.records.evaluation import Evaluation, Slice
from tunesmith.stages.evaluate.answers import nearest
from tunesmith.stages.evaluate.compare import Asking, compare_as, floor_interval
from tunesmith.stages.evaluate.corpus import COUNTS, counts_of, of_counts
from tunesmith.stages.evaluate.predictions import to_parquet
from tunesmith.stages.evaluate.scorer import Scored

WORDS = re.findall(r"\S+", "the licence of this work is granted to all who have a copy , 2.0 für")
PUBLISHED = {"BLEU": corpus_bleu, "chrF": corpus_chrf}
texts = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)


def wanted_and_said(seed: int, spoilt: float, num_rows: int = 60) -> tuple[list[str], list[str]]:
    """Sentences, and the same with some words changed."""
    words, noise = random.Random(0), random.Random(seed)
    wanted = [words.choices(WORDS, k=words.randint(4, 14)) for _ in range(num_rows)]
    said = [
        [noise.choice(WORDS) if noise.random() < spoilt else word for word in row] for row in wanted
    ]
    return [" ".join(row) for row in wanted], [" ".join(row) for row in said]


def evaluated(tiny: Any, metric: str, wanted: list[str], said: list[str]) -> Evaluation:
    counts = [
        counts_of(metric, *each) for each in zip(said, [[one] for one in wanted], strict=True)
    ]
    scores = [nearest(metric, *each) for each in zip(said, [[one] for one in wanted], strict=True)]
    scored = Scored(
        metric=metric,
        scores=scores,
        losses=[1 - score for score in scores],
        truth=wanted,
        predicted=said,
        whole=of_counts(metric, counts).value,
        columns={COUNTS[metric]: counts},
    )
    return Evaluation(
        model="desk",
        subject="tuned",
        labels=(),
        num_rows=len(said),
        metric=metric,
        value=scored.value,
        others={},
        per_label_f1={},
        predictions=tiny.blobs.put(to_parquet([f"r{n}" for n in range(len(said))], scored)),
        task="translate",
    )


@pytest.mark.parametrize("metric", ["BLEU", "chrF"])
@given(rows=st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=8))
def test_of_all_answers_it_is_what_papers_report(
    metric: str, rows: list[tuple[str, str, str]]
) -> None:
    said, first, second = zip(*rows, strict=True)
    found = of_counts(metric, [counts_of(metric, one, [two, three]) for one, two, three in rows])

    expected = PUBLISHED[metric](list(said), [list(first), list(second)]).score / 100
    assert found.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("metric", "library"), [("BLEU", BLEU), ("chrF", CHRF)])
def test_two_models_are_compared_by_the_published_figure(
    tiny: Any, metric: str, library: Any
) -> None:
    """By sacrebleu's own paired tests, which share no code with ours."""
    wanted, before = wanted_and_said(1, spoilt=0.25)
    _, after = wanted_and_said(2, spoilt=0.2)
    evaluations = [evaluated(tiny, metric, wanted, said) for said in (before, after)]
    asking = Asking(confidence=0.95, seed=0, metric=metric)
    found = compare_as(*evaluations, tiny.blobs, asking)

    systems = [("before", before), ("after", after)]
    _, said = PairedTest(systems, {metric: library(references=[wanted])}, None, "ar", 10_000)()
    first, second = said[{"BLEU": "BLEU", "chrF": "chrF2"}[metric]]
    assert found.base == pytest.approx(first.score / 100)
    assert found.tuned == pytest.approx(second.score / 100)
    assert found.difference == pytest.approx((second.score - first.score) / 100)
    assert 0.01 < found.p_value < 0.9  # neither is plain
    assert found.p_value == pytest.approx(second.p_value, abs=0.03)
    assert found.low < found.difference < found.high

    spread = [
        PUBLISHED[metric]([after[n] for n in rows], [[wanted[n] for n in rows]]).score / 100
        for rows in (random.Random(draw).choices(range(60), k=60) for draw in range(1_000))
    ]
    interval, num_rows = floor_interval(
        evaluations[1], tiny.blobs, metric=metric, confidence=0.95, seed=0
    )
    assert num_rows == 60
    assert interval.low == pytest.approx(sorted(spread)[25], abs=0.015)
    assert interval.high == pytest.approx(sorted(spread)[974], abs=0.015)


def test_of_some_rows_it_is_that_of_these(tiny: Any) -> None:
    wanted, said = wanted_and_said(1, spoilt=0.3)
    only = Slice(task="translate", said="short", row_ids=tuple(f"r{n}" for n in range(5, 25)))
    evaluation = evaluated(tiny, "BLEU", wanted, said)

    found, num_rows = floor_interval(
        evaluation, tiny.blobs, metric="", confidence=0.95, seed=0, only=only
    )
    assert num_rows == 20
    assert found.mean == pytest.approx(corpus_bleu(said[5:25], [wanted[5:25]]).score / 100)
    mean = (
        sum(nearest("BLEU", *each) for each in zip(said, [[one] for one in wanted], strict=True))
        / 60
    )
    assert abs(evaluation.value - mean) > 0.003  # it is no mean of the rows
