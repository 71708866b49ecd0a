from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tunesmith.core.errors import DataError
from tunesmith.core.ref import Blob
from tunesmith.records.evaluation import WIN_RATE, Slice
from tunesmith.records.pairwise import Preferences, Verdicts, WinRate
from tunesmith.stages.evaluate.compare import Asking
from tunesmith.stages.evaluate.pairwise import SCHEMA
from tunesmith.stages.evaluate.win_rate import compared_pairs, win_rate


class Store:
    """Blobs of which there is one."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), sink)
        self._data = sink.getvalue()

    def get(self, _blob: Blob) -> bytes:
        return self._data


def row(n: int, outcome: int, *, flip: str = "", longer: str = "tuned") -> dict[str, Any]:
    first, second = {1: (1.0, 0.5), -1: (-1.0, -0.5), 0: (1.0, -1.0)}[outcome]
    if flip == "second":
        first, second = -1.0, 1.0
    if flip == "same":
        first = second = 0.0
    return {
        "row_id": f"t:{n}",
        "asked": "Q",
        "other": f"o{n}",
        "tuned": f"t{n}",
        "other_chars": 2 if longer == "tuned" else 5 if longer == "other" else 3,
        "tuned_chars": 3,
        "tuned_first": first,
        "tuned_second": second,
        "outcome": outcome,
        "tie": "" if outcome else "same answer" if flip == "same" else "order",
    }


def verdicts(num_rows: int, **changes: Any) -> Verdicts:
    fields: dict[str, Any] = {
        "task": "t",
        "task_version": "1",
        "versus": "base",
        "judge": "j",
        "judge_origin": "pypi:j==1",
        "judge_sha256": "a" * 64,
        "question": "Which?",
        "question_sha256": "b" * 64,
        "own_base": (),
        "own_tokenizer": (),
        "num_rows": num_rows,
        "pairs": Blob(sha256="c" * 64, num_bytes=1),
    }
    return Verdicts(**fields | changes)


def rate(rows: Sequence[dict[str, Any]], people: str = "", **changes: Any) -> WinRate:
    given = Preferences(task="t", text=people) if people else None
    return win_rate(
        verdicts(len(rows), **changes),
        Store(rows),
        given,
        confidence=0.95,
        seed=1,  # type: ignore[arg-type]
    )


def of_outcomes(*outcomes: int) -> list[dict[str, Any]]:
    return [row(n, outcome) for n, outcome in enumerate(outcomes)]


def test_ties_are_half_and_the_sign_test_is_that_of_a_coin() -> None:
    """8 of 10 heads or more extreme: (1 + 10 + 45) / 1024, twice."""
    found = rate(of_outcomes(*[1] * 8, *[-1] * 2, *[0] * 6))

    assert found.value == (8 + 6 / 2) / 16
    assert found.p_value == pytest.approx(2 * 56 / 1024)
    assert (found.num_won, found.num_lost, found.num_flipped) == (8, 2, 6)
    assert found.low < 0.5 + 3 / 16 < found.high
    assert rate(of_outcomes(0, 0, 0)).p_value == 1.0


@given(st.lists(st.sampled_from([1, 0, -1]), min_size=1, max_size=30))
def test_two_win_rates_are_one_together(outcomes: list[int]) -> None:
    found = rate(of_outcomes(*outcomes))
    other = rate(of_outcomes(*(-each for each in outcomes)))
    assert found.value + other.value == pytest.approx(1)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.p_value == other.p_value
    if len(set(outcomes)) == 1:
        assert found.low < found.high, "of few pairs that do not differ an interval has a width"


def test_a_comparison_is_of_the_rows_that_count() -> None:
    rows = of_outcomes(*[1] * 6, *[-1] * 3, *[0] * 3)
    store: Any = Store(rows)
    whole = compared_pairs(verdicts(12), store, Asking(confidence=0.95, seed=1))
    assert (whole.metric, whole.test, whole.is_judged) == (WIN_RATE, "exact sign test", True)
    assert (whole.base, whole.tuned) == (0.375, 0.625)
    assert whole.difference == pytest.approx(whole.tuned - whole.base)
    assert (whole.num_rows, whole.num_won, whole.num_lost) == (12, 6, 3)

    only = Slice(task="t", said="some", row_ids=("t:0", "t:1", "t:8", "t:9"))
    asking = Asking(confidence=0.95, seed=1, only=only, left_out={"t:1", "t:2"})
    part = compared_pairs(verdicts(12), store, asking)
    assert (part.num_rows, part.num_won, part.num_lost, part.num_left_out) == (3, 1, 1, 1)
    assert part.slice == "some"
    with pytest.raises(DataError, match="no pair of task t"):
        compared_pairs(
            verdicts(12),
            store,
            Asking(confidence=0.95, seed=1, left_out=[f"t:{n}" for n in range(12)]),
        )


def test_what_the_order_and_the_length_did_is_counted_and_warned_of() -> None:
    rows = [
        *(row(n, 1) for n in range(9)),
        row(9, -1, longer="tuned"),
        row(10, -1, longer="same"),
        *(row(n, 0) for n in range(11, 22)),
        row(22, 0, flip="second"),
        row(23, 0, flip="same"),
    ]
    found = rate(rows)

    assert (found.num_same, found.num_asked, found.num_flipped) == (1, 23, 12)
    assert found.num_flipped_first == 11
    assert (found.num_longer_won, found.num_lengths_differ) == (9, 10)
    said = "\n".join(found.said())
    assert "in 12 of 23 pairs (52%)" in said
    assert "drawing lots" in said
    assert "the longer answer won 9 of 10 decided pairs, more than chance" in said
    assert "agreement with people: not known" in said
    quiet = rate([row(n, 1 if n % 2 else -1) for n in range(40)])
    assert quiet.warnings == ()
    shorter = rate([row(n, 1, longer="other") for n in range(20)])
    assert "the shorter answer won 20 of 20" in shorter.warnings[0]


def test_a_judge_of_its_own_family_is_warned_of_wherever_it_is_shown() -> None:
    found = rate(of_outcomes(1), own_base=("tuned",), own_tokenizer=("base",))
    assert next(found.said()).startswith("task t, JUDGED BY A MODEL (j, pypi:j==1, sha256 aaaa")
    assert "the weights that tuned came from" in found.warnings[0]
    assert "the tokens of base" in found.warnings[1]


def lines(*said: tuple[int, str], **more: str) -> str:
    return "".join(
        json.dumps({"id": f"t:{n}", "preferred": side, **more}) + "\n" for n, side in said
    )


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 0, -1]), st.sampled_from(["tuned", "tie", "base"])),
        min_size=2,
        max_size=40,
    )
)
def test_agreement_with_people_is_cohens_kappa(both: list[tuple[int, str]]) -> None:
    rows = of_outcomes(*(outcome for outcome, _ in both), 1, 1)  # two that nobody judged
    found = rate(rows, lines(*((n, side) for n, (_, side) in enumerate(both)))).agreement
    judge = [{1: "tuned", 0: "tie", -1: "base"}[outcome] for outcome, _ in both]
    people = [side for _, side in both]

    assert found is not None
    assert found.num_rows == len(both)
    if len({*judge, *people}) > 1:
        assert found.value == pytest.approx(cohen_kappa_score(judge, people))
    else:
        assert found.value is None, "all said the same, and chance would have brought that, too"


def test_judgements_of_other_answers_are_left_out_and_counted() -> None:
    rows = of_outcomes(1, -1, 1, 0)
    text = (
        lines((0, "tuned"), tuned="t0 ", base="o0")
        + lines((1, "base"), tuned="something else")
        + lines((2, "base"))
        + lines((9, "tie"))
    )
    found = rate(rows, text)
    assert found.agreement is not None
    assert (found.agreement.num_rows, found.num_stale) == (2, 1)
    assert "1 judgements of people are of other answers" in "\n".join(found.said())
    assert "do not show that the judge agrees" in found.warnings[-1]
    assert rate(rows, text, versus="desk@1").agreement is None, "people saw the base's answers"
    assert rate(rows, lines((9, "tie"))).agreement is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1 is no JSON"),
        ("[1]", "line 1 is no judgement of a pair"),
        ('{"id": "t:1"}', "no judgement"),
        ('{"id": 1, "preferred": "tie"}', "no judgement"),
        ('{"id": "t:1", "preferred": "me"}', "no judgement"),
        ('{"id": "t:1", "preferred": ["tie"]}', "no judgement"),
        ('{"id": "t:1", "preferred": "tie", "who": "ann"}', "no judgement"),
        ('{"id": "t:1", "preferred": "tie", "tuned": 3}', "no judgement"),
        ('\n{"id": "t:1", "preferred": "tie"}\n' * 2, "line 4: row 't:1' was judged"),
        ("\n", "says nothing"),
    ],
)
def test_a_file_of_judgements_that_cannot_be_read_says_where(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        rate(of_outcomes(1), text)


def test_beside_the_win_rate_stands_what_it_would_be_at_equal_length() -> None:
    """The longer answer wins four times out of five, whosever it is, and is mostly the tuned
    model's."""
    rows = [row(n, 1 if n % 5 else -1, longer="tuned") for n in range(100)]
    rows += [row(100 + n, -1 if n % 5 else 1, longer="other") for n in range(25)]
    found = rate(rows)
    level = found.at_equal_length

    assert found.value == pytest.approx(0.68)
    assert level is not None
    assert level.low < level.value < level.high
    assert level.value < 0.66
    assert any(f"win rate at equal length: {level.value:.1%} (" in each for each in found.said())
    few = rate(rows[:80])
    assert few.at_equal_length is None
    assert any("win rate at equal length: not known" in each for each in few.said())
