"""A tuned tiny model, and llama.cpp to ask what was exported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from tunesmith.core.step import Context
from tunesmith.lm.chat_template import question
from tunesmith.lm.engine import Message
from tunesmith.records.data import Dataset
from tunesmith.records.export import Export
from tunesmith.records.model import ModelVersion
from tunesmith.stages.export.config import ExportConfig
from tunesmith.stages.export.run import export

INSTRUCTION = "Name the licence."
ROWS = [
    ("Permission is hereby granted, 2007.", "mit"),
    ("This program is free software, version 2 or later.", "gpl-2.0-plus"),
    ("Licensed under the Apache License.", "apache-2.0"),
    ("GNU General Public License, version 2", "gpl-2.0"),
]
LLAMA_CPP = """
import json, sys
import xllamacpp
asked = json.loads(sys.argv[1])
params = xllamacpp.CommonParams()
params.model.path = asked["model"]
params.n_ctx = 256
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.warmup = False
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
if asked["adapter"]:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path = asked["adapter"]
    adapter.scale = 1.0
    params.lora_adapters = [adapter]
server = xllamacpp.Server(params)
greedy = {"temperature": 0, "n_predict": 12, "logprobs": 20, "return_tokens": True, "verbose": True}
answers = [server.handle_completions(greedy | {"prompt": prompt}) for prompt in asked["prompts"]]
chat = {"messages": asked["messages"], "temperature": 0, "max_tokens": 12}
print("ANSWERS" + json.dumps({"answers": answers, "chat": server.handle_chat_completions(chat)}))
"""


@dataclass(frozen=True)
class Tuned:
    """A tiny model with an adapter that changes it, made and applied by the PEFT library."""

    tiny: Any
    model: ModelVersion
    dataset: Dataset
    stock: Any
    """transformers' base model, wrapped by PEFT; not merged."""

    def context(self, **hooks: Any) -> Context:
        """A context with an empty folder to work in."""
        shutil.rmtree(self.tiny.workdir)
        self.tiny.workdir.mkdir()
        context: Context = self.tiny.context(**hooks)
        return context

    def export(self, **settings: Any) -> Export:
        """The export with `settings`, of three prompts."""
        config = ExportConfig(num_prompts=3, **settings)
        return export(config, self.context(), model=self.model, dataset=self.dataset)

    def unpack(self, made: Export, folder: Path) -> Path:
        """The files of an export, in a folder."""
        folder.mkdir()
        for name, blob in made.files.items():
            (folder / name).write_bytes(self.tiny.blobs.get(blob))
        return folder

    @torch.inference_mode()
    def greedy(self, prompt: Sequence[int], limit: int) -> list[int]:
        """The ids that PEFT's model answers with, the prompt read again for each."""
        ids = list(prompt)
        for _ in range(limit):
            ids.append(int(self.stock(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        return ids[len(prompt) :]


def adapt(tiny: Any, folder: Path, **settings: Any) -> Tuned:
    """Tune `tiny` by giving every linear layer of the decoder a random adapter."""
    stock = transformers.AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=6, target_modules="all-linear", **settings
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        with warnings.catch_warnings():  # PEFT asks transformers for what is to be renamed
            warnings.simplefilter("ignore", FutureWarning)
            wrapped = peft.get_peft_model(stock, config).eval()
        for name, parameter in wrapped.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(parameter, std=0.3)
    wrapped.save_pretrained(folder)
    model = tiny.version(
        tiny.blobs.put(folder / "adapter_model.safetensors"),
        tiny.blobs.put(folder / "adapter_config.json"),
        instruction=INSTRUCTION,
        labels=("apache-2.0", "gpl-2.0", "gpl-2.0-plus", "mit"),
    )
    return Tuned(tiny=tiny, model=model, dataset=tiny.dataset(ROWS, ROWS), stock=wrapped)


@pytest.fixture
def tuned(tiny: Any, tmp_path: Path) -> Tuned:
    """The tiny model with a rank-stabilised LoRA adapter."""
    return adapt(tiny, tmp_path / "peft", use_rslora=True)


@pytest.fixture
def dora(tiny: Any, tmp_path: Path) -> Tuned:
    """The tiny model with a DoRA adapter."""
    return adapt(tiny, tmp_path / "peft", use_dora=True)


def ask_llama_cpp(
    model: Path,
    prompts: Sequence[Sequence[int]],
    messages: Sequence[Message] = (),
    adapter: Path | None = None,
) -> dict[str, Any]:
    """What llama.cpp answers greedily to prompts of ids and to one conversation.

    It runs in a process of its own: it prints, and keeps threads.
    """
    asked = {
        "model": str(model),
        "adapter": str(adapter or ""),
        "prompts": [list(prompt) for prompt in prompts],
        "messages": [
            {"role": message.role, "content": message.content}
            for message in messages or question("a", "b")
        ],
    }
    done = subprocess.run(
        [sys.executable, "-c", LLAMA_CPP, json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    _, marker, found = done.stdout.rpartition("ANSWERS")
    assert marker, done.stderr[-3000:]
    answers: dict[str, Any] = json.loads(found)
    return answers


@pytest.fixture
def llama_cpp() -> Callable[..., dict[str, Any]]:
    """`ask_llama_cpp`."""
    return ask_llama_cpp
