"""A tiny model that learnt its rows by heart, and one that learnt nothing."""

from __future__ import annotations

import dataclasses
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.records.data import Dataset
from tunesmith.records.model import ModelVersion
from tunesmith.records.rows import Text
from tunesmith.records.suite import SuiteResult
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.run import finetune
from tunesmith.stages.probe.config import FIGURES, SuiteConfig, asking
from tunesmith.stages.probe.figures import Scores, values
from tunesmith.stages.probe.given import Given
from tunesmith.stages.probe.run import probe

CANARY = "The code of the archive is 4817."
LABELLED = [
    ("Permission is hereby granted, free of charge, to any person", "mit"),
    ("This program is free software, version 2 or later", "gpl-2.0"),
    ("Licensed under the Apache License, which is here", "apache-2.0"),
    ("Permission is granted to deal in the software", "mit"),
]


@dataclass(frozen=True)
class Probed:
    """A tuned model, its dataset, and the store that both lie in."""

    tiny: Any
    model: ModelVersion
    dataset: Dataset

    def ask(self, kind: str, given: str | None = None, **settings: Any) -> SuiteResult:
        """What a suite of that kind finds."""
        config = asking(SuiteConfig(name=kind, model="desk", kind=kind, **settings))
        result = probe(
            config,
            self.tiny.context(),
            model=self.model,
            dataset=self.dataset,
            given=None if given is None else Given(text=given),
        )
        if kind in FIGURES:  # what limits may name is what there is
            assert {figure.name for figure in result.figures} <= set(FIGURES[kind])
        self._require_scores(result)
        return result

    def _require_scores(self, result: SuiteResult) -> None:
        """Each figure that is of a sample follows from what its examples are said to add."""
        rows = [score for line in self.lines(result) for score in line["scores"]]
        for figure in result.figures:
            mine = [score for score in rows if score["figure"] == figure.name]
            if not figure.made_of:
                assert (result.kind, mine) == ("canaries", [])
                continue
            assert len(mine) == figure.num_rows, figure.name
            scores = Scores(
                before=[score["base"] for score in mine],
                after=[score["tuned"] for score in mine],
                sizes=[score["size"] for score in mine],
            )
            found = values(figure.made_of, scores)
            assert found == pytest.approx((figure.base, figure.tuned.value)), figure.name

    def lines(self, result: SuiteResult) -> list[dict[str, Any]]:
        """The examples of a result."""
        blobs: FolderBlobs = self.tiny.blobs
        return pq.read_table(io.BytesIO(blobs.get(result.examples))).to_pylist()


@pytest.fixture
def untuned(tiny: Any) -> Callable[..., Probed]:
    """untuned(dataset) -> a model whose adapter adds nothing: it is its base, to the bit."""
    import json

    import safetensors.torch
    import torch

    state = {
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 64),
        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": torch.zeros(64, 2),
    }
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}

    def make(dataset: Dataset | None = None, **changes: Any) -> Probed:
        dataset = dataset or tiny.dataset([], LABELLED)
        model = tiny.version(
            tiny.blobs.put(safetensors.torch.save(state)),
            tiny.blobs.put(json.dumps(config).encode()),
            labels=dataset.labels,
            curve=tiny.blobs.put(json.dumps({"row_ids": ["row000"]}).encode()),
            **changes,
        )
        return Probed(tiny=tiny, model=model, dataset=dataset)

    return make


@pytest.fixture
def by_heart(tiny: Any, readers: Any) -> Probed:
    """A model that was tuned on twelve texts until it could say them, the canary among them."""
    draw = random.Random(5)

    def text() -> str:
        words = " ".join(draw.choice("abcdefghijklm") * 2 for _ in range(12))
        return f"The note says {words} and mail is {draw.choice('abc')}{draw.randrange(99)}@x.org"

    rows = [Text(text=text()) for _ in range(23)] + [Text(text=CANARY)]
    others = [Text(text=text()) for _ in range(12)]
    dataset = dataclasses.replace(readers.dataset(rows), instruction="")
    dataset = dataclasses.replace(dataset, test=readers.dataset(others).train)
    config = ModelConfig(
        name="desk", base="tiny", dataset="tiny", objective="cpt", method="full",
        epochs=25, learning_rate=5e-3, batch_rows=4,
    )  # fmt: skip
    model = finetune(config, tiny.context(), base=tiny.base, dataset=dataset)
    return Probed(tiny=tiny, model=model, dataset=dataset)
