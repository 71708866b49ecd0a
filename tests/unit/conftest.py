"""A language model small enough to be made, tuned and asked in a blink."""

from __future__ import annotations

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
