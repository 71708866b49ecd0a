from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.lm.load import load_tokenizer
from tunesmith.stages.finetune.batches import (
    TrainRow,
    micro_batches,
    pack,
    read_rows,
    share_of,
    steps_of_epoch,
)

lengths = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=25)


def make_rows(shapes: list[tuple[int, int]]) -> list[TrainRow]:
    return [
        TrainRow(row_id=f"r{i}", ids=tuple(range(i, i + prompt + answer)), num_prompt=prompt)
        for i, (prompt, answer) in enumerate(shapes)
        if prompt + answer > 1
    ]


@given(shapes=lengths, size=st.integers(1, 60))
def test_no_token_is_lost_moved_or_cut(shapes: list[tuple[int, int]], size: int) -> None:
    rows = make_rows(shapes)
    micros = list(micro_batches(rows, size))

    assert [i for m in micros for i in m.ids.tolist()] == [i for row in rows for i in row.ids]
    assert sum(len(m.labels) for m in micros) == sum(row.num_labels for row in rows)
    for micro in micros:
        assert micro.num_tokens == sum(micro.documents.lengths)
        assert micro.num_tokens <= size or len(micro.documents.lengths) == 1


@given(shapes=lengths)
def test_labels_are_the_tokens_that_follow(shapes: list[tuple[int, int]]) -> None:
    """Shifted once, within each row, the answer's tokens and no other."""
    rows = make_rows(shapes)
    if not rows:
        return
    micro = pack(rows)
    expected = [
        (row.ids[place - 1], row.ids[place], place - 1)
        for row in rows
        for place in range(max(row.num_prompt, 1), len(row.ids))
    ]
    found = zip(
        micro.ids[micro.predicting].tolist(),
        micro.labels.tolist(),
        micro.positions[micro.predicting].tolist(),
        strict=True,
    )

    assert list(found) == expected


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 3), st.integers(0, 3))
def test_every_row_is_seen_once_an_epoch(count: int, batch: int, seed: int, epoch: int) -> None:
    rows = make_rows([(2, 2)] * count)
    steps = list(steps_of_epoch(rows, seed, epoch, batch))

    assert Counter(row.row_id for step in steps for row in step) == Counter(
        row.row_id for row in rows
    )
    assert all(len(step) == batch for step in steps[:-1])
    assert list(steps_of_epoch(rows[::-1], seed, epoch, batch)) == steps


def test_the_order_is_another_in_another_epoch_and_for_another_seed() -> None:
    rows = make_rows([(2, 2)] * 30)
    orders = {
        tuple(row.row_id for step in steps_of_epoch(rows, seed, epoch, 4) for row in step)
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9


def read(tiny: Any, rows: list[tuple[str, str]], context_length: int = 256) -> list[TrainRow]:
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    path = tiny.blobs.path(tiny.split(rows).rows)
    return read_rows(path, tokenizer, "Name it.")


def test_the_end_of_turn_token_is_a_label(tiny: Any) -> None:
    (row,) = read(tiny, [("Permission is granted.", "mit")])
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)

    assert tokenizer.decode(row.ids[row.num_prompt :]) == "mit"
    assert row.ids[-1] == tokenizer.id_of("<|im_end|>")


@given(names=st.sets(st.text(max_size=4), min_size=1), seed=st.integers(0, 3), data=st.data())
def test_a_smaller_share_is_a_part_of_a_larger_one(
    names: set[str], seed: int, data: st.DataObject
) -> None:
    rows = [TrainRow(row_id=name, ids=(1, 2), num_prompt=1) for name in sorted(names)]
    shares = st.floats(0.01, 1.0)
    small, large = sorted([data.draw(shares), data.draw(shares)])
    fewer, more = share_of(rows, small, seed), share_of(rows, large, seed)

    assert [row for row in more if row in fewer] == fewer
    assert len(more) == max(1, round(large * len(rows)))
    assert share_of(rows, 1.0, seed) == rows
    assert {row.row_id for row in share_of(rows[::-1], small, seed)} == {r.row_id for r in fewer}
