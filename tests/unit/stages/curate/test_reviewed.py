"""Labels that people settled stand in place of the sources', and what they found unusable goes."""

from __future__ import annotations

import io
import random
from collections import Counter

import pyarrow.parquet as pq
import pytest

from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain, to_plain
from tunesmith.records.review import Agreement, ReviewedLabels
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.reviewed import DROPPED, with_reviewed_labels
from tunesmith.stages.curate.rows import read_rows
from tunesmith.stages.curate.run import curate

ALPHA = Agreement(what="Krippendorff's alpha", num_rows=4, value=0.6, low=0.4, high=0.8)


def config(**settings) -> DatasetConfig:
    return DatasetConfig(
        **{
            "name": "notes",
            "sources": ["notices"],
            "base": "words",
            "instruction": "Name it.",
            "labels": ["a", "b"],
            "train_per_label": 4,
            "test_per_label": 2,
            "min_chars": 5,
            "reviewed": "kinds",
            **settings,
        }
    )


def reviewed(**labels: str) -> ReviewedLabels:
    return ReviewedLabels(
        review="kinds",
        labels=labels,
        per_row=2,
        num_adjudicated=1,
        guidelines=("f" * 64,),
        alpha=ALPHA,
    )


def notes(num: int, label: str) -> list[tuple[str, str]]:
    draw = random.Random(label)
    return [
        (" ".join(f"{label}{draw.randrange(10**6)}" for _ in range(8)), label) for _ in range(num)
    ]


def rows_of(ctx, blob) -> dict[str, dict]:
    return {
        row["row_id"]: row for row in pq.read_table(io.BytesIO(ctx.blobs.get(blob))).to_pylist()
    }


def test_corrected_confirmed_unusable_gone(ctx, base, make_asset):
    asset = make_asset([*notes(6, "a"), *notes(6, "b")])
    ids = [row.row_id for row in read_rows([asset], ctx.blobs)]
    labels = reviewed(**{ids[0]: "b", ids[1]: "a", ids[2]: "unusable", "gone": "a"})
    made = curate(config(), ctx, assets=(asset,), base=base, reviewed=labels)

    dropped = rows_of(ctx, made.dropped)
    assert (dropped[ids[2]]["reason"], dropped[ids[2]]["detail"]) == (DROPPED, "review kinds")
    assert made.dropped_by_reason["unusable, say reviewers"] == 1
    assert made.num_in == made.train.num_rows + made.test.num_rows + made.num_dropped
    kept = rows_of(ctx, made.train.rows) | rows_of(ctx, made.test.rows)
    in_dataset = {**kept, **{row: each for row, each in dropped.items() if row not in kept}}
    assert in_dataset.keys() == set(ids)
    # 7 rows are b now, of which one is over the cap; of a there are 4.
    assert Counter(row["label"] for row in kept.values()) == {"a": 4, "b": 6}
    if ids[0] in kept:
        assert kept[ids[0]]["label"] == "b"
        assert '"label":"b"' in kept[ids[0]]["content"]

    card = ctx.blobs.get(made.card).decode()
    for line in (
        "| confirmed | 1 |",
        "| corrected | 1 |",
        "| unusable, dropped | 1 |",
        "| not in the sources any more | 1 |",
        "| not looked at, same text as one that was | 0 |",
        "4 rows were judged by 2 people each",
        "Krippendorff's alpha: 0.600 (95 % interval over rows: 0.400 to 0.800), 4 rows",
        f"guidelines sha256 {'f' * 12}",
    ):
        assert line in card


def test_a_copy_is_what_its_like_was_found_to_be(ctx, make_asset):
    """Else the correction would contradict the copies, and all of them be dropped."""
    said = "the patient fell out of the bed"
    asset = make_asset([(said, "a"), ("  The patient fell\nout of the bed", "a"), ("no copy", "a")])
    first, second, third = (row.row_id for row in read_rows([asset], ctx.blobs))
    kept, dropped, applied = with_reviewed_labels(
        config(), list(read_rows([asset], ctx.blobs)), reviewed(**{first: "b"})
    )
    assert {row.row_id: row.label for row in kept} == {first: "b", second: "b", third: "a"}
    assert dropped == []
    assert (applied.num_corrected, applied.num_copies) == (1, 1)
    kept, dropped, _ = with_reviewed_labels(
        config(), list(read_rows([asset], ctx.blobs)), reviewed(**{second: "unusable"})
    )
    assert {row.row_id for row in dropped} == {first, second}
    assert [row.row_id for row in kept] == [third]


def test_of_two_copies_that_were_both_judged_each_is_what_it_was_found_to_be(ctx, make_asset):
    asset = make_asset([("the same words", "a"), ("the same words", "a")])
    rows = list(read_rows([asset], ctx.blobs))
    labels = reviewed(**{rows[0].row_id: "a", rows[1].row_id: "b"})
    kept, _, applied = with_reviewed_labels(config(), rows, labels)
    assert [row.label for row in kept] == ["a", "b"]
    assert applied.num_copies == 0


def test_a_review_of_which_nothing_was_accepted_stops_the_dataset(ctx, base, make_asset):
    asset = make_asset([*notes(6, "a"), *notes(6, "b")])
    with pytest.raises(DataError, match="no labels of review 'kinds' were accepted"):
        curate(config(), ctx, assets=(asset,), base=base)


def test_a_dataset_without_a_review_is_known_by_the_key_that_it_had():
    plain = to_plain(config(reviewed=""))
    assert "reviewed" not in plain
    assert to_plain(config())["reviewed"] == "kinds"


def test_the_record_has_the_same_bytes_whatever_order_rows_were_judged_in():
    first, again = reviewed(x="a", y="b"), reviewed(y="b", x="a")
    assert fingerprint(first) == fingerprint(again)
    assert from_plain(ReviewedLabels, to_plain(first)) == again
