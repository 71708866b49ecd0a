from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tunesmith.records.rows import Tagged
from tunesmith.stages.finetune.config import ModelConfig

TAGS = ("LICENCE", "O", "VERSION")
SENTENCES = [
    ("Licensed under the Apache License, Version 2.0", "O O O LICENCE LICENCE O VERSION"),
    ("This program is GPL-2.0-or-later software", "O O O LICENCE O"),
    ("MIT", "LICENCE"),
    ("free software, version 3", "O O O VERSION"),
]
ROWS = [
    Tagged(tokens=tuple(words.split()), tags=tuple(tags.split())) for words, tags in SENTENCES * 2
]


def config(**settings: Any) -> ModelConfig:
    fixed: dict[str, Any] = {"objective": "tag", "batch_rows": 3, "method": "full"}
    return ModelConfig(
        name="desk", base="b", dataset="d", **fixed | {"learning_rate": 3e-3} | settings
    )


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_losses_and_weights_are_those_of_transformers(kind: str, readers: Any, loops: Any) -> None:
    """transformers averages over the labelled tokens of a batch, the others have -100; a tag stands
    at its word's first token."""
    base, dataset = readers.encoder(kind), readers.dataset(ROWS, TAGS)
    ours = loops.ours(config(), base, dataset)
    core = ours.loaded.tokenizer.core
    split = [core.encode(row.tokens, is_pretokenized=True) for row in ROWS]
    assert any(len(each.ids) > len(row.tokens) + 2 for each, row in zip(split, ROWS, strict=True))

    def loss_of(model: Any, places: list[int]) -> Any:
        batch = loops.padded([split[place] for place in places])
        labels = torch.full_like(batch["input_ids"], -100)
        for number, place in enumerate(places):
            before = None
            for token, word in enumerate(split[place].word_ids):
                if word is not None and word != before:
                    labels[number, token] = TAGS.index(ROWS[place].tags[word])
                before = word
        return model(**batch, labels=labels).loss

    loops.same(ours, loops.theirs(config(), base, dataset, loss_of))


METHODS: list[dict[str, Any]] = [{"method": "lora", "layers": 1}, {"method": "head"}]


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize("settings", METHODS, ids=lambda s: "-".join(map(str, s.values())))
def test_a_run_is_certified(
    kind: str, settings: dict[str, Any], readers: Any, certified: Callable[..., Any]
) -> None:
    recipe = config(**{"learning_rate": 1e-2, "epochs": 8, **settings})
    model = certified(recipe, readers.encoder(kind), readers.dataset(ROWS, TAGS))

    assert model.last_loss < model.first_loss
    assert model.labels == TAGS
