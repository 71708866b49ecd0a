from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from tunesmith.lm.attention import Documents, attend_by_document
from tunesmith.lm.example import Answer, Example, MicroBatch, pack
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune import engine
from tunesmith.stages.finetune.lora import add_lora, trainable
from tunesmith.stages.finetune.objectives.answers import Answers
from tunesmith.stages.finetune.stock import matches_stock, stock_states, stock_twin

SHAPES = ((12, (3,)), (4, (1,)), (0, (9,)), (20, (2, 5)), (6, ()), (0, (4, 1)))
"""Tokens of the prompt and of each answer: one answer, a prompt that two share, none, no prompt."""


@pytest.fixture
def micro() -> MicroBatch:
    generator = torch.Generator().manual_seed(0)

    def draw(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 300, (length,), generator=generator).tolist())

    return pack(
        [
            Example(
                row_id=f"r{number}",
                prompt=draw(prompt),
                answers=tuple(Answer(ids=draw(length)) for length in answers),
            )
            for number, (prompt, answers) in enumerate(SHAPES)
        ]
    )


@pytest.fixture
def pair(tiny: Any) -> tuple[Any, Any]:
    """The engine's model with adapters that are still zero, and its twin."""
    model = load_model(tiny.base, tiny.blobs).model
    twin = stock_twin(model)
    attend_by_document(model)
    add_lora(model, 4, 6.0, seed=1)
    return model, twin


def _states(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    model, twin = pair
    return partial(engine.packed_states, model), twin


def test_the_packed_states_are_the_stock_ones(pair: tuple[Any, Any], micro: MicroBatch) -> None:
    found = matches_stock(*_states(pair), micro)

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
    right = engine.hidden_states

    def leaky(model: Any, ids: Any, positions: Any, _documents: Any, *more: Any) -> torch.Tensor:
        return right(model, ids, positions, Documents(lengths=(len(ids),)), *more)

    monkeypatch.setattr(engine, "hidden_states", leaky)
    assert not matches_stock(*_states(pair), micro).ok


def test_a_leak_between_answers_to_one_prompt_is_caught(
    pair: tuple[Any, Any], micro: MicroBatch
) -> None:
    """Defect 7: an answer that sees the one before it."""
    leaky = dataclasses.replace(micro, documents=Documents(lengths=micro.documents.lengths))
    assert not matches_stock(*_states(pair), leaky).ok


def test_wrong_positions_are_caught(pair: tuple[Any, Any], micro: MicroBatch) -> None:
    """Defect 9. Rotary positions that do not restart change nothing: they are relative."""
    wrong = dataclasses.replace(micro, positions=torch.zeros_like(micro.positions))
    assert not matches_stock(*_states(pair), wrong).ok


def test_a_patched_module_is_caught(pair: tuple[Any, Any], micro: MicroBatch) -> None:
    model, _ = pair
    norm = model.get_decoder().norm
    norm.forward = lambda states: type(norm).forward(norm, states) * 1.001

    assert not matches_stock(*_states(pair), micro).ok


def test_what_is_not_a_number_does_not_match(pair: tuple[Any, Any], micro: MicroBatch) -> None:
    _, twin = pair
    norm = twin.get_decoder().norm
    norm.forward = lambda states: type(norm).forward(norm, states) * float("nan")

    assert not matches_stock(*_states(pair), micro).ok


def test_the_stock_states_are_those_of_transformers_by_hand(
    pair: tuple[Any, Any], micro: MicroBatch
) -> None:
    """In the stream's order; a shared prompt's states are there once."""
    _, twin = pair

    def run(*ids: int) -> torch.Tensor:
        states: torch.Tensor = twin.model(torch.tensor([ids])).last_hidden_state[0]
        return states

    parts = []
    for example in micro.examples:
        if example.prompt:
            parts.append(run(*example.prompt))
        parts += [
            run(*example.prompt, *answer.ids)[len(example.prompt) :] for answer in example.answers
        ]
    found = stock_states(twin, micro)
    assert len(found) == micro.num_tokens
    torch.testing.assert_close(found, torch.cat(parts), rtol=1e-4, atol=1e-5)


def test_the_stock_loss_is_the_same_sum(
    tiny: Any,
    micro: MicroBatch,
    objective: Answers,
    loss_by: Callable[[Any], Callable[[MicroBatch], torch.Tensor]],
) -> None:
    """Loss and gradients, through a model whose adapters are not zero: packed, on the slow path,
    and by torch's cross-entropy of its logits."""
    model = load_model(tiny.base, tiny.blobs).model
    twin = stock_twin(model)
    attend_by_document(model)
    losses: list[tuple[Any, Callable[[], torch.Tensor]]] = [
        (model, lambda: loss_by(model)(micro)),
        (twin, lambda: objective.loss(twin, stock_states(twin, micro), micro)),
        (twin, lambda: objective.plain_mean(twin, micro.examples) * micro.weights.sum()),
    ]
    found = []
    for number, (one, loss) in enumerate(losses):
        if number < 2:
            parameters = trainable(add_lora(one, 4, 6.0, seed=1))
            generator = torch.Generator().manual_seed(2)
            for parameter in parameters[1::2]:
                parameter.data.normal_(generator=generator).mul_(0.1)
        total = loss()
        gradients = torch.autograd.grad(total, parameters)
        found.append((total.detach(), torch.cat([part.flatten() for part in gradients])))
    *ours, (expected_loss, expected) = found

    for value, gradient in ours:
        torch.testing.assert_close(value.double(), expected_loss, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-3)
    assert float(expected.abs().max()) > 0.1


def test_the_plain_mean_is_its_definition_with_weights(tiny: Any, objective: Answers) -> None:
    """By hand, label by label; a first token has no loss, and an only one has no label."""
    twin = load_model(tiny.base, tiny.blobs).model
    examples = [
        Example(
            row_id="a",
            prompt=(5, 6, 7),
            answers=(Answer(ids=(8, 9), weights=(2.0, 0.5)), Answer(ids=(4, 3))),
        ),
        Example(row_id="b", answers=(Answer(ids=(11, 12, 13), weights=(1.0, 0.0, 0.25)),)),
        Example(row_id="c", answers=(Answer(ids=(17,)),)),
        Example(row_id="d", prompt=(18, 19)),
    ]

    def nats(*ids: int) -> float:
        """Of the last of them, given the others."""
        log_p = torch.log_softmax(twin(torch.tensor([ids])).logits[0, -2].double(), dim=-1)
        return -float(log_p[ids[-1]])

    prompt = (5, 6, 7)
    expected = 2.0 * nats(*prompt, 8) + 0.5 * nats(*prompt, 8, 9)
    expected += nats(*prompt, 4) + nats(*prompt, 4, 3) + 0.25 * nats(11, 12, 13)
    assert float(objective.plain_mean(twin, examples)) == pytest.approx(expected / 4.75, rel=1e-5)
    assert [objective.weight(example) for example in examples] == [4.5, 0.25, 0, 0]
