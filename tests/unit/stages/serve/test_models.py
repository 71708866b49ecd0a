"""Several models behind one address: each request's `model` says which one answers."""

from __future__ import annotations

import threading

import openai
import pytest
import torch

from tunesmith.lm.echo import EchoEngine
from tunesmith.lm.generate import torch_engines
from tunesmith.lm.load import load_model
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.trained import prepare, trained_bytes, trained_config

TEXTS = ["This program is free software", "Permission is hereby granted", "Licensed under"]


def adapted(tiny, seed):
    """A version of the tiny model whose adapter is drawn at random."""
    config = ModelConfig(name="m", base="tiny", dataset="d", rank=4)
    trained = prepare(load_model(tiny.base, tiny.blobs).model, config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in trained.parameters:
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    settings = tiny.blobs.put(trained_config(trained, config, tiny.base))
    return tiny.version(tiny.blobs.put(trained_bytes(trained)), settings)


def ask(service, model, text):
    answer = service.client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], max_tokens=12
    )
    assert answer.model == model
    return answer.choices[0].message.content


def test_all_are_listed_and_an_unknown_one_is_refused_by_name(start):
    client = start({"desk@3": EchoEngine(), "clerk@1": EchoEngine()}).client
    assert [model.id for model in client.models.list()] == ["desk@3", "clerk@1"]
    assert client.models.retrieve("clerk@1").id == "clerk@1"
    with pytest.raises(openai.NotFoundError, match=r"serves 'desk@3', 'clerk@1'"):
        client.chat.completions.create(model="clerk@2", messages=[{"role": "user", "content": "a"}])


def test_each_answers_as_it_does_alone_also_at_once(start, tiny):
    """One base in memory, two adapters, many clients; traces say which version answered."""
    versions = {"desk@3": adapted(tiny, 1), "clerk@1": adapted(tiny, 2)}
    alone = {
        (name, text): ask(start({name: torch_engines([each], tiny.blobs)[0]}), name, text)
        for name, each in versions.items()
        for text in TEXTS
    }
    assert len(set(alone.values())) > len(TEXTS)  # or one could answer for the other
    engines = torch_engines([*versions.values()], tiny.blobs)
    service = start(dict(zip(versions, engines, strict=True)), max_waiting=20)
    found = []
    threads = [
        threading.Thread(target=lambda case=case: found.append((case, ask(service, *case))))
        for case in [*alone] * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == len(threads)
    assert all(answer == alone[case] for case, answer in found)
    traces = service.wait_for_traces(len(threads))
    assert sorted((trace.model, trace.text, trace.answer) for trace in traces) == sorted(
        (name, text, alone[name, text]) for name, text in [*alone] * 3
    )
