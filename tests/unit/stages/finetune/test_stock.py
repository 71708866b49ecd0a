from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
import torch

from tunesmith.lm.attention import Documents, attend_by_document
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune import stock
from tunesmith.stages.finetune.batches import MicroBatch, TrainRow, pack
from tunesmith.stages.finetune.loop import micro_loss
from tunesmith.stages.finetune.lora import add_lora, trainable
from tunesmith.stages.finetune.stock import (
    Comparison,
    matches_stock,
    stock_hidden,
    stock_micro_loss,
    stock_twin,
)

SHAPES = ((12, 3), (4, 1), (0, 9), (20, 2))


@pytest.fixture
def micro() -> MicroBatch:
    generator = torch.Generator().manual_seed(0)
    rows = [
        TrainRow(
            row_id=f"r{number}",
            ids=tuple(torch.randint(3, 300, (prompt + answer,), generator=generator).tolist()),
            num_prompt=prompt,
        )
        for number, (prompt, answer) in enumerate(SHAPES)
    ]
    return pack(rows)


@pytest.fixture
def pair(tiny: Any) -> tuple[Any, Any]:
    """The engine's model with adapters that are still zero, and its twin."""
    model = load_model(tiny.base, tiny.blobs).model
    twin = stock_twin(model)
    attend_by_document(model)
    add_lora(model, 4, 6.0, seed=1)
    return model, twin


def compare(pair: tuple[Any, Any], micro: MicroBatch) -> Comparison:
    model, twin = pair
    return matches_stock(model, functools.partial(stock_hidden, twin), micro)


def test_the_packed_states_are_the_stock_ones(pair: tuple[Any, Any], micro: MicroBatch) -> None:
    found = compare(pair, micro)

    assert found.ok
    assert 0 <= found.difference < found.tolerance / 10


def test_the_twin_is_stock_and_takes_no_memory(pair: tuple[Any, Any]) -> None:
    model, twin = pair

    assert twin.config._attn_implementation == "sdpa"
    assert model.config._attn_implementation != "sdpa"
    assert not any("tunesmith" in type(module).__module__ for module in twin.modules())
    ours = {parameter.data_ptr() for parameter in model.parameters()}
    assert all(parameter.data_ptr() in ours for parameter in twin.parameters())


def test_a_leak_between_documents_is_caught(
    pair: tuple[Any, Any], micro: MicroBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 7: the stream as one document, positions and all."""
    right = stock.hidden_states

    def leaky(model: Any, ids: Any, positions: Any, _documents: Documents) -> torch.Tensor:
        return right(model, ids, positions, Documents(lengths=(len(ids),)))

    monkeypatch.setattr(stock, "hidden_states", leaky)
    assert not compare(pair, micro).ok


def test_wrong_positions_are_caught(pair: tuple[Any, Any], micro: MicroBatch) -> None:
    """Defect 9. Rotary positions that do not restart change nothing: they are relative."""
    wrong = dataclasses.replace(micro, positions=torch.zeros_like(micro.positions))
    assert not compare(pair, wrong).ok


def test_a_patched_module_is_caught(pair: tuple[Any, Any], micro: MicroBatch) -> None:
    model, _ = pair
    norm = model.get_decoder().norm
    norm.forward = lambda states: type(norm).forward(norm, states) * 1.001

    assert not compare(pair, micro).ok


def test_what_is_not_a_number_does_not_match(pair: tuple[Any, Any], micro: MicroBatch) -> None:
    def broken(ids: torch.Tensor) -> torch.Tensor:
        return stock_hidden(pair[1], ids) * float("nan")

    assert not matches_stock(pair[0], broken, micro).ok


def test_the_stock_loss_is_the_same_sum(tiny: Any, micro: MicroBatch) -> None:
    """Loss and gradients, through a model whose adapters are not zero."""
    model = load_model(tiny.base, tiny.blobs).model
    twin = stock_twin(model)
    attend_by_document(model)
    found = []
    for one, loss in ((model, micro_loss), (twin, stock_micro_loss)):
        parameters = trainable(add_lora(one, 4, 6.0, seed=1))
        generator = torch.Generator().manual_seed(2)
        for parameter in parameters[1::2]:
            parameter.data.normal_(generator=generator).mul_(0.1)
        total = loss(one, micro)
        gradients = torch.autograd.grad(total, parameters)
        found.append((total.detach(), torch.cat([part.flatten() for part in gradients])))
    (loss, gradient), (expected_loss, expected) = found

    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-3)
    assert float(expected.abs().max()) > 0.1
