"""Rows that another dataset tests on are not trained on."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.core.errors import DataError
from tunesmith.core.ref import Blob
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.model import BaseModel
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Row
from tunesmith.stages.curate.run import curate
from tunesmith.stages.curate.split import Caps, split

MakeRecords = Callable[..., DataAsset]


def config(name: str, **changes: Any) -> DatasetConfig:
    plain = {"name": name, "sources": ["rows"], "base": "words", "format": "text"}
    return DatasetConfig.model_validate({**plain, **changes})


def words(number: int, num: int = 30) -> str:
    draw = random.Random(number)
    return " ".join(f"w{draw.randrange(10**6)}" for _ in range(num))


def table(ctx: Context, blob: Blob) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(ctx.blobs.get(blob))).to_pylist()
    return rows


def judged_on(ctx: Context, base: BaseModel, records: MakeRecords) -> Dataset:
    """Twenty texts, of which half are tested on."""
    rows = records([{"text": words(n)} for n in range(20)])
    return curate(config("judge", test_rows=10), ctx, assets=(rows,), base=base)


def test_exact_and_near_copies_of_test_rows_are_not_trained_on(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    other = judged_on(ctx, base, records)
    tested = [row["text"] for row in table(ctx, other.test.rows)]
    trained = [row["text"] for row in table(ctx, other.train.rows)]
    near = [f"before {text} and after" for text in tested[5:]]
    own = [words(n) for n in range(100, 140)]
    texts = [*tested[:5], *(text.upper() for text in tested[5:6]), *near[1:], *trained, *own]
    asset = records([{"text": text} for text in texts])

    plain = curate(config("set"), ctx, assets=(asset,), base=base)
    assert plain.dropped_by_reason == {}
    found = curate(
        config("set", apart_from=["judge"]), ctx, assets=(asset,), base=base, apart=(other,)
    )
    rows = table(ctx, found.train.rows)
    dropped = table(ctx, found.dropped)
    assert not {row["text"] for row in rows} & {*tested[:5], tested[5].upper(), *near}
    assert {row["reason"] for row in dropped} == {"like another dataset's test row"}
    # What it tests on itself may resemble what another tests on; nothing else is lost.
    tests = [row["text"] for row in table(ctx, found.test.rows)]
    assert len(dropped) == 10 - len({*tested, tested[5].upper(), *near} & set(tests)) > 5
    assert found.num_in == len(rows) + len(tests) + len(dropped) == 60
    names = {f"judge: {row['row_id']}" for row in table(ctx, other.test.rows)}
    assert {row["detail"] for row in dropped} <= names
    card = ctx.blobs.get(found.card).decode()
    assert f"a test row of judge:\n{len(dropped)} rows were left out for it." in card
    assert "judge" not in ctx.blobs.get(plain.card).decode()


def test_a_dataset_that_has_nothing_else_is_refused(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    other = judged_on(ctx, base, records)
    rows = records([{"text": row["text"]} for row in table(ctx, other.test.rows)])
    with pytest.raises(DataError, match="the dataset has no row left to train on") as caught:
        curate(config("set", apart_from=["judge"]), ctx, assets=(rows,), base=base, apart=(other,))
    assert "add rows" in caught.value.remedy


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), min_size=2, max_size=30))
def test_no_row_is_lost_and_none_that_is_barred_is_trained_on(
    kinds: list[tuple[str, bool]],
) -> None:
    rows = [
        Row(
            row_id=f"{n:032x}", asset="a", pointer=f"{n}", text="", label=label,
            component=f"{n}", like="other: x" if barred else "",
        )
        for n, (label, barred) in enumerate(kinds)
    ]  # fmt: skip
    caps = Caps(train={"a": 4, "b": 4}, test={"a": 1, "b": 1})
    try:
        sides = split(rows, seed=1, caps=caps)
    except DataError:  # a label with too few rows for both sides
        assert (
            min(Counter(label for label, barred in kinds if not barred).get(x, 0) for x, _ in kinds)
            < 2
        )
        return
    parts = (sides.train, sides.test, sides.surplus, sides.barred)
    assert sorted(row.pointer for part in parts for row in part) == sorted(r.pointer for r in rows)
    assert not any(row.like for row in sides.train)
    assert all(row.like for row in sides.barred)
    assert {row.label for row in sides.train} == {row.label for row in rows}


def test_rows_in_which_a_test_row_stands_are_not_trained_on(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    other = judged_on(ctx, base, records)
    tested = [row["text"] for row in table(ctx, other.test.rows)]
    holding = [f"{words(200 + n, 60)} {text} {words(300 + n, 60)}" for n, text in enumerate(tested)]
    own = [words(n) for n in range(100, 140)]
    asset = records([{"text": text} for text in (*holding, *own)])

    plain = curate(config("set"), ctx, assets=(asset,), base=base)
    assert plain.dropped_by_reason == {}
    found = curate(
        config("set", apart_from=["judge"]), ctx, assets=(asset,), base=base, apart=(other,)
    )
    left = {row["text"] for row in table(ctx, found.train.rows)}
    assert not left & set(holding)
    assert len({row["text"] for row in table(ctx, plain.train.rows)} & set(holding)) > 5
    num = found.num_dropped
    assert found.dropped_by_reason == {"holds another dataset's test row": num}
    tests = {f"judge: {row['row_id']}" for row in table(ctx, other.test.rows)}
    assert {row["detail"] for row in table(ctx, found.dropped)} <= tests
    card = ctx.blobs.get(found.card).decode()
    assert "a test row of judge:\n0 rows were left out for it. " in card
    assert f" {num} more were left out, as a test row\nstands in them: 80% of the runs of 8" in card


def test_conversations_in_which_a_users_turn_of_a_test_row_stands_are_not_trained_on(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    def said(*texts: str) -> dict[str, Any]:
        roles = ("user", "assistant") * len(texts)
        return {
            "messages": [
                {"role": role, "content": text} for role, text in zip(roles, texts, strict=False)
            ]
        }

    rows = records([said(words(n, 12), words(500 + n, 40)) for n in range(20)])
    chats = config("judge", format="chat", test_rows=10)
    other = curate(chats, ctx, assets=(rows,), base=base)
    own = [said(words(100 + n), "Yes.", words(n, 12), words(600 + n, 50)) for n in range(20)]
    far = [said(words(200 + n), "Yes.", words(400 + n), "No.") for n in range(20)]
    found = curate(
        config("set", format="chat", apart_from=["judge"]),
        ctx,
        assets=(records([*own, *far]),),
        base=base,
        apart=(other,),
    )
    dropped = found.dropped_by_reason["holds another dataset's test row"]
    assert 5 < dropped <= 10
    assert found.num_dropped == dropped


def test_inside_a_dataset_what_stands_on_both_sides_is_said_and_stays(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    clauses = [words(n, 20) for n in range(20)]
    contracts = [
        f"{words(100 + n, 90)} {text} {words(200 + n, 90)}" for n, text in enumerate(clauses)
    ]
    asset = records([{"text": text} for text in (*clauses, *contracts)])
    found = curate(config("set", test_rows=12), ctx, assets=(asset,), base=base)
    assert (found.num_dropped, found.test.num_rows) == (0, 12)
    trained = {row["text"] for row in table(ctx, found.train.rows)}
    held = [
        row["text"]
        for row in table(ctx, found.test.rows)
        if any(row["text"] in text for text in trained)
    ]
    assert held
    card = ctx.blobs.get(found.card).decode()
    said = f"**Warning:** {len(held)} of the 12 test rows stand whole in a training row, such as"
    assert said in card
    # Where none does, the card is as it was, so that no model is tuned again.
    asset = records([{"text": words(n)} for n in range(40)])
    found = curate(config("set", test_rows=12), ctx, assets=(asset,), base=base)
    assert "stand whole" not in ctx.blobs.get(found.card).decode()
