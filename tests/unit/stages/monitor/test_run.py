from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import DataError
from tunesmith.core.ref import Blob
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset, Split
from tunesmith.records.service import Traffic
from tunesmith.stages.monitor.config import CompareConfig, ReplayConfig
from tunesmith.stages.monitor.run import REFERENCE_OF_ANSWERS, monitor, replay_asset, replay_dataset

LABELS = ("apache", "bsd", "gpl", "mit")
CONFIG = CompareConfig(name="desk")


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return Context(blobs=FolderBlobs(tmp_path / "blobs"), seed=7, workdir=tmp_path, keep=tmp_path)


def table(ctx: Context, **columns: list[str]) -> Blob:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target)
    return ctx.blobs.put(target.getvalue())


def texts(random: np.random.Generator, rows: int, about: str = "licence") -> list[str]:
    words = [f"{about}{number}" for number in range(40)] + ["the", "of", "and", "under"] * 20
    return [
        f"{row} " + " ".join(random.choice(words, random.integers(5, 40))) for row in range(rows)
    ]


def split(ctx: Context, rows: list[str], labels: list[str]) -> Split:
    ids = [f"{about:032x}" for about in range(len(rows))]
    blob = table(ctx, row_id=ids, text=rows, label=labels)
    return Split(rows=blob, num_rows=len(rows), num_tokens=0)


def make_dataset(ctx: Context, num_train: int = 480, num_test: int = 96) -> Dataset:
    random = np.random.default_rng(0)
    train, test = texts(random, num_train), texts(random, num_test)
    empty = table(ctx, row_id=[])
    return Dataset(
        name="notices",
        instruction="Name the licence.",
        labels=LABELS,
        train=split(ctx, train, [LABELS[i % 4] for i in range(num_train)]),
        test=split(ctx, test, [LABELS[i % 4] for i in range(num_test)]),
        dropped=empty,
        num_in=num_train + num_test,
        num_dropped=0,
        dropped_by_reason={},
        num_components=num_train + num_test,
        card=empty,
        licences=("MIT",),
    )


def make_asset(ctx: Context, rows: list[str]) -> DataAsset:
    blob = table(ctx, row_id=[f"{i:032x}" for i in range(len(rows))], text=rows)
    return DataAsset(
        name="tags",
        rows=blob,
        quarantine=blob,
        num_in=len(rows),
        num_rows=len(rows),
        num_quarantined=0,
        num_filtered=0,
        quarantined_by_rule={},
        licence="MIT",
        owner="",
        purpose="",
        origin="",
    )


def read(ctx: Context, traffic: Traffic) -> dict[str, list[str]]:
    found: dict[str, list[str]] = pq.read_table(ctx.blobs.path(traffic.rows)).to_pydict()
    return found


def served(ctx: Context, rows: list[str], answers: list[str]) -> Traffic:
    blob = table(ctx, text=rows, answer=answers)
    return Traffic(name="served", rows=blob, num_rows=len(rows), source="served")


