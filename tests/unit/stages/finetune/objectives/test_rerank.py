from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from sentence_transformers.cross_encoder import CrossEncoder
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

from tunesmith.records.rows import Pair
from tunesmith.stages.finetune.config import ModelConfig

ROWS = [
    Pair(
        anchor=f"{anchor} {number}",
        positive=positive,
        negatives=("This file is free.", "General Public License, version 2", "2007")[:negatives],
    )
    for number in range(2)
    for anchor, positive, negatives in [
        ("Permission?", "Permission is hereby granted, free of charge", 3),
        ("Which version", "version 2 or later", 0),
        ("apache", "Licensed under the Apache License", 1),
    ]
]


def config(**settings: Any) -> ModelConfig:
    fixed: dict[str, Any] = {"objective": "rerank", "batch_rows": 2, "method": "full"}
    return ModelConfig(
        name="desk", base="b", dataset="d", **fixed | {"learning_rate": 1e-3} | settings
    )


def cross_encoder(readers: Any, kind: str, model: Any, folder: Path) -> CrossEncoder:
    """sentence-transformers' around a model of transformers."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(readers.folder / kind / "tokenizer.json"),
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
        model_input_names=["input_ids", "attention_mask"] + ["token_type_ids"] * (kind == "bert"),
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return CrossEncoder(str(folder), num_labels=1, device="cpu").double()


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_losses_and_weights_are_those_of_sentence_transformers(
    kind: str, readers: Any, loops: Any, tmp_path: Path
) -> None:
    """Its BinaryCrossEntropyLoss of all pairs of the step, which tells the two texts of a pair
    apart by their types in BERT."""
    base, dataset = readers.encoder(kind), readers.dataset(ROWS)
    ours = loops.ours(config(), base, dataset)
    made: list[Any] = []

    def loss_of(model: Any, places: list[int]) -> Any:
        if not made:
            encoder = cross_encoder(readers, kind, model, tmp_path / "cross")
            encoder[0].model = model
            made.append(BinaryCrossEntropyLoss(encoder))
        rows = [ROWS[place] for place in places]
        pairs = [(row.anchor, text) for row in rows for text in (row.positive, *row.negatives)]
        labels = [float(text == row.positive) for row in rows
                  for text in (row.positive, *row.negatives)]  # fmt: skip
        queries, passages = (list(column) for column in zip(*pairs, strict=True))
        return made[0]([queries, passages], torch.tensor(labels, dtype=torch.float64))

    # It takes its scores to float32.
    loops.same(ours, loops.theirs(config(), base, dataset, loss_of), close=1e-6)


METHODS: list[dict[str, Any]] = [{"method": "lora", "layers": 1}, {"method": "head"}]


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize("settings", METHODS, ids=lambda s: "-".join(map(str, s.values())))
def test_a_run_is_certified(
    kind: str, settings: dict[str, Any], readers: Any, certified: Callable[..., Any]
) -> None:
    recipe = config(**{"learning_rate": 1e-2, "epochs": 12, **settings})
    model = certified(recipe, readers.encoder(kind), readers.dataset(ROWS))

    assert model.last_loss < model.first_loss
