from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain, to_plain
from tunesmith.lm.engine import Message, Sampling
from tunesmith.lm.generate import torch_engines
from tunesmith.lm.load import load_model
from tunesmith.records.model import ModelVersion
from tunesmith.records.rows import Completion, Text
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.first_batch import look
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
    heard = [value for kind, value in said if kind == "progress"]
    done, total, note = [value for value in heard if value[1]][-1]
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
    (engine,) = torch_engines([model], tiny.blobs)
    asked = [Message(role="user", content="What is it?")]
    pieces = list(engine.generate(asked, Sampling(max_tokens=60)))
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


@pytest.mark.parametrize("settings", [{"layers": 1}, {"method": "head"}])
def test_what_is_frozen_is_computed_once_and_changes_nothing(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    dataset = tiny.dataset(ROWS)
    recipe = ModelConfig(name="desk", base="tiny", dataset="tiny", epochs=3, **settings)
    kept = finetune(recipe, tiny.context(1), base=tiny.base, dataset=dataset)
    assert any(tiny.workdir.glob("states-*"))
    monkeypatch.setattr("tunesmith.stages.finetune.engine._trunk", lambda *_: None)
    again = finetune(recipe, tiny.context(1), base=tiny.base, dataset=dataset)

    def losses(model: ModelVersion) -> list[float]:
        return [json.loads(line)["loss"] for line in tiny.blobs.get(model.curve).splitlines()]

    assert losses(kept) == pytest.approx(losses(again), rel=1e-4)


def test_what_began_at_random_is_used_as_it_was_trained(tiny: Any) -> None:
    """At a rate of nearly nothing what is trained stays what was drawn, and all of it is saved."""
    recipe = ModelConfig(
        name="desk", base="tiny", dataset="tiny", method="full", start="random", learning_rate=1e-6
    )
    version = finetune(recipe, tiny.context(5), base=tiny.base, dataset=tiny.dataset(ROWS))
    used = load_model(tiny.base, tiny.blobs, adapter=version).model.state_dict()
    drawn = load_model(tiny.base, tiny.blobs, drawn_from=5).model.state_dict()
    base = load_model(tiny.base, tiny.blobs).model.state_dict()

    assert used.keys() == drawn.keys()
    for name, tensor in drawn.items():
        assert torch.allclose(used[name], tensor, atol=1e-4), name
        assert "norm" in name or not torch.allclose(used[name], base[name], atol=1e-2), name
    assert version.num_trainable == version.num_parameters


def test_a_share_of_the_rows_is_trained_on_and_no_other(tiny: Any) -> None:
    said: list[str] = []
    ctx = tiny.context(1, metric=lambda name, *_: said.append(name))
    dataset = tiny.dataset(ROWS)
    model = finetune(config(share_of_rows=0.5, epochs=2), ctx, base=tiny.base, dataset=dataset)

    steps = [json.loads(line) for line in tiny.blobs.get(model.curve).splitlines()]
    epochs = [steps[: len(steps) // 2], steps[len(steps) // 2 :]]
    first, second = ([i for step in epoch for i in step["row_ids"]] for epoch in epochs)
    assert len(first) == len(set(first)) == 9
    assert set(first) == set(second)
    assert said.count("tokens_per_s") == said.count("tokens_per_cpu_s") == len(steps)
    batch = look(config(share_of_rows=0.5, epochs=2), tiny.blobs, tiny.base, dataset, 1)
    assert (list(batch.row_ids), batch.num_steps) == (steps[0]["row_ids"], len(steps))


@pytest.mark.parametrize(("objective", "form"), [("sft", "completion"), ("cpt", "text")])
def test_a_base_without_a_chat_template_learns_plain_texts(
    tiny: Any, readers: Any, tmp_path: Path, objective: str, form: str
) -> None:
    """What ends a text ends an answer; it was looked for in a template that there is not."""
    folder = tmp_path / "bare"
    shutil.copytree(tiny.folder, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    contents = {
        "completion": [Completion(prompt=text, completion=label) for text, label in ROWS],
        "text": [Text(text=text) for text, _ in ROWS],
    }
    recipe = config(objective=objective, learning_rate=5e-3)

    model = finetune(
        recipe, tiny.context(), base=readers.zipped(folder), dataset=readers.dataset(contents[form])
    )

    assert model.last_loss < model.first_loss
