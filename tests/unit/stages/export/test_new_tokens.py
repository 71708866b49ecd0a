"""Exports of a model with new tokens (defects 26 and 27) are the model that was tuned."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from tunesmith.core.errors import UsageError
from tunesmith.lm.chat_template import prompt_ids, question
from tunesmith.lm.gguf import read_header
from tunesmith.lm.gguf_tokenizer import gguf_metadata
from tunesmith.lm.gguf_write import write_model
from tunesmith.lm.load import load_model
from tunesmith.lm.tokenizer import tokenizer_of_gguf
from tunesmith.stages.export.run import GGUF
from tunesmith.stages.finetune.config import ModelConfig
from tunesmith.stages.finetune.trained import prepare, trained_bytes, trained_config

NEW = ("<icd>", "<atc>")
TEXT = "Licensed <icd> under<atc> the Apache License"


@pytest.fixture
def grown(tuned: Any) -> Any:
    """A version whose adapters and new rows are random, and questions that have new tokens."""
    tiny = tuned.tiny
    config = ModelConfig(name="desk", base="tiny", dataset="tiny", new_tokens=NEW, rank=4)
    loaded = load_model(tiny.base, tiny.blobs, new_tokens=NEW)
    ids = [loaded.tokenizer.id_of(token) for token in NEW]
    trained = prepare(loaded.model, config, 1, ids)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(2)
        for parameter in trained.parameters:
            parameter += 0.1 * torch.randn_like(parameter)
    rows = [(TEXT, "mit"), ("This <atc>", "gpl-2.0"), ("<icd>", "mit")]
    return dataclasses.replace(
        tuned,
        model=dataclasses.replace(
            tuned.model,
            adapter=tiny.blobs.put(trained_bytes(trained)),
            adapter_config=tiny.blobs.put(trained_config(trained, config, tiny.base)),
            new_tokens=NEW,
        ),
        dataset=tiny.dataset(rows, rows),
    )


def expected(grown: Any) -> tuple[Any, list[int]]:
    """The tuned model, and a prompt with new tokens."""
    loaded = load_model(grown.model.base, grown.tiny.blobs, adapter=grown.model)
    prompt = prompt_ids(loaded.tokenizer, question(grown.model.instruction, TEXT))
    assert {loaded.tokenizer.id_of(token) for token in NEW} <= set(prompt)
    return loaded.model, prompt


def stock_prompt(folder: Path, grown: Any) -> list[int]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    messages = [
        {"role": message.role, "content": message.content}
        for message in question(grown.model.instruction, TEXT)
    ]
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    return list(asked)


def test_stock_transformers_loads_the_merged_folder(grown: Any, tmp_path: Path) -> None:
    folder = grown.unpack(grown.export(format="merged"), tmp_path / "out")
    model, prompt = expected(grown)

    assert stock_prompt(folder, grown) == prompt
    again = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([prompt])
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert again.lm_head.weight is again.model.embed_tokens.weight


# peft asks transformers for a property that transformers renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_peft_loads_the_adapter_folder_with_its_tokenizer(grown: Any, tmp_path: Path) -> None:
    """As docs/how-to/tune-a-model.md says."""
    folder = grown.unpack(grown.export(format="adapter"), tmp_path / "out")
    model, prompt = expected(grown)

    base = transformers.AutoModelForCausalLM.from_pretrained(grown.tiny.folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    base.resize_token_embeddings(max(len(tokenizer), base.config.vocab_size), mean_resizing=False)
    loaded = peft.PeftModel.from_pretrained(base, folder).eval()
    assert stock_prompt(folder, grown) == prompt
    ids = torch.tensor([prompt])
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("base_is_gguf", [False, True])
def test_llama_cpp_reads_new_tokens_and_answers_the_same(
    grown: Any, tmp_path: Path, llama_cpp: Any, base_is_gguf: bool
) -> None:
    if base_is_gguf:
        grown = on_gguf(grown)
    made = grown.export(format="gguf")
    model, prompt = expected(grown)

    folder = grown.unpack(made, tmp_path / "out")
    found = llama_cpp(folder / GGUF, [prompt], question(grown.model.instruction, TEXT))
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(12):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert list(found["answers"][0]["__verbose"]["tokens"]) == ids[len(prompt) :]
    assert found["chat"]["usage"]["prompt_tokens"] == len(prompt)
    read = tokenizer_of_gguf(read_header(folder / GGUF).metadata)
    assert read.decode(read.encode(TEXT)) == TEXT
    assert {read.id_of(token) for token in NEW} <= set(read.encode(TEXT))


def on_gguf(grown: Any) -> Any:
    """The same on the base model as a GGUF file."""
    base = load_model(grown.tiny.base, grown.tiny.blobs)
    path = grown.tiny.workdir / "base.gguf"
    metadata = gguf_metadata(base.tokenizer, base.model.config.vocab_size)
    write_model(path, base.model, metadata, name="tiny", quantisation="f32")
    weights = grown.tiny.blobs.put(path)
    record = dataclasses.replace(grown.model.base, weights=weights, format="gguf")
    return dataclasses.replace(grown, model=dataclasses.replace(grown.model, base=record))


def test_quantised_exports_pass_their_gate(grown: Any) -> None:
    assert grown.export(format="gguf", quantisation="q8_0").parity.verdict == "pass"


def test_an_adapter_of_llama_cpp_is_refused(grown: Any) -> None:
    with pytest.raises(UsageError, match="2 new tokens") as caught:
        grown.export(format="gguf-adapter")
    assert caught.value.remedy == 'export it as "gguf"'
