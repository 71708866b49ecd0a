from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from tunesmith.core.errors import ConfigError
from tunesmith.records.rows import Pair
from tunesmith.stages.finetune.config import ModelConfig

ROWS = [
    Pair(anchor=anchor, positive=positive, negatives=("This file is free.", negative))
    for anchor, positive, negative in [
        ("Permission?", "Permission is hereby granted, free of charge", "program"),
        ("Which version", "version 2 or later", "2007"),
        ("apache", "Licensed under the Apache License", "GNU General Public License"),
        ("GNU", "This program is free software", "obtaining a copy"),
        ("a person", "to any person obtaining a copy", "or later"),
    ]
]


def config(**settings: Any) -> ModelConfig:
    fixed: dict[str, Any] = {"objective": "embed", "batch_rows": 3, "method": "full"}
    return ModelConfig(
        name="desk", base="b", dataset="d", **fixed | {"learning_rate": 1e-3} | settings
    )


def sentences(readers: Any, kind: str, model: Any, folder: Path) -> SentenceTransformer:
    """sentence-transformers' model around one of transformers."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(readers.folder / kind / "tokenizer.json"),
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
        model_input_names=["input_ids", "attention_mask"] + ["token_type_ids"] * (kind == "bert"),
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformer = Transformer(str(folder))
    transformer.model = model
    pooling = Pooling(model.config.hidden_size, pooling_mode="mean")
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu").double()


@pytest.mark.parametrize("dims", [(), (32, 8, 16)], ids=["whole", "matryoshka"])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_losses_and_weights_are_those_of_sentence_transformers(
    kind: str, dims: tuple[int, ...], readers: Any, loops: Any, tmp_path: Path
) -> None:
    """Its MultipleNegativesRankingLoss, in its MatryoshkaLoss."""
    recipe = config(scale=10.0, **({"dims": dims} if dims else {}))
    base, dataset = readers.encoder(kind), readers.dataset(ROWS)
    ours = loops.ours(recipe, base, dataset)
    made: list[Any] = []

    def loss_of(model: Any, places: list[int]) -> Any:
        if not made:
            encoder = sentences(readers, kind, model, tmp_path / "sentences")
            loss: Any = losses.MultipleNegativesRankingLoss(encoder, scale=10.0)
            made[:] = [encoder, losses.MatryoshkaLoss(encoder, loss, dims) if dims else loss]
        rows = [ROWS[place] for place in places]
        columns = [
            [row.anchor for row in rows],
            [row.positive for row in rows],
            *([row.negatives[number] for row in rows] for number in (0, 1)),
        ]
        return made[1]([made[0].preprocess(column) for column in columns], torch.empty(0))

    loops.same(ours, loops.theirs(recipe, base, dataset, loss_of))


def test_rows_may_have_more_and_fewer_negatives(
    readers: Any, certified: Callable[..., Any]
) -> None:
    rows = [
        Pair(anchor=row.anchor, positive=row.positive, negatives=row.negatives[: number % 3])
        for number, row in enumerate(ROWS)
    ]
    recipe = config(learning_rate=1e-2, epochs=10, dims=[32, 8])
    model = certified(recipe, readers.encoder("bert"), readers.dataset(rows))
    assert model.last_loss < model.first_loss


METHODS: list[dict[str, Any]] = [
    {"method": "lora"}, {"method": "lora", "layers": 1}, {"method": "full", "layers": 1},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize("settings", METHODS, ids=lambda s: "-".join(map(str, s.values())))
def test_a_run_is_certified(
    kind: str, settings: dict[str, Any], readers: Any, certified: Callable[..., Any]
) -> None:
    recipe = config(**{"learning_rate": 1e-2, "epochs": 10, **settings})
    model = certified(recipe, readers.encoder(kind), readers.dataset(ROWS))

    assert model.last_loss < model.first_loss
    assert any(readers.tiny.workdir.glob("states-*")) == ("layers" in settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "head"}, "vectors have no head: set method to lora or full"),
        ({"batch_rows": 1}, "set batch_rows to 2 or more"),
        ({"dims": [0]}, "greater than 0"),
        ({"objective": "classify", "scale": 3.0}, "scale is not read with objective 'classify'"),
    ],
)
def test_what_cannot_be_learnt_is_refused(settings: dict[str, Any], said: str) -> None:
    fixed = {} if settings.get("method") != "head" else {"learning_rate": 1e-3}
    with pytest.raises(pydantic.ValidationError, match=said):
        config(**fixed | settings)


def test_a_vector_cannot_be_cut_to_more_than_it_has(
    readers: Any, certified: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError, match=r"model\.desk\.dims: .* have 32 numbers, not 64"):
        certified(config(dims=[64]), readers.encoder("bert"), readers.dataset(ROWS))