def test_a_replay_of_a_dataset_is_its_test_split(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    traffic = replay_dataset(ReplayConfig(name="heldout"), ctx, dataset=dataset)
    expected = pq.read_table(ctx.blobs.path(dataset.test.rows)).column("text").to_pylist()
    found = read(ctx, traffic)
    assert sorted(found["text"]) == sorted(expected)
    assert set(found["answer"]) == {""}
    assert (traffic.name, traffic.num_rows, traffic.source) == ("heldout", 96, "replayed")


def test_a_replay_of_a_data_asset_is_a_normalised_sample(ctx: Context) -> None:
    asset = make_asset(ctx, [f"row\u200b  {number}\r\n" for number in range(300)])
    config = ReplayConfig(name="tags", limit=20)
    traffic = replay_asset(config, ctx, asset=asset)
    found = read(ctx, traffic)["text"]
    assert len(found) == traffic.num_rows == 20
    assert all(text.startswith("row ") and "  " not in text for text in found)
    assert replay_asset(config, ctx, asset=asset) == traffic
    other = replay_asset(config, dataclasses.replace(ctx, seed=8), asset=asset)
    assert other.rows != traffic.rows


def test_the_heldout_split_is_unchanged_and_says_what_it_could_have_seen(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    traffic = replay_dataset(ReplayConfig(name="heldout"), ctx, dataset=dataset)
    shares: list[float] = []
    watched = dataclasses.replace(ctx, progress=lambda done, total, note: shares.append(done))
    signal = monitor(CONFIG, watched, dataset=dataset, traffic=traffic)
    assert (signal.monitor, signal.traffic, signal.verdict) == ("desk", "heldout", "unchanged")
    assert signal.false_alarm_rate == 0.01
    for check in signal.checks:
        assert check.verdict == "unchanged"
        assert check.tolerance < check.detectable < 0.75
        assert (check.num_reference, check.num_traffic) == (480, 96)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    canonical_json(signal)


def test_other_words_are_a_change_and_are_named(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    asset = make_asset(ctx, texts(np.random.default_rng(1), 96, about="recipe"))
    traffic = replay_asset(ReplayConfig(name="recipes"), ctx, asset=asset)
    signal = monitor(CONFIG, ctx, dataset=dataset, traffic=traffic)
    assert signal.verdict == "changed"
    verdicts = {check.name: check for check in signal.checks}
    assert verdicts["vocabulary"].verdict == "changed"
    assert verdicts["length"].verdict == "unchanged"
    commoner, rarer, _ = verdicts["vocabulary"].details
    assert commoner.startswith("commoner")
    assert "recipe" in commoner
    assert "licence" in rarer


def test_few_rows_need_more_and_say_how_many(ctx: Context) -> None:
    dataset = make_dataset(ctx, num_test=12)
    traffic = replay_dataset(ReplayConfig(name="heldout"), ctx, dataset=dataset)
    signal = monitor(CONFIG, ctx, dataset=dataset, traffic=traffic)
    assert signal.verdict == "need_more"
    assert all(20 < check.num_needed < 100 for check in signal.checks)


def test_answers_are_compared_with_the_first_answers(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    rows = texts(np.random.default_rng(2), 300)
    spread = [LABELS[i % 4] for i in range(300)]
    same = monitor(CONFIG, ctx, dataset=dataset, traffic=served(ctx, rows, spread))
    assert [check.name for check in same.checks] == ["length", "vocabulary", "outputs"]
    assert same.verdict == "unchanged"
    moved = [*spread[:150], *[" mit\n"] * 150]
    found = monitor(CONFIG, ctx, dataset=dataset, traffic=served(ctx, rows, moved))
    outputs = found.checks[2]
    assert outputs.verdict == found.verdict == "changed"
    assert outputs.details[0] == "mit: 100% of the later answers, 25% of the first"
    assert outputs.details[-1] == REFERENCE_OF_ANSWERS
    assert (outputs.num_reference, outputs.num_traffic) == (150, 150)


def test_labels_that_were_always_skewed_are_no_change(ctx: Context) -> None:
    """The train split is capped per label, so that it is uniform; what is asked about is not."""
    dataset = make_dataset(ctx)
    random = np.random.default_rng(4)
    answers = [str(answer) for answer in random.choice(LABELS, 300, p=[0.85, 0.05, 0.05, 0.05])]
    traffic = served(ctx, texts(random, 300), answers)
    signal = monitor(CONFIG, ctx, dataset=dataset, traffic=traffic)
    assert {check.name: check.verdict for check in signal.checks}["outputs"] == "unchanged"


def test_few_answers_need_more(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    rows = texts(np.random.default_rng(2), 60)
    traffic = served(ctx, rows, [LABELS[i // 30] for i in range(60)][::-1])
    outputs = monitor(CONFIG, ctx, dataset=dataset, traffic=served(ctx, rows[:1], ["mit"])).checks[
        2
    ]
    assert (outputs.verdict, outputs.num_reference, outputs.num_traffic) == ("need_more", 1, 0)
    again = monitor(CONFIG, ctx, dataset=dataset, traffic=traffic).checks[2]
    assert (again.num_reference, again.num_traffic) == (30, 30)


def test_each_check_says_what_its_reference_is(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    traffic = served(ctx, texts(np.random.default_rng(2), 96), ["mit"] * 96)
    signal = monitor(CONFIG, ctx, dataset=dataset, traffic=traffic)
    told = {check.name: check.details[-1] for check in signal.checks}
    assert "capped per label" in told["vocabulary"] == told["length"]
    assert "not the train labels" in told["outputs"]


def test_a_request_repeated_is_one_text(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    traffic = served(ctx, ["the same again"] * 500, [""] * 500)
    signal = monitor(CONFIG, ctx, dataset=dataset, traffic=traffic)
    assert signal.verdict == "need_more"
    assert signal.checks[0].num_traffic == 1


def test_the_order_of_texts_does_not_matter(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    rows = texts(np.random.default_rng(3), 60)
    answers = [LABELS[i % 3] for i in range(60)]
    one = monitor(CONFIG, ctx, dataset=dataset, traffic=served(ctx, rows, answers))
    two = monitor(CONFIG, ctx, dataset=dataset, traffic=served(ctx, rows[::-1], answers[::-1]))
    assert one.checks[:2] == two.checks[:2]


def test_no_traffic_is_no_verdict(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    signal = monitor(CONFIG, ctx, dataset=dataset, traffic=served(ctx, ["x"][:0], ["x"][:0]))
    assert signal.verdict == "need_more"


def test_an_empty_reference_is_refused(ctx: Context) -> None:
    dataset = make_dataset(ctx)
    empty = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, rows=table(
        ctx, text=pa.array([], pa.string()), label=pa.array([], pa.string()))))  # fmt: skip
    with pytest.raises(DataError, match="notices is empty"):
        monitor(CONFIG, ctx, dataset=empty, traffic=served(ctx, ["a"], [""]))
