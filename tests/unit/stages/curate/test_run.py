"""The whole of curation on small assets: counts, reasons, leakage, and the errors people meet."""

from __future__ import annotations

import dataclasses
import io
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tunesmith.core.errors import DataError
from tunesmith.core.ref import Blob, from_plain
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.model import BaseModel
from tunesmith.records.rows import FORMATS, Labelled
from tunesmith.stages.curate import run
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.run import curate
from tunesmith.text.dedup import most_similar, shingles, similarity

MakeAsset = Callable[..., DataAsset]


def config(**settings: Any) -> DatasetConfig:
    return DatasetConfig(
        **{
            "name": "notices-2",
            "sources": ["notices"],
            "base": "words",
            "instruction": "Name the licence.",
            "num_labels": 2,
            "train_per_label": 4,
            "test_per_label": 2,
            "max_tokens": 40,
            "min_chars": 5,
            **settings,
        }
    )


def table(ctx: Context, blob: Blob) -> pa.Table:
    return pq.read_table(io.BytesIO(ctx.blobs.get(blob)))


def notices(num: int, label: str, seed: int = 0) -> list[tuple[str, str]]:
    draw = random.Random(f"{label}{seed}")
    return [
        (" ".join(f"{label}{draw.randrange(10**6)}" for _ in range(8)), label) for _ in range(num)
    ]


def mixed() -> list[tuple[str, str]]:
    """A corpus with one or more of everything that can happen to a row."""
    same = notices(1, "mit", seed=1)[0][0]
    near = " ".join(["near"] + [f"n{i}" for i in range(15)])
    chain = [" ".join(f"k{j}" for j in range(i, i + 12)) for i in range(0, 12, 3)]
    return [
        *notices(12, "mit"),
        *notices(9, "gpl"),
        *notices(2, "bsd"),
        ("both licences", "mit OR gpl"),
        ("tiny", "mit"),
        (" ".join(["word"] * 60), "mit"),
        (same, "mit"),
        (same.upper(), "mit"),
        ("some text that is disputed here", "mit"),
        ("Some text that is\ndisputed here", "gpl"),
        (near, "mit"),
        (near + " n15", "gpl"),
        (near + " n16", "mit"),
        ("a text that is dual licensed", "mit"),
        ("A text that is dual licensed", "mit OR gpl"),
        *((text, "gpl") for text in chain),
    ]


def check_conservation(ctx: Context, dataset: Dataset) -> None:
    train, test, dropped = (
        table(ctx, blob) for blob in (dataset.train.rows, dataset.test.rows, dataset.dropped)
    )
    assert dataset.num_in == train.num_rows + test.num_rows + dropped.num_rows
    assert (train.num_rows, test.num_rows) == (dataset.train.num_rows, dataset.test.num_rows)
    assert dropped.num_rows == dataset.num_dropped == sum(dataset.dropped_by_reason.values())
    assert Counter(dropped["reason"].to_pylist()) == dataset.dropped_by_reason
    for split, rows in ((dataset.train, train), (dataset.test, test)):
        assert sum(rows["num_tokens"].to_pylist()) == split.num_tokens
    pointers = [p for rows in (train, test, dropped) for p in rows["pointer"].to_pylist()]
    assert len(set(pointers)) == dataset.num_in


def test_every_row_is_accounted_for(ctx: Context, base: BaseModel, make_asset: MakeAsset) -> None:
    dataset = curate(config(), ctx, assets=(make_asset(mixed()),), base=base)
    check_conservation(ctx, dataset)
    assert dataset.labels == ("gpl", "mit")
    assert (dataset.train.num_rows, dataset.test.num_rows) == (8, 4)
    assert dataset.dropped_by_reason == {
        "compound label": 1,
        "conflicting labels": 4,
        "exact duplicate": 1,
        "label not among the commonest": 2,
        "near duplicate": 1,
        "over the cap": 16,
        "too long": 1,
        "too short": 1,
    }
    assert (dataset.num_in, dataset.num_dropped) == (39, 27)
    assert dataset.licences == ("CC-BY-4.0",)
    schema = table(ctx, dataset.train.rows).schema
    assert schema.names == [
        "row_id", "asset", "pointer", "text", "label", "content", "component", "num_tokens",
    ]  # fmt: skip
    assert dataset.format == "labels"
    for row in table(ctx, dataset.test.rows).to_pylist():
        said = from_plain(FORMATS["labels"], json.loads(row["content"]))
        assert said == Labelled(text=row["text"], label=row["label"])
    assert schema.field("num_tokens").type == pa.int32()


