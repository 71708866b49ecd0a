"""Rows that say the same in other words, by a random encoder, which sees no accents: with accents
on its words a text shares no word with itself, and has the same vector."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tunesmith.core.canonical import canonical_json, fingerprint, plain
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.ref import from_plain
from tunesmith.graph import build
from tunesmith.lm.embed import vectors
from tunesmith.lm.load import load_head
from tunesmith.project_file import FILE, read
from tunesmith.records.data import DataAsset, Dataset, SemanticSize, TrueSize
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate import run
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.run import curate
from tunesmith.text.dedup import Pair, duplicate_of, shingles, similarity

WORDS = [
    *("permission", "granted", "free", "charge", "person", "obtaining", "copy", "software"),
    *("program", "general", "public", "licence", "version", "later", "licensed", "apache", "file"),
]
ACCENTS = str.maketrans("aeio", "áéíó")


def said(number: int, num_words: int = 9) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=num_words))


def twin(text: str) -> str:
    return text.translate(ACCENTS)


def config(**settings: Any) -> DatasetConfig:
    return DatasetConfig(
        **{
            "name": "notices",
            "sources": ["rows"],
            "base": "bert",
            "instruction": "Name it.",
            "num_labels": 2,
            "train_per_label": 40,
            "test_per_label": 6,
            "min_chars": 5,
            "similarity": 0.95,
            "leak_similarity": 0.95,
            "semantic": {"encoder": "bert", "at_least": 0.9999},
            **settings,
        }
    )


def asset_of(readers: Any, rows: Sequence[dict[str, Any]]) -> DataAsset:
    """As ingest makes it, of rows with a `text` and a `label`, or other fields."""
    import pyarrow as pa

    attributes = [json.dumps(row, sort_keys=True) for row in rows]
    columns = {
        "row_id": [hashlib.sha256(f"{n}{a}".encode()).hexdigest()[:32] for n, a in
                   enumerate(attributes)],
        "pointer": [f"rows#{n}" for n in range(len(rows))],
        "text": [row.get("text", attribute) for row, attribute in
                 zip(rows, attributes, strict=True)],
        "label": [row.get("label", "") for row in rows],
        "attributes": attributes,
    }  # fmt: skip
    sink = io.BytesIO()
    pq.write_table(pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()}), sink)
    blobs = readers.tiny.blobs
    return DataAsset(
        name="rows", rows=blobs.put(sink.getvalue()), quarantine=blobs.put(b""), num_in=len(rows),
        num_rows=len(rows), num_quarantined=0, num_filtered=0, quarantined_by_rule={},
        licence="CC0-1.0", owner="us", purpose="tests", origin="file:rows.jsonl",
    )  # fmt: skip


def labelled(texts: Sequence[str], labels: Sequence[str]) -> list[dict[str, Any]]:
    return [{"text": t, "label": label} for t, label in zip(texts, labels, strict=True)]


def cut(readers: Any, settings: DatasetConfig, rows: Sequence[dict[str, Any]], **more: Any) -> Any:
    """A dataset whose base and encoder are the same random BERT."""
    base = more.pop("base", None) or readers.encoder("bert")
    encoder = {"encoder": base} if settings.semantic else {}
    ctx = readers.tiny.context(1, **more.pop("hooks", {}))
    return curate(settings, ctx, assets=(asset_of(readers, rows),), base=base, **encoder | more)


def table(readers: Any, blob: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(
        io.BytesIO(readers.tiny.blobs.get(blob))
    ).to_pylist()
    return found


def sides(readers: Any, dataset: Dataset) -> tuple[set[str], set[str]]:
    train, test = (
        {row["pointer"] for row in table(readers, side.rows)}
        for side in (dataset.train, dataset.test)
    )
    return train, test


def number_of(pointer: str) -> int:
    return int(pointer.removeprefix("rows#"))


def mixed() -> list[dict[str, Any]]:
    """Forty rows of two labels; five of them again with the same meaning, and eight with the other
    label."""
    texts, labels = [said(n) for n in range(40)], ["gpl", "mit"] * 20
    other = {"gpl": "mit", "mit": "gpl"}
    again = labelled([twin(text) for text in texts[:5]], labels[:5])
    against = labelled([twin(text) for text in texts[20:28]], [other[x] for x in labels[20:28]])
    return [*labelled(texts, labels), *again, *against]


def test_the_same_in_other_words_goes_and_contradictions_are_listed(readers: Any) -> None:
    rows = mixed()
    assert similarity(shingles(rows[0]["text"]), shingles(rows[40]["text"])) == 0
    without = cut(readers, config(semantic=None), rows)
    assert without.dropped_by_reason.keys() <= {"over the cap"}
    assert type(without.size) is TrueSize
    assert without.size == TrueSize(rows=53, distinct=53, near_distinct=53)

    dataset = cut(readers, config(), rows)
    dropped = [r for r in table(readers, dataset.dropped) if r["reason"] == "semantic duplicate"]
    ids = [row["row_id"] for row in table(readers, asset_of(readers, rows).rows)]
    assert [(r["pointer"], r["detail"]) for r in dropped] == [
        (f"rows#{40 + n}", ids[n]) for n in range(5)
    ]
    assert dataset.num_in == dataset.train.num_rows + dataset.test.num_rows + dataset.num_dropped
    size = dataset.size
    assert isinstance(size, SemanticSize)
    assert (size.rows, size.distinct, size.near_distinct, size.semantic_distinct) == (
        53,
        53,
        53,
        48,
    )
    assert size.share == pytest.approx(48 / 53)
    assert (size.num_unread, size.num_contradictions) == (0, 16)

    listed = table(readers, size.contradictions)
    assert "text" not in listed[0]  # erasure finds the rows by their ids
    expected = {(f"rows#{20 + n}", f"rows#{45 + n}") for n in range(8)}
    found = {(row["pointer"], row["other_pointer"]) for row in listed}
    assert found == expected | {(b, a) for a, b in expected}
    assert {row["row_id"] for row in listed} == {row["other_row_id"] for row in listed}
    for row in listed:
        assert row["label"] == rows[number_of(row["pointer"])]["label"] != row["other_label"]
        assert row["cosine"] >= 0.9999

    card = readers.tiny.blobs.get(dataset.card).decode()
    in_it = set().union(*sides(readers, dataset)) & {row["pointer"] for row in listed}
    for line in (
        "53 rows, 53 distinct, 53 near-distinct, 48 semantically distinct (90.6 %).",
        "| dropped: semantic duplicate | 5 |",
        "(folder) is at least 0.9999:",
        "all but the first of such rows were dropped, each for one that stayed. 0 rows were not",
        "Contradictions: 16 distinct rows of the labels below",
        f"and {len(in_it)} of them are in the dataset",
        "- 0.9999 as the cosine of their vectors by bert",
    ):
        assert line in card
    plainly = readers.tiny.blobs.get(without.card).decode()
    assert not any(word in plainly for word in ("cosine", "semantic", "Contradictions"))
    assert "Neither measure sees a paraphrase" in plainly


def by_brute_force(readers: Any, base: BaseModel, texts: Sequence[str]) -> Any:
    """The cosine of every two of `texts`, in float64."""
    loaded = load_head(base, readers.tiny.blobs, "embed")
    found = vectors(loaded, texts).double().numpy()
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found @ found.T


def test_rows_go_and_are_parted_as_brute_force_has_it(readers: Any) -> None:
    """Of texts that are more or less alike: the keep rule of each label, and across the split."""
    starts = [said(n).split() for n in range(14)]
    draw = random.Random(4)
    texts = [
        " ".join(draw.choice(WORDS) if draw.random() < 0.25 else word for word in start)
        for start in starts
        for _ in range(5)
    ]
    labels = [draw.choice(["gpl", "mit"]) for _ in texts]
    base = readers.encoder("bert")  # no two have the same word pieces
    cosines = by_brute_force(readers, base, texts)
    values = np.sort(cosines[np.triu_indices(len(texts), 1)])[::-1]
    at = 40 + int(np.argmax(values[40:60] - values[41:61]))  # a threshold that no pair is close to
    at_least = float((values[at] + values[at + 1]) / 2)
    settings = config(
        semantic={"encoder": "bert", "at_least": at_least}, similarity=1.0, leak_similarity=1.0
    )
    dataset = cut(readers, settings, labelled(texts, labels), base=base)

    # What is equal, or has the same words, went before an encoder was asked.
    before = ("exact duplicate", "near duplicate", "conflicting labels")
    dropped = table(readers, dataset.dropped)
    read = [True] * len(texts)
    for row in dropped:
        read[number_of(row["pointer"])] &= row["reason"] not in before
    assert sum(read) > 50
    edges = [
        Pair(first=i, second=j, jaccard=float(cosines[i, j]), short=False)
        for j in range(len(texts))
        for i in range(j)
        if read[i] and read[j] and labels[i] == labels[j] and cosines[i, j] >= at_least
    ]
    gone = {n: pair.first for n, pair in enumerate(duplicate_of(len(texts), edges)) if pair}
    assert len(gone) > 5
    ids = [r["row_id"] for r in table(readers, asset_of(readers, labelled(texts, labels)).rows)]
    found = {
        number_of(row["pointer"]): ids.index(row["detail"])
        for row in dropped
        if row["reason"] == "semantic duplicate"
    }
    assert found == gone
    train, test = ([number_of(pointer) for pointer in side] for side in sides(readers, dataset))
    across = cosines[np.ix_(train, test)].max()
    assert 0.5 < across < at_least
    card = readers.tiny.blobs.get(dataset.card).decode()
    assert f"- {across:.3f} as the cosine of their vectors by bert" in card


def test_rows_of_two_labels_that_mean_the_same_are_on_one_side(
    readers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [said(n) for n in range(16)]
    rows = labelled(texts, ["mit"] * 16) + labelled([twin(text) for text in texts], ["gpl"] * 16)
    dataset = cut(readers, config(), rows)
    train, test = ({number_of(p) % 16 for p in side} for side in sides(readers, dataset))
    assert train
    assert test
    assert not train & test

    # The measurement does not trust what the split rests on.
    monkeypatch.setattr(run, "joined_by_meaning", lambda *_given: ([], []))
    with pytest.raises(DataError, match=r"leaks: test row rows#\d+ means the same as") as caught:
        cut(readers, config(), rows)
    assert "lower semantic.at_least" in caught.value.remedy


def test_what_the_encoder_cannot_read_whole_is_not_compared(readers: Any) -> None:
    """Two texts that begin alike, and two of which it knows no word, would be one to it."""
    start = said(1, 70)  # the encoder reads 64 tokens
    odd = [f"{start} {said(2)}", f"{twin(start)} {said(3)}", "日本 語 文", "中国 話 字"]
    texts = [*odd, *(said(n) for n in range(10, 20))]
    rows = labelled(texts, ["gpl", "gpl", "mit", "mit", *["gpl", "mit"] * 5])
    dataset = cut(readers, config(), rows)
    assert "semantic duplicate" not in dataset.dropped_by_reason
    assert isinstance(dataset.size, SemanticSize)
    assert dataset.size.num_unread == 4
    assert "stayed. 4 rows were not compared" in readers.tiny.blobs.get(dataset.card).decode()


def test_formats_whose_rows_may_differ_all_the_same_drop_none(readers: Any) -> None:
    """Of pairs the anchors are compared; they are on one side, and the true size counts them."""
    anchors = [said(n) for n in range(12)]
    rows = [{"anchor": text, "positive": said(100 + n)} for n, text in enumerate(anchors)]
    rows += [{"anchor": twin(text), "positive": said(200)} for text in anchors]
    settings = DatasetConfig(
        name="found", sources=["rows"], base="bert", format="pairs", test_share=0.3,
        semantic={"encoder": "bert", "at_least": 0.9999},
    )  # fmt: skip
    dataset = cut(readers, settings, rows)
    assert "semantic duplicate" not in dataset.dropped_by_reason
    assert isinstance(dataset.size, SemanticSize)
    assert (dataset.size.near_distinct, dataset.size.semantic_distinct) == (24, 12)
    assert dataset.size.num_contradictions == 0
    train, test = ({number_of(p) % 12 for p in side} for side in sides(readers, dataset))
    assert train
    assert test
    assert not train & test


def test_what_was_liked_and_what_was_not_contradict_each_other_in_no_way(readers: Any) -> None:
    """Two answers to one question, of which one was liked, are what feedback is made of."""
    prompts = [said(n) for n in range(8)]
    rows = [{"prompt": text, "completion": said(90), "liked": True} for text in prompts]
    rows += [{"prompt": twin(text), "completion": said(91), "liked": False} for text in prompts]
    settings = DatasetConfig(
        name="liked", sources=["rows"], base="bert", format="feedback", test_share=0.3,
        columns={"label": "liked"},
        semantic={"encoder": "bert", "at_least": 0.9999},
    )  # fmt: skip
    tiny = readers.tiny
    dataset = cut(readers, settings, rows, base=tiny.base, encoder=readers.encoder("bert"))
    assert isinstance(dataset.size, SemanticSize)
    assert (dataset.size.semantic_distinct, dataset.size.num_contradictions) == (8, 0)


def test_rows_that_mean_the_same_as_another_datasets_test_rows_are_not_trained_on(
    readers: Any,
) -> None:
    labels = ["gpl", "mit"] * 10
    judge = cut(readers, config(name="judge"), labelled([said(n) for n in range(20)], labels))
    tested = [row["text"] for row in table(readers, judge.test.rows)]
    own = labelled([said(n) for n in range(50, 70)], labels)
    again = labelled([twin(text) for text in tested], ["mit"] * len(tested))
    dataset = cut(readers, config(apart_from=["judge"]), [*own, *again], apart=(judge,))
    trained = {row["text"] for row in table(readers, dataset.train.rows)}
    assert not trained & {twin(text) for text in tested}
    reasons = Counter(row["reason"] for row in table(readers, dataset.dropped))
    assert reasons["like another dataset's test row"] > 0
    blind = cut(
        readers, config(apart_from=["judge"], semantic=None), [*own, *again], apart=(judge,)
    )
    assert "like another dataset's test row" not in blind.dropped_by_reason


def test_a_model_that_reads_one_way_is_no_encoder(readers: Any) -> None:
    with pytest.raises(
        DataError, match=r"base 'tiny' cannot be its semantic encoder.* cannot embed"
    ):
        cut(readers, config(), mixed(), base=readers.tiny.base)


def test_progress_has_an_end_and_no_text_is_read_twice(readers: Any) -> None:
    heard: list[tuple[float, float, str]] = []
    hooks = {"progress": lambda done, total, note: heard.append((done, total, note))}
    cut(readers, config(), mixed(), hooks=hooks)
    reading = [(done, total) for done, total, note in heard if note == "reads what rows mean"]
    assert reading == [(0, 53)]
    assert {total for _, total, note in heard if note == "compares meanings"} <= {53, 48}


def test_who_asks_for_no_encoder_has_the_key_and_the_record_of_before(
    readers: Any, tmp_path: Path
) -> None:
    """These digests are of the settings as they were before there was `semantic`."""
    common: dict[str, Any] = {"name": "letters", "sources": ("mail",), "base": "minilm"}
    assert fingerprint(DatasetConfig(**common, instruction="Name it.")) == (
        "cbbc526364c5cf3c26b6baffb83cc65b5ae13a93ea9ac142bb0da012ef976109"
    )
    assert fingerprint(DatasetConfig(**common, format="text")) == (
        "16ea88eb78563eb00c978e99cff71d77c0c7f023db1473e4ecf2a8e2b13d205a"
    )
    without, asked = (cut(readers, config(**more), mixed()) for more in ({"semantic": None}, {}))
    assert b"semantic" not in canonical_json(without)
    for dataset in (without, asked):
        assert from_plain(Dataset, plain(dataset)) == dataset


PROJECT = """
[project]
name = "p"
[source.notices]
origin = "pypi:notices==1.0"
files = ["*"]
label = "key"
[base.big]
origin = "pypi:big==1.0"
file = "model"
[base.minilm]
origin = "pypi:small==1.0"
file = "model"
[dataset.d]
sources = ["notices"]
base = "big"
instruction = "Name it."
"""


def test_the_step_is_given_the_encoder(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(PROJECT)
    plain_step = build(read(tmp_path)[0]).datasets["d"]
    assert "encoder" not in plain_step.inputs
    (tmp_path / FILE).write_text(PROJECT + 'semantic = { encoder = "minilm", at_least = 0.9 }\n')
    step = build(read(tmp_path)[0]).datasets["d"]
    assert step.inputs["encoder"].name == "base:minilm"
    assert step.inputs["base"].name == "base:big"
    assert step.config != plain_step.config


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ('{ encoder = "minilm" }', "semantic.at_least", "missing"),
        ("{ at_least = 0.9 }", "semantic.encoder", "missing"),
        ('{ encoder = "minilm", at_least = 0 }', "semantic.at_least", "greater than 0"),
        ('{ encoder = "minilm", at_least = 1 }', "semantic.at_least", "less than 1"),
        ('{ encoder = "minilm", at_least = 95 }', "semantic.at_least", "less than 1"),
        ('{ encoder = "minilm", at_least = nan }', "semantic.at_least", "not nan"),
        ('{ encoder = "minilm", atleast = 0.9 }', "semantic.atleast", "did you mean 'at_least'"),
        ('{ encoder = "minlm", at_least = 0.9 }', "semantic.encoder", "did you mean 'minilm'"),
        ('"minilm"', "dataset.d.semantic", "SemanticConfig"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, given: str, key: str, words: str) -> None:
    (tmp_path / FILE).write_text(f"{PROJECT}semantic = {given}\n")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert key in str(caught.value)
    assert words in f"{caught.value} {caught.value.remedy}"


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValidationError):
        config(semantic={"encoder": "bert", "at_least": -0.1})
