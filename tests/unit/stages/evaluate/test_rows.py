from __future__ import annotations

import dataclasses
import io
import json
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.errors import DataError
from tunesmith.records.data import Dataset
from tunesmith.stages.evaluate.config import EvaluateConfig
from tunesmith.stages.evaluate.rows import asked_rows


def dataset_of(tiny: Any, components: list[int]) -> Dataset:
    """Training rows row000, row001, ..., each in the near-duplicate component given."""
    found: Dataset = tiny.dataset([("text", "mit")] * len(components), [("test", "mit")])
    table = pq.read_table(io.BytesIO(tiny.blobs.get(found.train.rows)))
    sink = io.BytesIO()
    named = pa.array([f"c{number}" for number in components])
    pq.write_table(table.append_column("component", named), sink)
    return dataclasses.replace(
        found, train=dataclasses.replace(found.train, rows=tiny.blobs.put(sink.getvalue()))
    )


def trained_on(tiny: Any, *steps: list[str]) -> Any:
    lines = [json.dumps({"step": n, "row_ids": ids}) for n, ids in enumerate(steps)]
    return SimpleNamespace(curve=tiny.blobs.put("\n".join(lines).encode()))


def ask(tiny: Any, dataset: Dataset, limit: int, model: Any = None, seed: int = 0) -> list[str]:
    config = EvaluateConfig(unseen_training_rows=limit)
    ids: list[str] = asked_rows(config, tiny.blobs, dataset, seed, model)["row_id"].to_pylist()
    return ids


def test_neither_what_was_seen_nor_its_near_duplicates_are_asked(tiny: Any) -> None:
    dataset = dataset_of(tiny, [0, 1, 2, 0, 3, 1])
    model = trained_on(tiny, ["row000"], ["row002"], ["row000"])

    assert ask(tiny, dataset, 100, model) == ["row001", "row004", "row005"]
    assert ask(tiny, dataset, 100) == [f"row{number:03}" for number in range(6)]
    with pytest.raises(DataError, match="saw each training row"):
        ask(tiny, dataset, 1, trained_on(tiny, [f"row{number:03}" for number in range(6)]))


def test_the_rows_follow_from_the_seed(tiny: Any) -> None:
    dataset = dataset_of(tiny, list(range(40)))
    some = ask(tiny, dataset, 10)

    assert (len(some), some) == (10, sorted(some))
    assert ask(tiny, dataset, 10) == some
    assert set(some) < set(ask(tiny, dataset, 20))
    assert ask(tiny, dataset, 10, seed=1) != some


def test_the_test_rows_are_asked_if_nothing_else_is_said(tiny: Any) -> None:
    asked = asked_rows(EvaluateConfig(), tiny.blobs, dataset_of(tiny, [0]), 0)

    assert asked["row_id"].to_pylist() == ["test000"]
