from __future__ import annotations

from typing import Any

import torch

from tunesmith.core.meter import estimate_joules
from tunesmith.lm.attention import attend_by_document
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune.batches import read_rows
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.forecast import forecast
from tunesmith.stages.finetune.lora import add_lora, trainable

ROWS = [(f"Permission is hereby granted {number}", "mit") for number in range(40)]


def test_a_forecast_grows_with_the_work_and_leaves_nothing_behind(tiny: Any) -> None:
    loaded = load_model(tiny.base, tiny.blobs)
    attend_by_document(loaded.model)
    rows = read_rows(tiny.blobs.path(tiny.split(ROWS).rows), loaded.tokenizer, "Name it.", 256)
    parameters = trainable(add_lora(loaded.model, 4, 6.0, seed=1))
    before = [parameter.clone() for parameter in parameters]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    def ask(epochs: int) -> Any:
        config = ModelConfig(base="b", dataset="d", epochs=epochs)
        return forecast(loaded.model, parameters, rows, config, 0, (100.0, 200.0))

    short, long = ask(1), ask(400)

    assert 100 < short.wall_s < long.wall_s
    assert 200 < short.cpu_s < long.cpu_s
    assert short.joules == estimate_joules(short.cpu_s)
    num_bytes = sum(parameter.numel() * 4 for parameter in parameters)
    assert short.peak_bytes > 3 * num_bytes
    assert "of the run's own micro-batches" in short.basis
    assert all(parameter.grad is None for parameter in parameters)
    assert all(torch.equal(a, b) for a, b in zip(parameters, before, strict=True))
    assert torch.equal(torch.rand(3), expected)  # no random number was drawn
