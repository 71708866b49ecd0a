from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tunesmith.core.errors import DataError, UsageError
from tunesmith.paired.power import detectable
from tunesmith.records.data import DataAsset, Dataset, Split
from tunesmith.records.evaluation import Evaluation, OwnRows, Slice, Slices, TaskRows
from tunesmith.stages.evaluate.beforehand import what_gate_could_show
from tunesmith.stages.evaluate.config import (
    GateConfig,
    GateRule,
    SliceConfig,
    Sliced,
    SlicesConfig,
)
from tunesmith.stages.evaluate.run import judge
from tunesmith.stages.evaluate.slices import cut
from tunesmith.stages.evaluate.task import TaskConfig


def parquet(tiny: Any, columns: dict[str, Any]) -> Any:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return tiny.blobs.put(sink.getvalue())


def dataset_of(tiny: Any, rows: list[tuple[str, str, str, str]]) -> Dataset:
    """Test rows of (row id, source, text, label)."""
    names = ["row_id", "asset", "text", "label"]
    columns = {name: [row[n] for row in rows] for n, name in enumerate(names)}
    split = Split(rows=parquet(tiny, columns), num_rows=len(rows), num_tokens=0)
    return dataclasses.replace(tiny.dataset([]), test=split)


def asset_of(tiny: Any, name: str, fields: dict[str, dict[str, Any]]) -> DataAsset:
    columns = {
        "row_id": list(fields),
        "attributes": [json.dumps(each) for each in fields.values()],
    }
    return DataAsset(
        name=name,
        rows=parquet(tiny, columns),
        quarantine=tiny.blobs.put(b""),
        num_in=0,
        num_rows=0,
        num_quarantined=0,
        num_filtered=0,
        quarantined_by_rule={},
        licence="",
        owner="",
        purpose="",
        origin="",
    )


ROWS = [
    ("r1", "tickets", "short", "mit"),
    ("r2", "tickets", "a longer text", "gpl"),
    ("r3", "mails", "short", "mit"),
    ("r1", "mails", "the same id elsewhere", "mit"),
]


