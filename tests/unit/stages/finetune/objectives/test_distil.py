from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from trl.experimental.gkd import GKDTrainer

from tunesmith.core.errors import ConfigError
from tunesmith.core.ref import from_plain
from tunesmith.lm.attention import attend_by_document, hidden_states
from tunesmith.lm.example import Example, pack
from tunesmith.records.certificate import Certificate
from tunesmith.records.model import BaseModel
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.loop import accumulate
from tunesmith.stages.finetune.objectives.distil import Distillation
from tunesmith.stages.finetune.run import finetune

ROWS = [
    ("Permission is hereby granted.", "mit"),
    ("This program is free software.", "gpl-2.0-plus"),
    ("Licensed under the Apache License " * 3, "a much longer answer than all the others"),
    ("GNU General Public License, version 2", "gpl-2.0"),
    ("x", "apache-2.0"),
]


def config(**changes: Any) -> ModelConfig:
    settings = {"objective": "distil", "teacher": "base:big", "rank": 4, "batch_rows": 2}
    return ModelConfig(name="small", base="tiny", dataset="d", **settings | changes)


@pytest.fixture
def teacher(tiny: Any, tmp_path: Any) -> BaseModel:
    """A larger model with the same tokenizer."""
    return larger(tiny, tmp_path)


def larger(tiny: Any, tmp_path: Any, **other_tokens: str) -> BaseModel:
    import io
    import zipfile

    import transformers

    plain = transformers.AutoConfig.from_pretrained(tiny.folder)
    plain.update({"hidden_size": 96, "num_hidden_layers": 3, "head_dim": 24})
    folder = tmp_path / "big"
    with torch.random.fork_rng():
        torch.manual_seed(9)
        transformers.LlamaForCausalLM(plain).save_pretrained(folder)
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(path.name, path.read_bytes())
        for name in ("tokenizer.json", "tokenizer_config.json"):
            text = (tiny.folder / name).read_text()
            for old, new in other_tokens.items():
                text = text.replace(old, new)
            archive.writestr(name, text)
    weights = tiny.blobs.put(sink.getvalue())
    return dataclasses.replace(tiny.base, name="big", weights=weights)


def prepared(tiny: Any, teacher: BaseModel, **changes: Any) -> tuple[Any, Any, list[Example]]:
    """An objective that has asked its teacher, the model to be tuned, and the rows."""
    dataset = tiny.dataset(ROWS)
    objective = Distillation(config(**changes), dataset, teacher)
    loaded = objective.load(tiny.base, tiny.blobs)
    rows = list(objective.read(tiny.blobs.path(dataset.train.rows), loaded))
    attend_by_document(loaded.model)
    objective.prepare(tiny.context(), loaded.model, lambda micro: micro.ids, rows)
    return objective, loaded.model, rows


@pytest.mark.parametrize(("share", "temperature"), [(1.0, 1.0), (1.0, 2.0), (0.3, 3.0), (0.0, 2.0)])
def test_the_loss_and_its_gradient_are_those_of_trl(
    tiny: Any, teacher: BaseModel, share: float, temperature: float
) -> None:
    """TRL's divergence with beta = 0 is KL(teacher || student); the weight T^2 is Hinton's."""
    objective, model, rows = prepared(tiny, teacher, teacher_share=share, temperature=temperature)
    model = model.double().requires_grad_(True)
    micro = pack(rows)
    states = hidden_states(model, micro.ids, micro.positions, micro.documents)
    found = objective.loss(model, states, micro)

    asked = Distillation(config(), tiny.dataset(ROWS), teacher).load(teacher, tiny.blobs).model
    expected = torch.zeros((), dtype=torch.float64)
    for row in rows:
        ids = torch.tensor(row.documents()[0])
        labels = ids[None].clone()
        labels[0, : len(row.prompt)] = -100
        kept = slice(len(row.prompt) - 1, -1)
        with torch.no_grad():
            taught = asked(ids[None]).logits[:, kept].double()
        said = model(ids[None]).logits[:, kept]
        divergence = GKDTrainer.generalized_jsd_loss(
            said, taught, labels[:, len(row.prompt) :], beta=0, temperature=temperature,
            reduction="sum",
        )  # fmt: skip
        plain = torch.nn.functional.cross_entropy(said[0], ids[len(row.prompt) :], reduction="sum")
        expected = expected + share * temperature**2 * divergence + (1 - share) * plain

    assert found.item() == pytest.approx(expected.item(), rel=1e-6)  # the teacher is a float32
    parameters = list(model.parameters())
    for one, two in zip(
        torch.autograd.grad(found, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_accumulation_changes_nothing(tiny: Any, teacher: BaseModel, size: int) -> None:
    objective, model, rows = prepared(tiny, teacher)
    model = model.double().requires_grad_(True)

    def gradient(size: int) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        loss = accumulate(
            objective,
            lambda micro: objective.loss(
                model, hidden_states(model, micro.ids, micro.positions, micro.documents), micro
            ),
            rows,
            cut=lambda rows: (pack(rows[n : n + size]) for n in range(0, len(rows), size)),
        )
        return loss, torch.cat([p.grad.flatten() for p in model.parameters()])

    whole, parts = gradient(len(rows)), gradient(size)
    assert parts[0] == pytest.approx(whole[0], abs=1e-12)
    torch.testing.assert_close(parts[1], whole[1], rtol=0, atol=1e-12)


def test_a_pupil_comes_nearer_to_its_teacher(tiny: Any, teacher: BaseModel) -> None:
    dataset = tiny.dataset(ROWS)
    model = finetune(
        config(epochs=25, teacher_share=1.0, learning_rate=1e-2),
        tiny.context(),
        base=tiny.base,
        dataset=dataset,
        teacher=teacher,
    )
    certificate = from_plain(Certificate, json.loads(tiny.blobs.get(model.certificate)))

    assert model.objective == "distil"
    assert model.last_loss < 0.7 * model.first_loss
    assert certificate.failed() == ""


def test_a_teacher_with_other_tokens_is_refused(tiny: Any, tmp_path: Any) -> None:
    other = larger(tiny, tmp_path, **{'"#":': '"☃":'})
    with pytest.raises(ConfigError, match="another vocabulary"):
        prepared(tiny, other)


def test_what_teaches_is_said_and_only_where_it_is_read() -> None:
    with pytest.raises(ValueError, match="needs a teacher"):
        config(teacher="")
    with pytest.raises(ValueError, match="teacher is not read with objective 'sft'"):
        config(objective="sft")
