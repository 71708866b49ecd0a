from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tunesmith.records.rows import Labelled
from tunesmith.stages.finetune.config import ModelConfig

LABELS = ("apache-2.0", "gpl-2.0", "mit")
ROWS = [
    Labelled(text=f"{text} {number} " * (1 + number % 3), label=label)
    for number in range(4)
    for text, label in [
        ("Permission is hereby granted", "mit"),
        ("This program is free", "gpl-2.0"),
        ("Licensed under the Apache License", "apache-2.0"),
    ]
]


def config(**settings: Any) -> ModelConfig:
    fixed: dict[str, Any] = {"objective": "classify", "batch_rows": 4, "weight_decay": 0.01}
    rate = {"method": "full", "learning_rate": 3e-3}
    return ModelConfig(name="desk", base="b", dataset="d", **fixed | rate | settings)


def base_of(readers: Any, kind: str) -> Any:
    return readers.tiny.base if kind == "llama" else readers.encoder(kind)


@pytest.mark.parametrize("kind", ["bert", "modernbert", "modernbert-mean", "llama"])
def test_losses_and_weights_are_those_of_transformers(
    kind: str, readers: Any, loops: Any, exact_norms: None
) -> None:
    kind, _, pooling = kind.partition("-")
    base = readers.encoder(kind, classifier_pooling="mean") if pooling else base_of(readers, kind)
    dataset = readers.dataset(ROWS, LABELS)
    ours = loops.ours(config(), base, dataset)
    core = ours.loaded.tokenizer.core

    def loss_of(model: Any, places: list[int]) -> Any:
        if kind == "llama":
            model.config.pad_token_id = 0
        batch = loops.padded([core.encode(ROWS[place].text) for place in places])
        classes = torch.tensor([LABELS.index(ROWS[place].label) for place in places])
        found = model(**batch, labels=classes)
        torch.testing.assert_close(found.loss, cross_entropy(found.logits, classes))
        return cross_entropy(found.logits, classes)

    loops.same(ours, loops.theirs(config(), base, dataset, loss_of))


METHODS: list[dict[str, Any]] = [
    {"method": "lora", "rank": 4},
    {"method": "lora", "rank": 4, "layers": 1},
    {"method": "dora", "rank": 4},
    {"method": "full"},
    {"method": "full", "layers": 1},
    {"method": "full", "start": "random"},
    {"method": "head"},
]


@pytest.mark.parametrize("kind", ["bert", "modernbert", "llama"])
@pytest.mark.parametrize("settings", METHODS, ids=lambda s: "-".join(map(str, s.values())))
def test_every_method_is_certified(
    kind: str, settings: dict[str, Any], readers: Any, certified: Callable[..., Any]
) -> None:
    recipe = config(**{"learning_rate": 1e-2, "epochs": 8, **settings})
    model = certified(recipe, base_of(readers, kind), readers.dataset(ROWS, LABELS))

    assert model.objective == "classify"
    assert model.labels == LABELS
    assert model.last_loss < model.first_loss
    assert any(readers.tiny.workdir.glob("states-*")) == (
        "layers" in settings or settings["method"] == "head"
    )
