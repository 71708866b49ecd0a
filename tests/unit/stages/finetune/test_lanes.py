"""Passes side by side: the same numbers as one after the other, whichever is done first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.example import Example, MicroBatch, pack
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune import lanes as module
from tunesmith.stages.finetune.fuse import fuse
from tunesmith.stages.finetune.lanes import LANES, ONE_BY_ONE, Lanes, deal
from tunesmith.stages.finetune.lora import add_lora, trainable

LossOf = Callable[[MicroBatch], torch.Tensor]
TEXTS = [(f"Permission number {n} is hereby granted" + " again" * n, "mit") for n in range(7)]


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def micros(read: Callable[..., list[Example]]) -> list[MicroBatch]:
    """Five, the longest first."""
    rows = read(TEXTS)[::-1]
    return [pack(rows[:2]), pack(rows[2:4]), *(pack([row]) for row in rows[4:])]


@pytest.fixture(params=[torch.float32])
def model(tiny: Any, request: pytest.FixtureRequest) -> Any:
    """With layers put together, which is what two threads could get wrong."""
    loaded = load_model(tiny.base, tiny.blobs).model
    attend_by_document(loaded)
    for layer in add_lora(loaded, 4, 6.0, seed=1).values():
        layer.lora_b.data.normal_(generator=torch.Generator().manual_seed(2)).mul_(0.1)
    fuse(loaded.to(request.param))
    return loaded


def parameters_of(model: Any) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def gradient(lanes: Lanes, model: Any, loss_of: LossOf, micros: list[MicroBatch]) -> Any:
    """(sum of losses, gradient); none is left behind."""
    loss = lanes.backward(loss_of, micros, 3.0)
    found = torch.cat([p.grad.flatten() for p in parameters_of(model) if p.grad is not None])
    for parameter in parameters_of(model):
        parameter.grad = None
    return loss, found


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_side_by_side_is_to_the_bit_what_one_thread_makes(
    model: Any, micros: list[MicroBatch], loss_by: Callable[[Any], LossOf]
) -> None:
    """Each lane has one thread of two; twenty times, as a race would not always show."""
    lanes, loss_of = Lanes(parameters_of(model)), loss_by(model)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = gradient(lanes, model, loss_of, micros)
        torch.set_num_threads(2)
        for _ in range(20):
            found = gradient(lanes, model, loss_of, micros)
            assert found[0] == expected[0]
            assert torch.equal(found[1], expected[1])
            assert torch.get_num_threads() == 2
            assert threads_of_a_new_thread() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("model", [torch.float64], indirect=True)
def test_the_sum_is_that_of_one_after_the_other(
    model: Any, micros: list[MicroBatch], loss_by: Callable[[Any], LossOf], threads: int
) -> None:
    loss_of = loss_by(model)
    loss, found = gradient(Lanes(parameters_of(model)), model, loss_of, micros)
    expected_loss, expected = gradient(ONE_BY_ONE, model, loss_of, micros)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", [torch.float64], indirect=True)
def test_gradients_are_added_to_what_is_there(
    model: Any, micros: list[MicroBatch], loss_by: Callable[[Any], LossOf], threads: int
) -> None:
    lanes, loss_of = Lanes(parameters_of(model)), loss_by(model)
    _, once = gradient(lanes, model, loss_of, micros)
    lanes.backward(loss_of, micros[:3], 3.0)
    _, both = gradient(lanes, model, loss_of, micros[3:])
    torch.testing.assert_close(both, once, rtol=0, atol=1e-12)


def test_two_are_computed_at_one_moment(micros: list[MicroBatch]) -> None:
    """Each waits for the other."""
    weight = torch.nn.Parameter(torch.ones(()))
    together = threading.Barrier(LANES, timeout=60)
    callers = []

    def loss_of(micro: MicroBatch) -> torch.Tensor:
        together.wait()
        return weight * micro.num_tokens

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        heard: list[tuple[MicroBatch, float]] = []

        def done(micro: MicroBatch, loss: float) -> None:
            callers.append(threading.current_thread())
            heard.append((micro, loss))

        total = Lanes([weight]).backward(loss_of, micros[:4], done=done)
    finally:
        torch.set_num_threads(before)
    assert total == sum(micro.num_tokens for micro in micros[:4]) == weight.grad
    assert {id(micro) for micro, _ in heard} == {id(micro) for micro in micros[:4]}
    assert all(loss == micro.num_tokens for micro, loss in heard)
    assert set(callers) == {threading.current_thread()}


@pytest.mark.parametrize("where", ["loss", "done"])
def test_an_error_stops_both_and_comes_out(
    micros: list[MicroBatch], threads: int, where: str
) -> None:
    """What runs is waited for, nothing else is begun, and the threads are as they were; one lane
    fails, or whoever hears of it."""
    weight = torch.nn.Parameter(torch.ones(()))
    begun: list[MicroBatch] = []
    running, once = threading.Semaphore(LANES), threading.Lock()

    def loss_of(micro: MicroBatch) -> torch.Tensor:
        with running:
            begun.append(micro)
            if where == "loss" and once.acquire(blocking=False):
                raise KeyError("here")
            time.sleep(0.01)  # or all of the other lane is done before it hears of it
            return weight * 2

    def done(_micro: MicroBatch, _loss: float) -> None:
        if where == "done":
            raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        Lanes([weight]).backward(loss_of, micros * 20, done=done)
    assert torch.get_num_threads() == threads_of_a_new_thread() == threads
    assert len(begun) < len(micros) * 20 / LANES, "the other lane went on to its end"
    count = len(begun)
    assert all(running.acquire(timeout=60) for _ in range(LANES))  # nobody is in there
    assert len(begun) == count


def test_a_long_one_has_all_threads(
    monkeypatch: pytest.MonkeyPatch, micros: list[MicroBatch], threads: int
) -> None:
    monkeypatch.setattr(module, "LONG_TOKENS", micros[0].num_tokens - 1)
    weight = torch.nn.Parameter(torch.ones(()))
    lanes, seen = Lanes([weight]), {}

    def loss_of(micro: MicroBatch) -> torch.Tensor:
        seen[id(micro)] = torch.get_num_threads()
        return weight * 2

    lanes.backward(loss_of, micros)
    assert seen[id(micros[0])] == threads
    assert [seen[id(micro)] for micro in micros[1:]] == [1] * 4
    assert list(lanes.rounds(micros)) == [micros[:1], micros[1:3], micros[3:]]
    assert list(ONE_BY_ONE.rounds(micros)) == [[micro] for micro in micros]


@given(sizes=st.lists(st.integers(1, 99), max_size=30), count=st.integers(1, 5))
def test_what_is_dealt_is_dealt_once_and_fairly(sizes: list[int], count: int) -> None:
    parts = deal(range(len(sizes)), sizes, count)
    assert sorted(place for part in parts for place in part) == [*range(len(sizes))]
    assert all(part == sorted(part) for part in parts)
    loads = [sum(sizes[place] for place in part) for part in parts]
    assert len(loads) == count
    assert max(loads) - min(loads) <= max(sizes, default=0)


def test_what_is_trained_is_what_has_gradients(model: Any, tiny: Any) -> None:
    """The fixture fuses layers; none of the trained matrices is lost by that."""
    fresh = load_model(tiny.base, tiny.blobs).model
    assert len(parameters_of(model)) == len(trainable(add_lora(fresh, 4, 6.0, seed=1)))
