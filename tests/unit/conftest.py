"""A language model small enough to be made, tuned and asked in a blink."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.canonical import canonical_json
from tunesmith.core.ref import Blob
from tunesmith.core.step import Context
from tunesmith.records.data import Dataset, Split
from tunesmith.records.model import BaseModel, ModelVersion
from tunesmith.records.rows import Labelled


@dataclass(frozen=True)
class Tiny:
    """A random two-layer Llama in a folder, a store that it lies in, and rows to go with it."""

    blobs: FolderBlobs
    base: BaseModel
    folder: Path
    workdir: Path

    def context(self, seed: int = 0, **hooks: Callable[..., None]) -> Context:
        """A context on this store; `hooks` are its callbacks."""
        return Context(
            blobs=self.blobs, seed=seed, workdir=self.workdir, keep=self.workdir, **hooks
        )

    def split(self, rows: Sequence[tuple[str, str]], prefix: str = "row") -> Split:
        """Rows of (text, label) as one side of a dataset."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(
            {
                "row_id": [f"{prefix}{number:03}" for number in range(len(rows))],
                "text": pa.array([text for text, _ in rows], pa.string()),
                "label": pa.array([label for _, label in rows], pa.string()),
                "content": [
                    canonical_json(Labelled(text=text, label=label)).decode()
                    for text, label in rows
                ],
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

    def version(self, adapter: Blob, adapter_config: Blob, **changes: Any) -> ModelVersion:
        """A model version of the tiny model, of which only the weights matter."""
        empty = self.blobs.put(b"")
        fields: dict[str, Any] = {
            "name": "desk",
            "objective": "sft",
            "method": "lora",
            "instruction": "Name the licence.",
            "labels": (),
            "certificate": empty,
            "curve": empty,
            "num_steps": 0,
            "num_trained_tokens": 0,
            "num_labelled_tokens": 0,
            "num_trainable": 0,
            "num_parameters": 0,
            "first_loss": 0.0,
            "last_loss": 0.0,
        }
        return ModelVersion(
            base=self.base, adapter=adapter, adapter_config=adapter_config, **fields | changes
        )


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


@dataclass(frozen=True)
class Readers:
    """Tiny models whose states are read, and rows for them, in the store of `tiny`."""

    tiny: Tiny
    folder: Path

    def encoder(self, kind: str, **settings: Any) -> BaseModel:
        """A random two-layer "bert" or "modernbert" in a folder of that name; `cls` is the name of
        the class that it is saved as."""
        import torch
        import transformers

        folder = self.folder / kind
        folder.mkdir(exist_ok=True)
        core = _word_pieces()
        core.save(str(folder / "tokenizer.json"))
        ids = {f"{name}_token_id": core.token_to_id(f"[{name.upper()}]") for name in SPECIAL}
        sizes: dict[str, Any] = {
            "vocab_size": core.get_vocab_size(),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
            "initializer_range": 0.2,
            "pad_token_id": ids["pad_token_id"],
        }
        if kind == "modernbert":
            sizes |= {**ids, "local_attention": 8, "bos_token_id": None, "eos_token_id": None}
            sizes |= {"layer_types": ["sliding_attention", "full_attention"]}
        saved_as = settings.pop("cls", transformers.AutoModel)
        config = transformers.AutoConfig.for_model(kind, **sizes | settings)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            saved_as.from_config(config).save_pretrained(folder)
        return self.zipped(folder)

    def zipped(self, folder: Path) -> BaseModel:
        """The model of a folder, in the store."""
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))
        return BaseModel(
            name=folder.name,
            origin="folder",
            licence="MIT",
            weights=self.tiny.blobs.put(sink.getvalue()),
            format="folder",
        )

    def dataset(self, contents: Sequence[Any], labels: Sequence[str] = ()) -> Dataset:
        """A dataset of rows of one of the formats in `records.rows`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from tunesmith.core.canonical import canonical_json
        from tunesmith.records.rows import FORMATS

        table = pa.table(
            {
                "row_id": [f"row{number:03}" for number in range(len(contents))],
                "text": [str(getattr(content, "text", "")) for content in contents],
                "label": [str(getattr(content, "label", "")) for content in contents],
                "content": [canonical_json(content).decode() for content in contents],
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink)
        split = Split(
            rows=self.tiny.blobs.put(sink.getvalue()), num_rows=len(contents), num_tokens=0
        )
        (form,) = {name for name, kind in FORMATS.items() if kind is type(contents[0])}
        empty = self.tiny.dataset([], labels=labels)
        return dataclasses.replace(empty, train=split, num_in=len(contents), format=form)


TEXTS = [
    "Permission is hereby granted, free of charge, to any person obtaining a copy of software.",
    "This program is free software under the GNU General Public License, version 2 or later.",
    "Licensed under the Apache License, Version 2.0; you may not use this file otherwise.",
]
SPECIAL = ("pad", "unk", "cls", "sep", "mask")


def _word_pieces() -> Any:
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

    names = [f"[{name.upper()}]" for name in SPECIAL]
    core = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=180, special_tokens=names, show_progress=False)
    core.train_from_iterator(TEXTS, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, core.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return core


@pytest.fixture
def readers(tiny: Tiny, tmp_path: Path) -> Readers:
    """Tiny encoders beside the tiny decoder."""
    folder = tmp_path / "readers"
    folder.mkdir()
    return Readers(tiny=tiny, folder=folder)


@pytest.fixture
def exact_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers takes the norm of a model in float64 in float32; here it does not, so that what
    is left of a difference is the engine's."""
    import torch
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    def forward(self: Any, x: Any) -> Any:
        inverse = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * (x * inverse)

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)
