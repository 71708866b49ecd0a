from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.lm.example import Example, pack
from tunesmith.lm.lessons import labelled
from tunesmith.lm.load import load_tokenizer
from tunesmith.stages.finetune.batches import (
    LEAST_TOKENS,
    MICRO_TOKENS,
    count_steps,
    lanes_of,
    micro_batches,
    share_of,
    steps_of_epoch,
)
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.lanes import LANES, deal

lengths = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=25)


def make_rows(shapes: list[tuple[int, int]]) -> list[Example]:
    return [
        labelled(f"r{i}", range(i, i + prompt + answer), prompt)
        for i, (prompt, answer) in enumerate(shapes)
        if prompt + answer > 1
    ]


@given(shapes=lengths, size=st.integers(1, 60), lanes=st.integers(1, LANES))
def test_no_token_is_lost_moved_or_cut(
    shapes: list[tuple[int, int]], size: int, lanes: int
) -> None:
    rows = make_rows(shapes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunesmith.stages.finetune.batches.MICRO_TOKENS", size)
        micros = list(micro_batches(rows, lanes))

    assert Counter(row for m in micros for row in m.row_ids) == Counter(row.row_id for row in rows)
    for micro in micros:
        assert micro.ids.tolist() == [
            i for row in micro.examples for (ids,) in [row.documents()] for i in ids
        ]
    assert sum(len(m.labels) for m in micros) == sum(row.num_labels for row in rows)
    for micro in micros:
        assert micro.num_tokens == sum(micro.documents.lengths)
        assert micro.num_tokens <= size * LANES // lanes or len(micro.documents.lengths) == 1


@given(st.lists(st.integers(1, 600), max_size=40))
def test_two_lanes_have_as_much_to_do(sizes: list[int]) -> None:
    """As far as rows can be dealt: the one may have more by no more than a row; few tokens are one
    stream."""
    rows = [labelled(f"r{place}", range(size), size - 1) for place, size in enumerate(sizes)]
    micros = list(micro_batches(rows, LANES))
    found = [micro.num_tokens for micro in micros]
    assert found == sorted(found, reverse=True)
    if sum(sizes) < LEAST_TOKENS:
        assert len(micros) == min(1, len(rows))
        return
    first, second = (sum(each) for each in deal(found, found, LANES))
    assert abs(first - second) <= max(sizes)


def test_a_lane_alone_takes_as_many_tokens_at_once_as_all_of_them() -> None:
    """Whole weights: each pass costs another sum of gradients as large as the model."""
    rows = [labelled(f"r{place}", range(100), 99) for place in range(2 * MICRO_TOKENS // 100)]
    assert len(list(micro_batches(rows, LANES))) == LANES
    assert len(list(micro_batches(rows, 1))) == 1
    full, lora = (ModelConfig(base="b", dataset="d", method=name) for name in ("full", "lora"))
    assert (lanes_of(full), lanes_of(lora)) == (1, LANES)


@given(shapes=lengths)
def test_labels_are_the_tokens_that_follow(shapes: list[tuple[int, int]]) -> None:
    """Shifted once, within each row, the answer's tokens and no other."""
    rows = make_rows(shapes)
    if not rows:
        return
    micro = pack(rows)
    expected = [
        (ids[place - 1], ids[place], place - 1)
        for row in rows
        for (ids,) in [row.documents()]
        for place in range(max(len(row.prompt), 1), len(ids))
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


def test_the_end_of_turn_token_is_a_label(
    tiny: Any, read: Callable[[list[tuple[str, str]]], list[Example]]
) -> None:
    (row,) = read([("Permission is granted.", "mit")])
    (answer,) = row.answers
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)

    assert tokenizer.decode(answer.ids) == "mit"
    assert answer.ids[-1] == tokenizer.id_of("<|im_end|>")
    assert answer.ids[-1] == pack([row]).labels[-1]


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 3))
def test_the_steps_that_are_counted_are_those_that_are_taken(
    count: int, batch: int, epochs: int
) -> None:
    rows = make_rows([(2, 2)] * count)
    config = ModelConfig(base="b", dataset="d", batch_rows=batch, epochs=epochs)
    taken = [step for epoch in range(epochs) for step in steps_of_epoch(rows, 0, epoch, batch)]
    assert count_steps(count, config) == len(taken)


@given(names=st.sets(st.text(max_size=4), min_size=1), seed=st.integers(0, 3), data=st.data())
def test_a_smaller_share_is_a_part_of_a_larger_one(
    names: set[str], seed: int, data: st.DataObject
) -> None:
    rows = [labelled(name, (1, 2), 1) for name in sorted(names)]
    shares = st.floats(0.01, 1.0)
    small, large = sorted([data.draw(shares), data.draw(shares)])
    fewer, more = share_of(rows, small, seed), share_of(rows, large, seed)

    assert [row for row in more if row in fewer] == fewer
    assert len(more) == max(1, round(large * len(rows)))
    assert share_of(rows, 1.0, seed) == rows
    assert {row.row_id for row in share_of(rows[::-1], small, seed)} == {r.row_id for r in fewer}
