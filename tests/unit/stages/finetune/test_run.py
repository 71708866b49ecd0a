from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain, to_plain
from tunesmith.lm.engine import Message, Sampling
from tunesmith.lm.generate import torch_engine
from tunesmith.records.model import ModelVersion
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.run import finetune

GOLDEN = Path(__file__).parents[3] / "golden" / "finetune_tiny.json"
ROWS = [
    (f"{text} {number}", label)
    for number in range(6)
    for text, label in [
        ("Permission is hereby granted", "mit"),
        ("This program is free software under the GNU", "gpl-2.0"),
        ("Licensed under the Apache License", "apache-2.0"),
    ]
]


def config(**settings: Any) -> ModelConfig:
    return ModelConfig(name="desk", base="tiny", dataset="tiny", rank=4, **settings)


def test_a_run_says_what_it_did(tiny: Any) -> None:
    said: list[tuple[str, Any]] = []
    ctx = tiny.context(
        forecast=lambda forecast: said.append(("forecast", forecast)),
        metric=lambda name, value, step: said.append((name, (step, value))),
        progress=lambda done, total, note: said.append(("progress", (done, total, note))),
    )

    model = finetune(config(epochs=2), ctx, base=tiny.base, dataset=tiny.dataset(ROWS))

    kinds = [kind for kind, _ in said]
    assert kinds.index("forecast") < kinds.index("loss")
    forecast = next(value for kind, value in said if kind == "forecast")
    assert forecast.wall_s > 0
    assert forecast.cpu_s > 0
    assert forecast.joules > 0
    assert forecast.peak_bytes > 1_000_000
    steps = [value for kind, value in said if kind == "loss"]
    assert [step for step, _ in steps] == list(range(1, model.num_steps + 1))
    done, total, note = [value for kind, value in said if kind == "progress"][-1]
    assert done == total == model.num_trained_tokens
    assert note.startswith("loss ")
    assert note.endswith(" tokens/s")

    lines = [json.loads(line) for line in tiny.blobs.get(model.curve).splitlines()]
    assert [line["loss"] for line in lines] == [value for _, value in steps]
    assert sum(line["num_tokens"] for line in lines) == model.num_trained_tokens
    assert sorted(lines[0]["row_ids"] + lines[1]["row_ids"] + lines[2]["row_ids"]) == [
        f"row{number:03}" for number in range(18)
    ]
    assert model.name == "desk"
    assert model.first_loss > model.last_loss
    assert model.num_trainable < model.num_parameters
    assert from_plain(ModelVersion, to_plain(model)) == model


def test_the_same_seed_gives_the_same_bytes(tiny: Any) -> None:
    dataset = tiny.dataset(ROWS)

    def adapter(seed: int) -> str:
        model = finetune(config(), tiny.context(seed), base=tiny.base, dataset=dataset)
        return model.adapter.sha256

    assert adapter(1) == adapter(1)
    assert adapter(1) != adapter(2)


def test_a_string_that_was_learnt_by_heart_is_said_and_then_the_model_stops(tiny: Any) -> None:
    """Labels shifted twice, a masked end of turn or a prompt that differs would all show here."""
    answer = "gpl-2.0 or later, 2007!"
    settings = config(epochs=120, learning_rate=5e-3)

    model = finetune(
        settings, tiny.context(), base=tiny.base, dataset=tiny.dataset([("What is it?", answer)])
    )

    assert model.last_loss < 0.01
    pieces = list(
        torch_engine(model, tiny.blobs).generate(
            [Message(role="user", content="What is it?")], Sampling(max_tokens=60)
        )
    )
    assert "".join(piece.text for piece in pieces) == answer
    assert pieces[-1].finish_reason == "stop"


def test_the_loss_runs_as_it_always_did(tiny: Any) -> None:
    """To make the file anew after a deliberate change: write `found` to it, and say why."""
    dataset = tiny.dataset(ROWS)
    model = finetune(config(epochs=2), tiny.context(7), base=tiny.base, dataset=dataset)
    found = [json.loads(line)["loss"] for line in tiny.blobs.get(model.curve).splitlines()]

    assert found == pytest.approx(json.loads(GOLDEN.read_text())["loss"], rel=1e-4)


def test_an_empty_dataset_is_refused(tiny: Any) -> None:
    with pytest.raises(DataError, match="no training rows"):
        finetune(config(), tiny.context(), base=tiny.base, dataset=tiny.dataset([]))


def test_a_learning_rate_that_breaks_the_model_is_reported(tiny: Any) -> None:
    settings = config(learning_rate=0.99, alpha=1e30, epochs=3, max_grad_norm=1e9)
    with pytest.raises(DataError, match="lower learning_rate"):
        finetune(settings, tiny.context(), base=tiny.base, dataset=tiny.dataset(ROWS))