def test_no_test_row_resembles_a_training_row(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    draw = random.Random(5)
    words = [f"v{i}" for i in range(40)]
    rows: list[tuple[str, str]] = []
    for family in range(40):
        start = draw.sample(words, 20)
        for _ in range(4):
            rows.append((" ".join(start), "mit" if family % 2 else "gpl"))
            start = [draw.choice(words) if draw.random() < 0.08 else w for w in start]
    settings = config(train_per_label=20, test_per_label=8, similarity=0.8, leak_similarity=0.2)
    dataset = curate(settings, ctx, assets=(make_asset(rows),), base=base)
    check_conservation(ctx, dataset)
    train, test = table(ctx, dataset.train.rows), table(ctx, dataset.test.rows)
    values = [
        similarity(shingles(a), shingles(b))
        for a in train["text"].to_pylist()
        for b in test["text"].to_pylist()
    ]
    assert max(values) < 0.2
    assert f"{max(values):.3f}" in ctx.blobs.get(dataset.card).decode()
    sides = [set(rows["component"].to_pylist()) for rows in (train, test)]
    assert not sides[0] & sides[1]
    assert dataset.num_components == len(sides[0] | sides[1]) < dataset.train.num_rows + 16


def test_tokens_are_those_of_the_whole_conversation(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    dataset = curate(config(), ctx, assets=(make_asset(mixed()),), base=base)
    for row in table(ctx, dataset.train.rows).to_pylist():
        # Three turns of start, role and end, "Name the licence.", the text, the label.
        assert row["num_tokens"] == 9 + 3 + len(row["text"].split()) + 1
    longest = max(
        table(ctx, side.rows)["num_tokens"].to_pylist()[0] for side in (dataset.train, dataset.test)
    )
    tight = config(max_tokens=longest)
    assert curate(tight, ctx, assets=(make_asset(mixed()),), base=base).num_in == dataset.num_in


def test_texts_are_normalised(ctx: Context, base: BaseModel, make_asset: MakeAsset) -> None:
    rows = [(f"\u200b{text}\r\n", label) for text, label in notices(6, "mit") + notices(6, "gpl")]
    dataset = curate(config(), ctx, assets=(make_asset(rows),), base=base)
    for text in table(ctx, dataset.train.rows)["text"].to_pylist():
        assert text == text.strip("\u200b\r\n")


def test_equal_input_gives_an_equal_record_and_another_seed_another_split(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    asset = make_asset(mixed())
    first = curate(config(), ctx, assets=(asset,), base=base)
    assert curate(config(), ctx, assets=(asset,), base=base) == first
    other = curate(config(), dataclasses.replace(ctx, seed=2), assets=(asset,), base=base)
    assert other.test.rows != first.test.rows
    assert other.dropped_by_reason == first.dropped_by_reason


def test_of_two_sources_the_first_keeps_its_row(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    one = make_asset(notices(6, "mit") + notices(6, "gpl"))
    two = make_asset(notices(6, "mit"), name="tags")
    settings = config(sources=["notices", "tags"])
    dataset = curate(settings, ctx, assets=(one, two), base=base)
    check_conservation(ctx, dataset)
    dropped = table(ctx, dataset.dropped).to_pylist()
    gone = [row for row in dropped if row["reason"] == "exact duplicate"]
    assert [row["asset"] for row in gone] == ["tags"] * 6
    kept = {row["row_id"] for row in table(ctx, one.rows).to_pylist()}
    assert {row["detail"] for row in gone} <= kept


def test_listed_labels_replace_the_commonest(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    settings = config(labels=["bsd", "gpl"])
    dataset = curate(settings, ctx, assets=(make_asset(mixed()),), base=base)
    check_conservation(ctx, dataset)
    assert dataset.labels == ("bsd", "gpl")
    assert Counter(table(ctx, dataset.test.rows)["label"].to_pylist()) == {"bsd": 1, "gpl": 2}


def test_the_card_says_what_is_in_it(ctx: Context, base: BaseModel, make_asset: MakeAsset) -> None:
    dataset = curate(config(), ctx, assets=(make_asset(mixed()),), base=base)
    card = ctx.blobs.get(dataset.card).decode()
    for line in (
        "| notices | pypi:notices==1.0 | CC-BY-4.0 | the team | tests \\| and more | 39 |",
        "| dropped: near duplicate | 1 |",
        "| in | 39 |",
        "| kept | 12 |",
        "True size: of 32 rows with a fitting label and length, 30 are",
        "- 0.8 of their words, where either text has fewer than 20",
        "- 0.6 of their word 5-grams, where both have at least 20 words",
        "- 0.7 of their words, where either text has fewer than 20",
        "- 0.4 of their word 5-grams, where both have at least 20 words",
        "1 such pairs among the distinct rows",
        "Every label has 4 + 2 rows.",
    ):
        assert line in card
    assert f"{dataset.train.num_tokens} tokens" in card


def test_an_empty_dataset_is_an_error(ctx: Context, base: BaseModel, make_asset: MakeAsset) -> None:
    with pytest.raises(DataError, match="is empty"):
        curate(config(), ctx, assets=(make_asset([]),), base=base)


def test_when_every_row_is_too_long_the_error_says_so(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    asset = make_asset(notices(6, "mit") + notices(6, "gpl"))
    with pytest.raises(DataError, match=r"0 labels are left.*12 too long") as caught:
        curate(config(max_tokens=20), ctx, assets=(asset,), base=base)
    assert "max_tokens" in caught.value.remedy


def test_a_label_that_never_occurs_is_named(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    with pytest.raises(DataError, match="no row has the label 'mitt'") as caught:
        curate(config(labels=["gpl", "mitt"]), ctx, assets=(make_asset(mixed()),), base=base)
    assert "'mit'" in caught.value.remedy


def test_too_few_labels_is_an_error(ctx: Context, base: BaseModel, make_asset: MakeAsset) -> None:
    with pytest.raises(DataError, match="3 labels are left, num_labels is 4"):
        curate(config(num_labels=4), ctx, assets=(make_asset(mixed()),), base=base)


def test_a_label_with_one_row_is_an_error(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    rows = notices(6, "mit") + notices(1, "gpl")
    with pytest.raises(DataError, match="label 'gpl' has 1 distinct rows left"):
        curate(config(), ctx, assets=(make_asset(rows),), base=base)


@pytest.mark.parametrize(
    ("num_words", "what"), [(12, "of its words with"), (30, "of its word 5-grams with")]
)
def test_a_leak_that_slips_through_is_not_published(
    ctx: Context,
    base: BaseModel,
    make_asset: MakeAsset,
    monkeypatch: pytest.MonkeyPatch,
    num_words: int,
    what: str,
) -> None:
    """The measurement does not trust the search for candidates that the split rests on."""
    words = [f"w{i}" for i in range(num_words)]
    rows = [
        (" ".join([*words, *(f"{label}{i}{j}" for j in range(2))]), label)
        for label in ("mit", "gpl")
        for i in range(6)
    ]
    monkeypatch.setattr(run, "duplicates", lambda *_texts, **_options: ())
    settings = config(similarity=0.95, leak_similarity=0.3, max_tokens=60)
    with pytest.raises(DataError, match="leaks: test row notices/") as caught:
        curate(settings, ctx, assets=(make_asset(rows),), base=base)
    assert what in str(caught.value)


def test_hard_cases_stay_and_are_on_one_side(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    """Pairs that differ in one word, which is the one that decides about the label."""
    rows = [
        (f"{start} the gnu licence version {version} of the library", label)
        for start in (" ".join(f"{i}x{j}" for j in range(4)) for i in range(12))
        for version, label in (("two", "gpl"), ("three", "mit"))
    ]
    settings = config(train_per_label=8, test_per_label=4)
    dataset = curate(settings, ctx, assets=(make_asset(rows),), base=base)
    check_conservation(ctx, dataset)
    assert dataset.num_dropped == 0
    train, test = (
        table(ctx, side.rows)["text"].to_pylist() for side in (dataset.train, dataset.test)
    )
    for side in (train, test):
        # Every row stands beside its twin.
        assert {text.replace("two", "three") for text in side} < set(side)
    closest = most_similar(train, test).words
    assert closest is not None
    assert closest.jaccard < 0.7
    card = ctx.blobs.get(dataset.card).decode()
    assert "12 such pairs among the distinct rows of the labels below. 12 of them" in card
    assert f"- {closest.jaccard:.3f} of their words, where either" in card
    assert "- 0.000 of their word 5-grams, where both" in card


def test_a_text_that_also_has_an_unlisted_label_is_in_conflict(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    rows = notices(6, "mit") + notices(6, "gpl") + [("disputed by two owners", "mit")]
    rows.append(("Disputed by  two owners", "bsd"))
    settings = config(labels=["mit", "gpl"])
    dataset = curate(settings, ctx, assets=(make_asset(rows),), base=base)
    assert dataset.dropped_by_reason == {"conflicting labels": 2}


@pytest.mark.parametrize(
    "settings",
    [
        {"similarity": 0.4, "leak_similarity": 0.5},
        {"labels": ["mit"]},
        {"labels": ["mit", "mit"]},
        {"num_labels": 1},
        {"sources": []},
        {"similarity": 0},
        {"unknown": 1},
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**settings)


def test_a_licence_that_is_not_allowed_stops_the_dataset(
    ctx: Context, base: BaseModel, make_asset: MakeAsset
) -> None:
    asset = make_asset(mixed())
    allowed = curate(config(licences=["MIT", "CC-BY-4.0"]), ctx, assets=(asset,), base=base)
    assert allowed.licences == ("CC-BY-4.0",)
    assert "| CC-BY-4.0 |" in ctx.blobs.get(allowed.card).decode()
    with pytest.raises(DataError, match=r"'notices': its licence is CC-BY-4\.0, and") as caught:
        curate(config(licences=["MIT"]), ctx, assets=(asset,), base=base)
    assert "add the licence to `licences`" in caught.value.remedy
    silent = dataclasses.replace(asset, licence="not stated")
    with pytest.raises(DataError, match="it states no licence") as caught:
        curate(config(licences=["MIT"]), ctx, assets=(asset, silent)[1:], base=base)
    assert "`licence` of source.notices" in caught.value.remedy
    assert curate(config(), ctx, assets=(silent,), base=base).licences == ("not stated",)
