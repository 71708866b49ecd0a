"""Defect 35: a cache that misses a change, or sees one where there is none."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.execute import CACHE, CACHED_S, sweep
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.objectives.objective import make_objective
from tunesmith.stages.finetune.tokens import tokenised

ROWS = [("Permission is hereby granted.", "mit"), ("This program is free software.", "gpl-2.0")]


@pytest.fixture
def made(tiny: Any, tmp_path: Path) -> Any:
    """made(...) -> the rows, and how many files of tokens there are then."""
    config = ModelConfig(name="m", base="tiny", dataset="d")
    ctx = dataclasses.replace(tiny.context(), cache=tmp_path / "cache", identity={"code": "1"})

    def make(dataset: Any = None, config: Any = config, **changes: Any) -> tuple[Any, int]:
        dataset = dataset or tiny.dataset(ROWS)
        objective = make_objective(config, dataset)
        loaded = objective.load(tiny.base, tiny.blobs)
        context = dataclasses.replace(ctx, **changes)
        rows = tokenised(config, context, objective, loaded, tiny.base, dataset)
        return rows, len(list((tmp_path / "cache").glob("*.sha256")))

    return make


def test_rows_are_made_once_and_are_the_same(tiny: Any, made: Any) -> None:
    first, count = made()
    again, still = made(seed=7, config=ModelConfig(name="n", base="tiny", dataset="d", epochs=5))

    assert (count, still) == (1, 1)
    assert list(first) == list(again)
    assert [row.row_id for row in first] == ["row000", "row001"]


def test_whatever_changes_the_tokens_makes_new_ones(tiny: Any, made: Any) -> None:
    made()
    dataset = tiny.dataset(ROWS)
    changed = dataclasses.replace(dataset, instruction="Another.")
    rows, count = made(changed)
    assert count == 2
    assert rows[0].prompt != made()[0][0].prompt
    assert made(tiny.dataset(ROWS[:1]))[1] == 3
    assert made(identity={"code": "2"})[1] == 4
    assert made(identity={"code": "1", "environment": {"tokenizers": "9"}})[1] == 5


def test_what_was_damaged_is_made_anew(made: Any, tmp_path: Path) -> None:
    before = list(made()[0])
    (path,) = (each for each in (tmp_path / "cache").iterdir() if each.suffix != ".sha256")
    path.write_bytes(path.read_bytes()[:-1])
    assert list(made()[0]) == before


def test_what_lies_there_since_long_ago_is_swept(made: Any, tmp_path: Path) -> None:
    made()
    work = tmp_path / "work"
    (tmp_path / "cache").rename(work / CACHE)
    sweep(work)
    files = list((work / CACHE).iterdir())
    assert len(files) == 2
    old = time.time() - CACHED_S - 60
    os.utime(files[0], (old, old))
    sweep(work)
    assert list((work / CACHE).iterdir()) == files[1:]