def ids(tiny: Any, **settings: Any) -> tuple[str, ...]:
    assets = (
        asset_of(tiny, "tickets", {"r1": {"lang": "de", "n": 5}, "r2": {"lang": "en"}, "r9": {}}),
        asset_of(tiny, "mails", {"r3": {"lang": "de"}, "r1": {"lang": "fr"}}),
    )
    config = SlicesConfig(slices=(Sliced(slice=SliceConfig(**settings)),))
    made = cut(config, tiny.context(), dataset=dataset_of(tiny, ROWS), assets=assets)
    return made.slices[0].row_ids


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"source": "tickets"}, ("r1", "r2")),
        ({"label": "gpl"}, ("r2",)),
        ({"field": "lang", "value": "de"}, ("r1", "r3")),
        ({"field": "n", "value": "5"}, ("r1",)),
        ({"field": "lang", "value": "de", "source": "mails"}, ("r3",)),
        ({"min_chars": 6}, ("r2", "r1")),
        ({"max_chars": 5}, ("r1", "r3")),
        ({"min_chars": 6, "max_chars": 13}, ("r2",)),
        ({"label": "apache"}, ()),
    ],
)
def test_a_slice_has_the_rows_for_which_all_holds(
    tiny: Any, settings: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert ids(tiny, **settings) == expected


def test_a_field_that_no_row_has_is_an_error_that_says_which_there_are(tiny: Any) -> None:
    with pytest.raises(UsageError, match="no row has the field 'language'") as caught:
        ids(tiny, field="language", value="de")
    assert "lang, n" in caught.value.remedy


def test_rows_of_a_task_are_cut_by_their_fields(tiny: Any) -> None:
    config = SlicesConfig(
        slices=(
            Sliced(task="own", slice=SliceConfig(field="level", value="hard")),
            Sliced(task="own", slice=SliceConfig(max_chars=9)),
        )
    )
    text = '{"q": "a", "level": "hard"}\n\n{"q": "longer than that", "level": "easy"}\n'
    own = OwnRows(files=(TaskRows(task="own", text=text),))
    made = cut(config, tiny.context(), dataset=dataset_of(tiny, ROWS), own=own)

    assert [each.row_ids for each in made.slices] == [("own:1",), ("own:1",)]
    broken = OwnRows(files=(TaskRows(task="own", text="{"),))
    with pytest.raises(DataError, match="line 1"):
        cut(config, tiny.context(), dataset=dataset_of(tiny, ROWS), own=broken)


def test_rows_of_a_task_are_cut_by_their_label_which_is_the_right_choice(tiny: Any) -> None:
    asked = TaskConfig(
        name="own",
        version="1",
        ask="choose",
        rows="file:a.jsonl",
        prompt="{q}",
        choices=["x", "a, b"],
    )
    config = SlicesConfig(
        slices=(Sliced(task="own", asked=asked, slice=SliceConfig(label="a, b", max_chars=6)),)
    )
    lines = [("1", "x"), ("2", "a, b"), ("3", 1), ("4", 0), ("5 and more", 1)]
    text = "\n".join(json.dumps({"q": q, "answer": answer}) for q, answer in lines)
    own = OwnRows(files=(TaskRows(task="own", text=text),))
    made = cut(config, tiny.context(), dataset=dataset_of(tiny, ROWS), own=own)
    assert [each.row_ids for each in made.slices] == [("own:2", "own:3")]


@pytest.mark.parametrize(
    "wrong", [{}, {"field": "a"}, {"value": "a"}, {"min_chars": 9, "max_chars": 3}]
)
def test_a_slice_says_which_rows(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SliceConfig(**wrong)


def made_up(tiny: Any, wrong: set[int], num_rows: int = 100, task: str = "") -> Evaluation:
    """An evaluation of rows r0, r1 ... that are all right but those."""
    from tunesmith.stages.evaluate.predictions import to_parquet
    from tunesmith.stages.evaluate.scorer import Scored

    scores = [float(row not in wrong) for row in range(num_rows)]
    names = ["a" if score else "b" for score in scores]
    scored = Scored(
        metric="accuracy",
        scores=scores,
        losses=[1 - score for score in scores],
        truth=["a"] * num_rows,
        predicted=names,
        by_row={"chrF": [score / 2 for score in scores]},
        others={"macro-F1": 0.0},
    )
    return Evaluation(
        model="desk",
        subject="tuned",
        labels=("a", "b"),
        num_rows=num_rows,
        metric="accuracy",
        value=sum(scores) / num_rows,
        others=scored.all_others(),
        per_label_f1={},
        predictions=tiny.blobs.put(to_parquet([f"r{n}" for n in range(num_rows)], scored)),
        task=task,
    )


GERMAN = SliceConfig(field="lang", value="de")


def slices(rows: range, task: str = "") -> Slices:
    ids = tuple(f"r{row}" for row in rows)
    return Slices(slices=(Slice(task=task, said=GERMAN.said, row_ids=ids),))


@pytest.mark.parametrize(
    ("rule", "rows", "verdict"),
    [
        ({"at_least": 0.5}, range(40, 100), "pass"),
        ({"at_least": 0.5}, range(30), "fail"),
        ({"at_least": 0.5}, range(25, 60), "inconclusive"),
        ({"against": "base"}, range(40, 100), "pass"),
        ({"against": "base"}, range(30), "fail"),
        ({"against": "base", "metric": "chrF"}, range(40, 100), "pass"),
        ({"against": "base", "metric": "macro-F1"}, range(40, 100), "pass"),
        ({"at_least": 0.5, "metric": "chrF"}, range(30), "fail"),
    ],
)
def test_a_rule_of_a_slice_is_judged_on_its_rows_alone(
    tiny: Any, rule: dict[str, Any], rows: range, verdict: str
) -> None:
    """The tuned model is wrong on the first 40 rows, and its base on the others."""
    config = GateConfig(
        name="g", model="desk", beats_base_by=-0.5, rules=(GateRule(slice=GERMAN, **rule),)
    )
    base, tuned = made_up(tiny, set(range(40, 100))), made_up(tiny, set(range(40)))

    result = judge(config, tiny.context(), base=base, tuned=tuned, slices=slices(rows))

    assert result.rules[0].verdict == "pass"
    said = result.rules[1]
    assert said.verdict == verdict
    assert f"on lang = de ({len(rows)} rows)" in said.rule
    if rule.get("against"):
        found = result.comparisons[1]
        kept = [row in range(40, 100) for row in rows]
        assert (found.slice, found.num_rows) == ("lang = de", len(rows))
        if not rule.get("metric"):
            assert found.tuned == sum(kept) / len(rows)
            assert found.base == 1 - found.tuned


@pytest.mark.parametrize("rule", [{"at_least": 0.5}, {"against": "base"}])
@pytest.mark.parametrize("num_rows", [0, 1, 9])
def test_too_few_rows_decide_nothing_and_say_how_many_would(
    tiny: Any, rule: dict[str, Any], num_rows: int
) -> None:
    config = GateConfig(
        name="g", model="desk", beats_base_by=-0.5, rules=(GateRule(slice=GERMAN, **rule),)
    )
    base, tuned = made_up(tiny, set(range(40, 100))), made_up(tiny, set(range(40)))
    cut_of = slices(range(50, 50 + num_rows))
    result = judge(config, tiny.context(), base=base, tuned=tuned, slices=cut_of)

    assert (result.verdict, result.admits) == ("inconclusive", False)
    assert result.rules[1].num_rows_needed >= 10
    assert "too few rows" in result.rules[1].observed or not num_rows


@pytest.mark.parametrize("metric", ["", "chrF"])
def test_ten_rows_on_which_nothing_differs_are_no_proof(tiny: Any, metric: str) -> None:
    """A bootstrap of them has no width; the interval that is honest of few has."""
    config = GateConfig(
        name="g",
        model="desk",
        beats_base_by=-0.5,
        rules=(GateRule(slice=GERMAN, against="base", margin=-0.01, metric=metric),),
    )
    same = made_up(tiny, set(range(40)))
    result = judge(config, tiny.context(), base=same, tuned=same, slices=slices(range(12)))

    assert result.rules[1].verdict == "inconclusive"
    assert result.rules[1].num_rows_needed > 100


def test_a_rule_of_a_task_is_judged_on_what_the_task_gave(tiny: Any) -> None:
    rules = (
        GateRule(task="cites", at_least=0.5),
        GateRule(task="cites", against="base", metric="chrF", slice=GERMAN),
    )
    config = GateConfig(name="g", model="desk", beats_base_by=-0.9, rules=rules)
    main = made_up(tiny, set())
    base, tuned = (made_up(tiny, wrong, 60, "cites") for wrong in (set(range(60)), set(range(20))))
    result = judge(
        config,
        tiny.context(),
        base=main,
        tuned=main,
        tasks=(base, tuned),
        slices=slices(range(20, 60), "cites"),
    )

    assert [rule.rule for rule in result.rules[1:]] == [
        "cites: accuracy",
        "cites: chrF beside base on lang = de (40 rows)",
    ]
    assert [rule.verdict for rule in result.rules] == ["pass"] * 3
    of_all, of_task, of_slice = result.comparisons
    assert (of_all.task, of_task.task, of_slice.task) == ("", "cites", "cites")
    assert (of_task.base, of_task.num_rows) == (0.0, 60)
    assert (of_slice.base, of_slice.tuned, of_slice.num_rows) == (0.0, 0.5, 40)
    assert result.inputs["cites: tuned"] == tuned.predictions.sha256


def test_what_slices_could_show_is_said_beforehand(tiny: Any) -> None:
    rules = (GateRule(slice=GERMAN, at_least=0.5),)
    gate = GateConfig(name="g", model="desk", rules=rules)
    dataset = dataset_of(tiny, ROWS * 25)

    whole, part = what_gate_could_show(gate, dataset, slices(range(40)))
    usual = 100 * detectable(40, 0.95, 0.2)

    assert whole.startswith("100 test rows")
    assert part.startswith(
        f"40 rows of lang = de, 95% confidence, 80 % power: a difference of {usual:.1f}"
    )
    (_, none) = what_gate_could_show(gate, dataset, slices(range(0)))
    assert "nothing can be shown" in none
    assert len(what_gate_could_show(gate, dataset, None)) == 1


def test_macro_f1_of_a_slice_is_of_the_labels_that_it_can_have(tiny: Any) -> None:
    """Of `label = a` a model that is right on each row has 1, and not a quarter."""
    from tunesmith.stages.evaluate.compare import Asking, compare_as, floor_interval
    from tunesmith.stages.evaluate.predictions import to_parquet
    from tunesmith.stages.evaluate.scorer import Scored

    labels = ("a", "b", "c", "d")
    truth = [label for label in labels for _ in range(24)]
    ids = [str(row) for row in range(96)]

    def said(predicted: list[str]) -> Evaluation:
        right = [float(t == p) for t, p in zip(truth, predicted, strict=True)]
        others = {"macro-F1": sum(right) / 96}
        scored = Scored(
            metric="accuracy", scores=right, losses=right, truth=truth, predicted=predicted,
            others=others,
        )  # fmt: skip
        return Evaluation(
            model="m", subject="tuned", labels=labels, num_rows=96, metric="accuracy", value=0.0,
            others=others, per_label_f1={},
            predictions=tiny.blobs.put(to_parquet(ids, scored)),
        )  # fmt: skip

    only = Slice(task="", said="label = a", row_ids=tuple(ids[:24]))
    perfect, half = said(truth), said(["b"] * 12 + truth[12:])

    within, num_rows = floor_interval(
        perfect, tiny.blobs, metric="macro-F1", confidence=0.95, seed=1, only=only
    )
    asking = Asking(confidence=0.95, seed=1, metric="macro-F1", only=only)
    beside = compare_as(half, perfect, tiny.blobs, asking)

    assert (within.mean, within.high, num_rows) == (1, 1, 24)
    assert 0.9 < within.low < 1  # of 24 right rows one is not sure of more
    # Half of the rows of a: F1 2/3; b, which one of them said, is 0 of both.
    assert (beside.base, beside.tuned) == pytest.approx((1 / 3, 1 / 2))
    whole, _ = floor_interval(half, tiny.blobs, metric="macro-F1", confidence=0.95, seed=1)
    assert whole.mean == pytest.approx((2 / 3 + 48 / 60 + 2) / 4)
