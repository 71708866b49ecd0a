"""Values of rows and data assets from vectors made by hand."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.neighbors import KNeighborsClassifier

from tunesmith.core.errors import DataError, UsageError
from tunesmith.records.data import Dataset, Split
from tunesmith.records.value import RowValues, Vectors
from tunesmith.stages.value import run
from tunesmith.stages.value.config import ValueConfig
from tunesmith.stages.value.run import value

ASSETS = ("letters", "mail", "notes")


def put(tiny: Any, columns: dict[str, Any]) -> Any:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return tiny.blobs.put(sink.getvalue())


def side(tiny: Any, name: str, rows: list[tuple[str, str, Any]]) -> tuple[Split, Any]:
    """Rows of (asset, label, vector)."""
    ids = [f"{name}{number:03}" for number in range(len(rows))]
    columns = {
        "row_id": ids,
        "asset": [asset for asset, _, _ in rows],
        "label": [label for _, label, _ in rows],
    }
    vectors = put(tiny, {"row_id": ids, "vector": [list(vector) for _, _, vector in rows]})
    return Split(rows=put(tiny, columns), num_rows=len(rows), num_tokens=0), vectors


def given(
    tiny: Any, train: list[tuple[str, str, Any]], test: list[tuple[str, str, Any]]
) -> tuple[Dataset, Vectors]:
    (train_rows, train_vectors), (test_rows, test_vectors) = (
        side(tiny, "row", train),
        side(tiny, "test", test),
    )
    dataset = dataclasses.replace(
        tiny.dataset([], labels=("a", "b")), train=train_rows, test=test_rows
    )
    return dataset, Vectors(
        dataset="tiny", base="minilm", is_encoder=True, dims=3, num_train=len(train),
        num_test=len(test), num_cut=2, train=train_vectors, test=test_vectors,
    )  # fmt: skip


def drawn(num: int, seed: int, wrong: str = "") -> list[tuple[str, str, Any]]:
    """Rows whose label is the side of a plane that they lie on; those of an asset are `wrong`."""
    rows = []
    for number, vector in enumerate(np.random.default_rng(seed).normal(size=(num, 3))):
        asset, label = ASSETS[number % 3], "ab"[int(vector[0] > 0)]
        if asset == wrong:
            label = "ba"["ab".index(label)]
        rows.append((asset, label, vector / np.linalg.norm(vector)))
    return rows


def table(tiny: Any, blob: Any) -> dict[str, Any]:
    return pq.read_table(tiny.blobs.path(blob)).to_pydict()


def valued(tiny: Any, dataset: Dataset, vectors: Vectors, neighbours: int = 5) -> RowValues:
    config = ValueConfig(neighbours=neighbours)
    return value(config, tiny.context(), dataset=dataset, vectors=vectors)


def test_rows_sum_to_sources_and_sources_to_the_utility(tiny: Any) -> None:
    made = valued(tiny, *given(tiny, drawn(60, 0), drawn(20, 1)))
    rows, tests = table(tiny, made.rows), table(tiny, made.tests)

    assert sum(rows["value"]) == pytest.approx(made.utility)
    assert rows["row_id"] == [f"row{number:03}" for number in range(60)]
    assert rows["asset"] == [ASSETS[number % 3] for number in range(60)]
    assert len(tests["row_id"]) == 20 * 3
    for asset in ASSETS:
        by_rows = [v for v, name in zip(rows["value"], rows["asset"], strict=True) if name == asset]
        by_tests = [
            v for v, name in zip(tests["value"], tests["asset"], strict=True) if name == asset
        ]
        assert sum(by_rows) == pytest.approx(np.mean(by_tests))
    assert made.num_cut == 2


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_the_vote_with_and_without_each_source_is_scikit_learns(tiny: Any, neighbours: int) -> None:
    train, test = drawn(60, 2, wrong="mail"), drawn(25, 3)
    made = valued(tiny, *given(tiny, train, test), neighbours)
    found = table(tiny, made.tests)

    def right(kept: list[tuple[str, str, Any]]) -> list[bool]:
        classifier = KNeighborsClassifier(n_neighbors=neighbours)
        classifier.fit([v for _, _, v in kept], [label for _, label, _ in kept])
        said = classifier.predict([v for _, _, v in test])
        return [label == told for (_, label, _), told in zip(test, said, strict=True)]

    assert made.accuracy == pytest.approx(np.mean(right(train)))
    for place, asset in enumerate(ASSETS):
        assert found["asset"][place::3] == [asset] * 25
        assert found["right"][place::3] == right(train)
        assert found["right_without"][place::3] == right([r for r in train if r[0] != asset])


def test_rows_with_swapped_labels_are_worth_least(tiny: Any) -> None:
    train = drawn(90, 4)
    plain = [number for number, (_, _, vector) in enumerate(train) if abs(vector[0]) > 0.5]
    swapped = set(plain[::12])
    for number in swapped:
        asset, label, vector = train[number]
        train[number] = (asset, "ba"["ab".index(label)], vector)
    made = valued(tiny, *given(tiny, train, drawn(80, 5)))
    values = np.array(table(tiny, made.rows)["value"])

    assert len(swapped) >= 4
    assert set(np.argsort(values)[: len(swapped)].tolist()) == swapped
    assert (values[list(swapped)] < 0).all()


def test_a_source_of_wrong_labels_is_worth_less_than_nothing(tiny: Any) -> None:
    made = valued(tiny, *given(tiny, drawn(90, 6, wrong="mail"), drawn(60, 7)))
    rows, tests = table(tiny, made.rows), table(tiny, made.tests)
    worth = {
        asset: sum(v for v, name in zip(rows["value"], rows["asset"], strict=True) if name == asset)
        for asset in ASSETS
    }
    assert worth["mail"] < 0 < min(worth["letters"], worth["notes"])
    place = ASSETS.index("mail")
    assert np.mean(tests["right_without"][place::3]) > made.accuracy


def test_how_many_are_held_at_a_time_changes_nothing(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, vectors = given(tiny, drawn(30, 8), drawn(9, 9))
    whole = valued(tiny, dataset, vectors)
    monkeypatch.setattr(run, "PAIRS_AT_ONCE", 60)
    told: list[float] = []
    ctx = tiny.context(progress=lambda done, _total, _note: told.append(done))
    parts = value(ValueConfig(), ctx, dataset=dataset, vectors=vectors)

    assert told == [0, 2, 4, 6, 8]
    assert parts.tests == whole.tests
    np.testing.assert_allclose(
        table(tiny, parts.rows)["value"], table(tiny, whole.rows)["value"], atol=1e-12
    )


def test_without_the_only_source_nobody_votes(tiny: Any) -> None:
    train = [("mail", label, vector) for _, label, vector in drawn(9, 10)]
    made = valued(tiny, *given(tiny, train, drawn(5, 11)))
    tests = table(tiny, made.tests)

    assert not any(tests["right_without"])
    assert np.mean(tests["value"]) == pytest.approx(made.utility)


def test_what_has_no_labels_is_refused(tiny: Any) -> None:
    dataset, vectors = given(tiny, drawn(9, 0), drawn(3, 1))
    with pytest.raises(UsageError, match="has no labels to vote on") as told:
        valued(tiny, dataclasses.replace(dataset, format="chat"), vectors)
    assert "its format is 'chat'" in told.value.message
    assert "name a dataset of format 'labels'" in told.value.remedy


@pytest.mark.parametrize(("num_train", "num_test"), [(0, 3), (9, 0)])
def test_a_side_without_rows_is_refused(tiny: Any, num_train: int, num_test: int) -> None:
    words = f"{num_train} rows to train and {num_test} to test"
    empty = tiny.dataset([("x", "a")] * num_train, [("y", "a")] * num_test)
    _, vectors = given(tiny, drawn(9, 0), drawn(3, 1))
    with pytest.raises(DataError, match=words):
        valued(tiny, empty, vectors)
