"""A language model small enough to be made, tuned and asked in a blink."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset, Split
from tunesmith.records.model import BaseModel

TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a default.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "Name the licence. Permission is hereby granted under the MIT licence, 2007.",
    "This program is free software under the GNU General Public License, version 2 or later.",
    "system user assistant mit gpl-2.0 gpl-2.0-plus apache-2.0 Licensed under the Apache License",
]


@dataclass(frozen=True)
class Tiny:
    """A random two-layer Llama in a folder, a store that it lies in, and rows to go with it."""

    blobs: FolderBlobs
    base: BaseModel
    folder: Path
    workdir: Path

    def context(self, seed: int = 0, **hooks: Callable[..., None]) -> Context:
        """A context on this store; `hooks` are its callbacks."""
        return Context(blobs=self.blobs, seed=seed, workdir=self.workdir, **hooks)

    def split(self, rows: Sequence[tuple[str, str]], prefix: str = "row") -> Split:
        """Rows of (text, label) as one side of a dataset."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(
            {
                "row_id": [f"{prefix}{number:03}" for number in range(len(rows))],
                "text": pa.array([text for text, _ in rows], pa.string()),
                "label": pa.array([label for _, label in rows], pa.string()),
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return Split(rows=self.blobs.put(sink.getvalue()), num_rows=len(rows), num_tokens=0)

    def dataset(
        self,
        train: Sequence[tuple[str, str]],
        test: Sequence[tuple[str, str]] = (),
        labels: Sequence[str] = (),
    ) -> Dataset:
        """A dataset of (text, label) rows."""
        empty = self.blobs.put(b"")
        found = {label for _, label in [*train, *test]} | set(labels)
        return Dataset(
            name="tiny",
            instruction="Name the licence.",
            labels=tuple(sorted(found)),
            train=self.split(train),
            test=self.split(test, "test"),
            dropped=empty,
            num_in=len(train) + len(test),
            num_dropped=0,
            dropped_by_reason={},
            num_components=len(train) + len(test),
            card=empty,
            licences=(),
        )


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.json, model.safetensors, tokenizer.json and tokenizer_config.json."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=tokenizer.token_to_id("<|im_start|>"),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),  # its embedding is set to zero
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path, tmp_path: Path) -> Iterator[Tiny]:
    """The tiny model in a store of this test's own, on one thread: more would only wait."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    blobs = FolderBlobs(tmp_path / "blobs")
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in sorted(tiny_folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    base = BaseModel(
        name="tiny",
        origin="pypi:tiny==1",
        licence="Apache-2.0",
        weights=blobs.put(sink.getvalue()),
        format="folder",
    )
    workdir = tmp_path / "work"
    workdir.mkdir()
    yield Tiny(blobs=blobs, base=base, folder=tiny_folder, workdir=workdir)
    torch.set_num_threads(num_threads)


def _tokenizer() -> Any:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer
