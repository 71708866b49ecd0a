from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.example import Answer, Example, MicroBatch, pack
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune.batches import count_steps
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.keeper import keeper_of
from tunesmith.stages.finetune.loop import Training, accumulate, train
from tunesmith.stages.finetune.lora import add_lora, trainable
from tunesmith.stages.finetune.objectives.answers import Answers
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


Gradients = Callable[[Sequence[Example], int, torch.dtype], tuple[float, torch.Tensor]]
"""Rows, rows of a micro-batch and a type to the loss of a step and its gradient."""


def silent(_tokens: int, _loss: float) -> None:
    """Nobody watches."""


def norm_in_its_own_type(norm: Any, states: torch.Tensor) -> torch.Tensor:
    """torch's, in float64 if that is what it is given."""
    shape = (states.shape[-1],)
    return torch.nn.functional.rms_norm(states, shape, norm.weight, norm.variance_epsilon)


def in_groups(size: int, rows: Sequence[Example]) -> Iterator[MicroBatch]:
    for start in range(0, len(rows), size):
        yield pack(rows[start : start + size])


@pytest.fixture
def steps_of(
    tiny: Any, make_training: Callable[..., Training]
) -> Callable[..., Iterator[StepRecord]]:
    """The steps of a run."""
    keeper = keeper_of(tiny.context(), "desk")
    return lambda *run: train(make_training(*run), silent, keeper)


@pytest.fixture
def rows(read: Callable[..., list[Example]]) -> list[Example]:
    return read(TEXTS)


@pytest.fixture
def weighted(rows: list[Example]) -> list[Example]:
    """Answers of which tokens count twice, half, once or not at all, some beside another one."""
    weights = (2.0, 0.5, 0.0, 1.0)
    found = []
    for number, row in enumerate(rows):
        (answer,) = row.answers
        one = Answer(
            ids=answer.ids,
            weights=tuple(weights[(number + place) % 4] for place in range(len(answer.ids))),
        )
        other = Answer(ids=answer.ids[::-1])
        answers = ((one,), (other, one), (one, other))[number % 3]
        prompt = () if number == 4 else row.prompt
        found.append(dataclasses.replace(row, prompt=prompt, answers=answers))
    return found


def make_model(tiny: Any, dtype: torch.dtype) -> tuple[Any, list[torch.nn.Parameter]]:
    model = load_model(tiny.base, tiny.blobs).model
    attend_by_document(model)
    layers = add_lora(model, 4, 6.0, seed=1)
    generator = torch.Generator().manual_seed(2)
    for layer in layers.values():
        layer.lora_b.data.normal_(generator=generator).mul_(0.1)
    return model.to(dtype), trainable(layers)


@pytest.fixture
def gradients(
    tiny: Any,
    objective: Answers,
    loss_by: Callable[[Any], Callable[[MicroBatch], torch.Tensor]],
) -> Gradients:
    def found(rows: Sequence[Example], size: int, dtype: torch.dtype) -> tuple[float, torch.Tensor]:
        model, parameters = make_model(tiny, dtype)
        loss = accumulate(
            objective, loss_by(model), rows, silent, functools.partial(in_groups, size)
        )
        return loss, torch.cat([parameter.grad.flatten() for parameter in parameters])

    return found


def stock_gradients(tiny: Any, rows: Sequence[Example]) -> tuple[float, torch.Tensor]:
    """Row by row through a stock forward pass, then one mean over all label tokens."""
    model, parameters = make_model(tiny, torch.float64)
    model.config._attn_implementation = "sdpa"
    total, count = torch.zeros((), dtype=torch.float64), 0
    for row in rows:
        (answer,) = row.answers
        labels = torch.tensor([-100] * len(row.prompt) + list(answer.ids))
        out = model(input_ids=torch.tensor([row.prompt + answer.ids]), labels=labels[None])
        by_hand = torch.nn.functional.cross_entropy(out.logits[0, :-1], labels[1:], reduction="sum")
        num_labels = len(answer.ids)
        torch.testing.assert_close(by_hand / num_labels, out.loss.double())  # it is a float32
        total = total + by_hand
        count += num_labels
    loss = total / count
    return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


def stock_weighted(tiny: Any, rows: Sequence[Example]) -> tuple[float, torch.Tensor]:
    """Token by token through a stock forward pass: the sum of weight * loss by that of weights."""
    model, parameters = make_model(tiny, torch.float64)
    model.config._attn_implementation = "sdpa"
    total, count = torch.zeros((), dtype=torch.float64), 0.0
    for row in rows:
        for answer in row.answers:
            ids = row.prompt + answer.ids
            log_p = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], dim=-1)
            for place, token in enumerate(answer.ids, len(row.prompt)):
                weight = answer.weights[place - len(row.prompt)] if answer.weights else 1.0
                if place:
                    total = total - weight * log_p[place - 1, token]
                    count += weight
    loss = total / count
    return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


def test_loss_and_gradients_are_those_of_transformers(
    tiny: Any, rows: list[Example], gradients: Gradients
) -> None:
    expected_loss, expected = stock_gradients(tiny, rows)
    loss, found = gradients(rows, 8, torch.float64)

    assert loss == pytest.approx(expected_loss, abs=1e-10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    loss, found = gradients(rows, 8, torch.float32)
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_weight_says_how_much_a_label_counts(
    tiny: Any,
    weighted: list[Example],
    gradients: Gradients,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More than once and less, beside another answer to the prompt, and without a prompt."""
    # transformers' own rounds a prompt's gradient to float32, here once and there once an answer.
    monkeypatch.setattr(LlamaRMSNorm, "forward", norm_in_its_own_type)
    expected_loss, expected = stock_weighted(tiny, weighted)
    loss, found = gradients(weighted, size, torch.float64)

    assert loss == pytest.approx(expected_loss, abs=1e-10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    plain = [
        dataclasses.replace(row, answers=tuple(Answer(ids=each.ids) for each in row.answers))
        for row in weighted
    ]
    assert abs(gradients(plain, 8, torch.float64)[0] - loss) > 1e-3


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_accumulation_changes_nothing(
    rows: list[Example], weighted: list[Example], gradients: Gradients, size: int
) -> None:
    """1x8 = 8x1 = 2x4, and uneven groups too: the denominator is the whole step's."""
    for given in (rows, weighted):
        loss, whole = gradients(given, 8, torch.float64)
        parts_loss, parts = gradients(given, size, torch.float64)

        assert parts_loss == pytest.approx(loss, abs=1e-12)
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_a_row_without_answers_adds_nothing(rows: list[Example], gradients: Gradients) -> None:
    bare = Example(row_id="bare", prompt=rows[0].prompt)
    loss, whole = gradients(rows, 8, torch.float64)
    for size in (1, 9):
        with_bare_loss, with_bare = gradients([rows[0], bare, *rows[1:]], size, torch.float64)

        assert with_bare_loss == pytest.approx(loss, abs=1e-12)
        torch.testing.assert_close(with_bare, whole, rtol=0, atol=1e-12)


def test_what_is_heard_of_a_micro_batch_is_its_own_mean(
    tiny: Any,
    weighted: list[Example],
    objective: Answers,
    loss_by: Callable[[Any], Callable[[MicroBatch], torch.Tensor]],
    gradients: Gradients,
) -> None:
    model, _ = make_model(tiny, torch.float64)
    heard: list[tuple[int, float]] = []
    cut = functools.partial(in_groups, 3)
    accumulate(objective, loss_by(model), weighted, lambda *each: heard.append(each), cut)

    groups = [weighted[:3], weighted[3:6], weighted[6:]]
    assert [tokens for tokens, _ in heard] == [sum(r.num_tokens for r in each) for each in groups]
    means = [gradients(each, 3, torch.float64)[0] for each in groups]
    assert [loss for _, loss in heard] == pytest.approx(means, abs=1e-12)


def test_the_last_short_step_is_weighed_by_its_own_labels(
    tiny: Any,
    rows: list[Example],
    steps_of: Callable[..., Iterator[StepRecord]],
    gradients: Gradients,
) -> None:
    """Two epochs of 8 rows in steps of 3: the third step of each has two rows."""
    config = ModelConfig(base="b", dataset="d", batch_rows=3, epochs=2, rank=4)
    model, parameters = make_model(tiny, torch.float64)
    records = list(steps_of(model, parameters, rows, config))

    assert [len(record.row_ids) for record in records] == [3, 3, 2, 3, 3, 2]
    assert count_steps(len(rows), config) == len(records)
    by_id = {row.row_id: row for row in rows}
    first = [by_id[name] for name in records[0].row_ids]
    expected, _ = gradients(first, 1, torch.float64)
    assert records[0].loss == pytest.approx(expected, abs=1e-12)
    for record in records:
        taken = [by_id[name] for name in record.row_ids]
        assert record.weight == record.num_labels == sum(row.num_labels for row in taken)
        assert record.num_tokens == sum(row.num_tokens for row in taken)
    assert sorted(n for r in records[:3] for n in r.row_ids) == sorted(by_id)


def test_only_the_adapters_move(
    tiny: Any, rows: list[Example], steps_of: Callable[..., Iterator[StepRecord]]
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
    tiny: Any, rows: list[Example], steps_of: Callable[..., Iterator[StepRecord]]
) -> None:
    model = load_model(tiny.base, tiny.blobs).model
    attend_by_document(model)
    layers = add_lora(model, 4, 6.0, seed=1)
    config = ModelConfig(base="b", dataset="d", batch_rows=8)

    list(steps_of(model, trainable(layers), rows, config))

    assert all(bool(layer.lora_b.any()) for layer in layers.values())


def test_a_loss_that_is_not_finite_stops_the_run(
    tiny: Any, rows: list[Example], steps_of: Callable[..., Iterator[StepRecord]]
) -> None:
    model, parameters = make_model(tiny, torch.float32)
    parameters[0].data[0, 0] = float("nan")
    kept = [parameter.clone() for parameter in parameters[1:]]
    config = ModelConfig(base="b", dataset="d", epochs=1)

    with pytest.raises(DataError, match="step 1 of 1: the loss is nan"):
        list(steps_of(model, parameters, rows, config))
    assert all(torch.equal(a, b) for a, b in zip(parameters[1:], kept, strict=True))
