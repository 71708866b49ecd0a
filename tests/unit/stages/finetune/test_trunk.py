from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tunesmith.core.errors import DataError
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.example import Answer, Example, MicroBatch, pack
from tunesmith.lm.lessons import labelled
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.fuse import fuse
from tunesmith.stages.finetune.lanes import Lanes
from tunesmith.stages.finetune.objectives.answers import Answers
from tunesmith.stages.finetune.states import Shelf
from tunesmith.stages.finetune.trained import prepare
from tunesmith.stages.finetune.trunk import Trunk

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": None,
}
ROWS = [
    labelled("r0", range(7), 2),
    labelled("r1", range(1, 4), 2),
    Example(  # two answers to one prompt
        row_id="r2", prompt=(2, 3, 4), answers=(Answer(ids=(5, 6)), Answer(ids=tuple(range(9, 15))))
    ),
    labelled("r3", range(3, 8), 0),
    Example(row_id="r4", answers=(Answer(ids=(4, 5, 6)), Answer(ids=(7, 8)))),  # two documents
]
LossBy = Callable[[Any], Callable[[MicroBatch], torch.Tensor]]
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "smollm3", "gemma3_text"]


def make(kind: str, **settings: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SIZES, sliding_window=4)
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    attend_by_document(model)
    trained = prepare(model, ModelConfig(base="b", dataset="d", **settings), 1)
    for name, parameter in model.named_parameters():
        if "lora_b" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    if settings.get("method", "lora") == "lora":
        fuse(model, trained.lowest_layer)
    return model, trained


def trunk_of(model: Any, lowest: int, folder: Path) -> Trunk:
    return Trunk(model, lowest, ROWS, Shelf(folder=folder, workdir=folder, made_of={}))


def filled(model: Any, lowest: int, folder: Path) -> Trunk:
    trunk = trunk_of(model, lowest, folder)
    trunk.fill(lambda _num_tokens: None)
    return trunk


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("settings", [{"layers": 2}, {"method": "full", "layers": 1}])
def test_loss_and_gradients_are_those_of_the_whole_model(
    tmp_path: Path, kind: str, settings: dict[str, Any], objective: Answers, loss_by: LossBy
) -> None:
    model, trained = make(kind, **settings)
    trunk = filled(model, trained.lowest_layer, tmp_path)
    other = pack([ROWS[3], ROWS[0], ROWS[2]])
    for micro in (pack(ROWS[:3]), pack(ROWS[3:]), other):
        found = objective.loss(model, trunk.hidden(micro), micro)
        expected = loss_by(model)(micro)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
        for one, two in zip(
            torch.autograd.grad(found, trained.parameters),
            torch.autograd.grad(expected, trained.parameters),
            strict=True,
        ):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-10)
    assert trunk.is_exact(other)


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("layers", [0, 2])
def test_passes_side_by_side_are_to_the_bit_what_one_thread_makes(
    tmp_path: Path, kind: str, layers: int, objective: Answers, loss_by: LossBy
) -> None:
    """Of every architecture, from kept states too; twenty passes in each of two threads."""
    model, trained = make(kind, layers=layers)
    trunk = filled(model, trained.lowest_layer, tmp_path) if layers else None

    def loss_of(micro: MicroBatch) -> torch.Tensor:
        return objective.loss(model, trunk.hidden(micro), micro) if trunk else whole(micro)

    whole = loss_by(model)
    micros = [pack(rows) for rows in (ROWS[:2], ROWS[2:4], ROWS[1:3], ROWS[3:])] * 10
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            loss = Lanes(trained.parameters).backward(loss_of, micros, 7.0)
            grads = [parameter.grad for parameter in trained.parameters]
            found.append((loss, torch.cat([grad.flatten() for grad in grads])))
            for parameter in trained.parameters:
                parameter.grad = None
    finally:
        torch.set_num_threads(threads)
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


def test_once_it_is_kept_nothing_below_is_computed(tmp_path: Path) -> None:
    model, trained = make("llama", layers=1)
    calls: list[int] = []
    for number, layer in enumerate(model.model.layers):
        layer.register_forward_hook(lambda *_, number=number: calls.append(number))
    trunk = filled(model, trained.lowest_layer, tmp_path)
    assert calls == [0, 1, 2]
    trunk.hidden(pack(ROWS))
    assert calls == [0, 1, 2, 3]
    again = filled(model, trained.lowest_layer, tmp_path)  # another run
    again.hidden(pack(ROWS[2:]))
    assert calls == [0, 1, 2, 3, 3]


def test_what_is_missing_is_computed_only_when_it_is_asked_to(tmp_path: Path) -> None:
    """So no state of a run's own micro-batches gets into it, but to be timed."""
    model, trained = make("llama", layers=1)
    trunk, micro = trunk_of(model, trained.lowest_layer, tmp_path), pack(ROWS)
    with pytest.raises(KeyError):
        trunk.hidden(micro)
    trunk.take([micro])
    at_hand = trunk.hidden(micro)
    trunk.let_go()
    with pytest.raises(KeyError):
        trunk.hidden(micro)
    trunk.fill(lambda _num_tokens: None)
    torch.testing.assert_close(trunk.hidden(micro), at_hand, rtol=0, atol=1e-12)


def test_with_the_head_alone_no_layer_is_computed_again(
    tmp_path: Path, objective: Answers, loss_by: LossBy
) -> None:
    model, trained = make("llama", method="head")
    trunk = filled(model, trained.lowest_layer, tmp_path)
    micro = pack(ROWS)
    expected = torch.autograd.grad(loss_by(model)(micro), trained.parameters)
    states = trunk.hidden(micro)
    assert states.grad_fn is None
    found = torch.autograd.grad(objective.loss(model, states, micro), trained.parameters)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_method_finds_the_same_states(tmp_path: Path, kind: str) -> None:
    """To the bit: those of one are read by the others."""
    states = []
    for number, settings in enumerate(
        [{"layers": 2}, {"method": "full", "layers": 2}, {"method": "dora", "layers": 2}]
    ):
        model, trained = make(kind, **settings)
        trunk = trunk_of(model.float(), trained.lowest_layer, tmp_path / str(number))
        states.append(trunk.below(pack(ROWS)))
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_dropout_is_refused(tmp_path: Path) -> None:
    model, trained = make("llama", layers=1)
    with pytest.raises(DataError, match="dropout"):
        trunk_of(model.train(), trained.lowest_layer, tmp_path)


def test_a_wrong_cut_is_noticed(tmp_path: Path, loss_by: LossBy) -> None:
    model, trained = make("llama", layers=2)
    trunk = trunk_of(model, trained.lowest_layer + 1, tmp_path)
    trunk._below = trunk_of(model, trained.lowest_layer, tmp_path)._below
    assert not trunk.is_exact(pack(ROWS))
    assert loss_by(model)(pack(ROWS)).isfinite()
