from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.load import load_model, load_tokenizer
from tunesmith.stages.finetune.batches import MicroBatch, TrainRow, pack, read_rows
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.keeper import keeper_of
from tunesmith.stages.finetune.loop import Training, accumulate, count_steps, micro_loss, train
from tunesmith.stages.finetune.lora import add_lora, trainable
from tunesmith.stages.finetune.optimiser import make_optimiser
from tunesmith.stages.finetune.step_record import StepRecord

TEXTS = [
    ("Permission is hereby granted.", "mit"),
    ("This program is free software.", "gpl-2.0-plus"),
    ("x", "apache-2.0"),
    ("Licensed under the Apache License " * 3, "a much longer answer than all the others"),
    ("GNU General Public License, version 2", "gpl-2.0"),
    ("", "mit"),
    ("2007", "m"),
    ("Name the licence of this, please.", "gpl-2.0-plus or mit or apache-2.0"),
]


def silent(_tokens: int, _loss: float) -> None:
    """Nobody watches."""


def in_groups(size: int, rows: Sequence[TrainRow]) -> Iterator[MicroBatch]:
    for start in range(0, len(rows), size):
        yield pack(rows[start : start + size])


@pytest.fixture
def steps_of(tiny: Any) -> Callable[..., Iterator[StepRecord]]:
    """The steps of a run."""

    def steps(
        model: Any,
        parameters: list[torch.nn.Parameter],
        rows: list[TrainRow],
        config: ModelConfig,
    ) -> Iterator[StepRecord]:
        training = Training(
            loss=functools.partial(micro_loss, model),
            parameters=parameters,
            rows=rows,
            config=config,
            seed=0,
            optimiser=make_optimiser(parameters, config),
        )
        return train(training, silent, keeper_of(tiny.context(), "desk"))

    return steps


@pytest.fixture
def rows(tiny: Any) -> list[TrainRow]:
    tokenizer = load_tokenizer(tiny.base, tiny.blobs)
    return read_rows(tiny.blobs.path(tiny.split(TEXTS).rows), tokenizer, "Name it.")


def make_model(tiny: Any, dtype: torch.dtype) -> tuple[Any, list[torch.nn.Parameter]]:
    model = load_model(tiny.base, tiny.blobs).model
    attend_by_document(model)
    layers = add_lora(model, 4, 6.0, seed=1)
    generator = torch.Generator().manual_seed(2)
    for layer in layers.values():
        layer.lora_b.data.normal_(generator=generator).mul_(0.1)
    return model.to(dtype), trainable(layers)


def gradients(
    tiny: Any, rows: Sequence[TrainRow], size: int, dtype: torch.dtype
) -> tuple[float, torch.Tensor]:
    model, parameters = make_model(tiny, dtype)
    loss = accumulate(
        functools.partial(micro_loss, model), rows, silent, functools.partial(in_groups, size)
    )
    return loss, torch.cat([parameter.grad.flatten() for parameter in parameters])


def stock_gradients(tiny: Any, rows: Sequence[TrainRow]) -> tuple[float, torch.Tensor]:
    """Row by row through a stock forward pass, then one mean over all label tokens."""
    model, parameters = make_model(tiny, torch.float64)
    model.config._attn_implementation = "sdpa"
    total, count = torch.zeros((), dtype=torch.float64), 0
    for row in rows:
        labels = torch.tensor([-100] * row.num_prompt + list(row.ids[row.num_prompt :]))
        out = model(input_ids=torch.tensor([row.ids]), labels=labels[None])
        by_hand = torch.nn.functional.cross_entropy(out.logits[0, :-1], labels[1:], reduction="sum")
        num_labels = len(row.ids) - row.num_prompt
        torch.testing.assert_close(by_hand / num_labels, out.loss.double())  # it is a float32
        total = total + by_hand
        count += num_labels
    loss = total / count
    return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


def test_loss_and_gradients_are_those_of_transformers(tiny: Any, rows: list[TrainRow]) -> None:
    expected_loss, expected = stock_gradients(tiny, rows)
    loss, found = gradients(tiny, rows, 8, torch.float64)

    assert loss == pytest.approx(expected_loss, abs=1e-10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    loss, found = gradients(tiny, rows, 8, torch.float32)
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_accumulation_changes_nothing(tiny: Any, rows: list[TrainRow], size: int) -> None:
    """1x8 = 8x1 = 2x4, and uneven groups too: the denominator is the whole step's."""
    loss, whole = gradients(tiny, rows, 8, torch.float64)
    parts_loss, parts = gradients(tiny, rows, size, torch.float64)

    assert parts_loss == pytest.approx(loss, abs=1e-12)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_the_last_short_step_is_weighed_by_its_own_labels(
    tiny: Any, rows: list[TrainRow], steps_of: Callable[..., Iterator[StepRecord]]
) -> None:
    """Two epochs of 8 rows in steps of 3: the third step of each has two rows."""
    config = ModelConfig(base="b", dataset="d", batch_rows=3, epochs=2, rank=4)
    model, parameters = make_model(tiny, torch.float64)
    records = list(steps_of(model, parameters, rows, config))

    assert [len(record.row_ids) for record in records] == [3, 3, 2, 3, 3, 2]
    assert count_steps(len(rows), config) == len(records)
    by_id = {row.row_id: row for row in rows}
    first = [by_id[name] for name in records[0].row_ids]
    expected, _ = gradients(tiny, first, 1, torch.float64)
    assert records[0].loss == pytest.approx(expected, abs=1e-12)
    assert sorted(n for r in records[:3] for n in r.row_ids) == sorted(by_id)


def test_only_the_adapters_move(
    tiny: Any, rows: list[TrainRow], steps_of: Callable[..., Iterator[StepRecord]]
) -> None:
    model, parameters = make_model(tiny, torch.float32)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    before = [parameter.clone() for parameter in parameters]
    config = ModelConfig(base="b", dataset="d", batch_rows=8)

    list(steps_of(model, parameters, rows, config))

    for name, parameter in model.named_parameters():
        if name in frozen:
            assert torch.equal(parameter, frozen[name]), name
    assert all(not torch.equal(new, old) for new, old in zip(parameters, before, strict=True))


def test_every_b_is_touched_by_the_first_step(
    tiny: Any, rows: list[TrainRow], steps_of: Callable[..., Iterator[StepRecord]]
) -> None:
    model = load_model(tiny.base, tiny.blobs).model
    attend_by_document(model)
    layers = add_lora(model, 4, 6.0, seed=1)
    config = ModelConfig(base="b", dataset="d", batch_rows=8)

    list(steps_of(model, trainable(layers), rows, config))

    assert all(bool(layer.lora_b.any()) for layer in layers.values())


def test_a_loss_that_is_not_finite_stops_the_run(
    tiny: Any, rows: list[TrainRow], steps_of: Callable[..., Iterator[StepRecord]]
) -> None:
    model, parameters = make_model(tiny, torch.float32)
    parameters[0].data[0, 0] = float("nan")
    kept = [parameter.clone() for parameter in parameters[1:]]
    config = ModelConfig(base="b", dataset="d", epochs=1)

    with pytest.raises(DataError, match="step 1 of 1: the loss is nan"):
        list(steps_of(model, parameters, rows, config))
    assert all(torch.equal(a, b) for a, b in zip(parameters[1:], kept, strict=True))
