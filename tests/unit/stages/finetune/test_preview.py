from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from tunesmith.core.errors import DataError
from tunesmith.core.meter import estimate_joules
from tunesmith.lm.load import load_model
from tunesmith.lm.size import num_layer_weights, width
from tunesmith.records.data import Split
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.preview import SHARE_OF_PEAK, matmul_rate, preview


def test_the_weights_of_the_layers_are_counted_from_the_header(tiny: Any) -> None:
    model = load_model(tiny.base, tiny.blobs).model
    inside = sum(p.numel() for p in model.model.layers.parameters() if p.dim() == 2)
    assert num_layer_weights(tiny.base, tiny.blobs) == inside


def test_a_damaged_folder_is_said_to_be_one(tiny: Any) -> None:
    blob = tiny.blobs.put(b"not a zip")
    broken = BaseModel(name="b", origin="o", licence="l", weights=blob, format="folder")
    with pytest.raises(DataError, match="not a whole zip"):
        num_layer_weights(broken, tiny.blobs)


def test_a_preview_grows_with_the_tokens_and_says_how_it_was_made(tiny: Any) -> None:
    empty = tiny.blobs.put(b"")

    def ask(num_tokens: int, epochs: int) -> Any:
        side = Split(rows=empty, num_rows=1, num_tokens=num_tokens)
        dataset = dataclasses.replace(tiny.dataset([]), train=side)
        config = ModelConfig(base="tiny", dataset="tiny", epochs=epochs)
        return preview(config, tiny.blobs, tiny.base, dataset)

    once, often = ask(10**9, 1), ask(10**9, 50)
    assert 0 < once.wall_s < often.wall_s
    assert once.joules == estimate_joules(once.cpu_s)
    assert once.basis.startswith("1000000000 tokens, ")
    assert math.isclose(once.cpu_s, once.wall_s)  # one thread, see the fixture


@pytest.mark.parametrize(("objective", "share"), [("orpo", 1.0), ("dpo", 1.25), ("kto", 1.5)])
def test_asking_the_untuned_model_is_counted(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, objective: str, share: float
) -> None:
    """Two epochs of forward and backward, 8; once forward, 2, or, with KTO, in each epoch."""
    monkeypatch.setattr("tunesmith.stages.finetune.preview.matmul_rate", lambda _seconds: 1e9)
    side = Split(rows=tiny.blobs.put(b""), num_rows=1, num_tokens=1000)
    dataset = dataclasses.replace(tiny.dataset([]), train=side)
    asked = [
        preview(ModelConfig(base="t", dataset="t", objective=name), tiny.blobs, tiny.base, dataset)
        for name in ("sft", objective)
    ]

    assert asked[1].wall_s == pytest.approx(share * asked[0].wall_s)


@pytest.mark.parametrize(
    ("settings", "cost"),
    [
        ({}, 8.0),  # two layers, two epochs, forward and backward
        ({"layers": 2}, 8.0),
        ({"layers": 1}, 5.0),  # the lower one once, and forward only
        ({"layers": 1, "epochs": 6}, 13.0),
        ({"method": "head"}, 2.0),
    ],
)
def test_what_is_frozen_is_counted_once(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], cost: float
) -> None:
    monkeypatch.setattr("tunesmith.stages.finetune.preview.matmul_rate", lambda _seconds: 1e9)
    side = Split(rows=tiny.blobs.put(b""), num_rows=1, num_tokens=10**6)
    dataset = dataclasses.replace(tiny.dataset([]), train=side)
    found = preview(ModelConfig(base="t", dataset="t", **settings), tiny.blobs, tiny.base, dataset)

    a_layer = num_layer_weights(tiny.base, tiny.blobs) / 2
    # In each of two layers as many products: `cost` counts pairs of layers.
    assert found.wall_s * SHARE_OF_PEAK * 1e9 == pytest.approx(cost * 2 * a_layer * 10**6)
    kept = "0.26 GB" in found.basis  # 64 numbers of 4 bytes for each token
    assert kept == (cost not in (8.0,))


def test_what_cannot_be_kept_is_counted_in_every_epoch(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.stages.finetune.preview.matmul_rate", lambda _seconds: 1e9)
    monkeypatch.setattr("tunesmith.stages.finetune.preview.MOST_BYTES", 1000)
    side = Split(rows=tiny.blobs.put(b""), num_rows=1, num_tokens=10**6)
    dataset = dataclasses.replace(tiny.dataset([]), train=side)
    config = ModelConfig(base="t", dataset="t", layers=1)
    found = preview(config, tiny.blobs, tiny.base, dataset)

    assert found.basis.endswith("cannot be kept")
    whole = num_layer_weights(tiny.base, tiny.blobs)
    assert found.wall_s * SHARE_OF_PEAK * 1e9 == pytest.approx(6 * whole * 10**6)


@pytest.mark.parametrize(
    ("settings", "cost"),
    [
        ({"kl_weight": 0.0}, 4 + 2),  # an update, and the draw
        ({}, 4 + 2 + 2),  # and the base model
        ({"updates": 3}, 3 * 4 + 2 + 2 + 2),  # and what it was drawn with
        ({"updates": 3, "layers": 1}, 3 * 3 + 2 + 2 + 2),  # half of each update is forward only
    ],
)
def test_answers_are_counted_as_long_as_they_may_be(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], cost: float
) -> None:
    """Two epochs of 100 prompts, 5,000 tokens, and of 4 answers of 10 tokens to each."""
    monkeypatch.setattr("tunesmith.stages.finetune.preview.matmul_rate", lambda _seconds: 1e9)
    side = Split(rows=tiny.blobs.put(b""), num_rows=100, num_tokens=5000)
    dataset = dataclasses.replace(tiny.dataset([]), train=side)
    asked = {"rewards": [{"name": "exact"}], "group_size": 4, "max_new_tokens": 10}
    config = ModelConfig(base="t", dataset="t", objective="grpo", **asked, **settings)
    found = preview(config, tiny.blobs, tiny.base, dataset)

    assert found.basis.startswith("18000 tokens, ")
    assert "states" not in found.basis  # nothing is kept of answers that are others each time
    whole = num_layer_weights(tiny.base, tiny.blobs)
    assert found.wall_s * SHARE_OF_PEAK * 1e9 == pytest.approx(cost * whole * 18000)


def test_the_width_is_the_model_s(tiny: Any) -> None:
    assert (
        width(tiny.base, tiny.blobs) == load_model(tiny.base, tiny.blobs).model.config.hidden_size
    )


def test_a_matrix_product_runs_at_a_believable_speed() -> None:
    assert 1e8 < matmul_rate(0.05) < 1e14
