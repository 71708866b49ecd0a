"""A context, a tiny base model's tokenizer, and data assets made on the spot."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.records.model import BaseModel

TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)
"""A conversation costs eight tokens, and one for every word of the three contents."""
OVERHEAD = 9


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    workdir = tmp_path / "work"
    workdir.mkdir()
    return Context(blobs=FolderBlobs(tmp_path / "blobs"), seed=1, workdir=workdir, keep=workdir)


@pytest.fixture
def base(ctx: Context) -> BaseModel:
    """A base model whose tokens are words."""
    core = tokenizers.Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tokenizer.json", core.to_str())
        archive.writestr(
            "tokenizer_config.json",
            json.dumps({"chat_template": TEMPLATE, "eos_token": "<|im_end|>"}),
        )
        archive.writestr("config.json", "{}")
    return BaseModel(
        name="words",
        origin="pypi:words==1.0",
        licence="Apache-2.0",
        weights=ctx.blobs.put(buffer.getvalue(), "application/zip"),
        format="folder",
    )


@pytest.fixture
def make_asset(ctx: Context) -> Callable[..., DataAsset]:
    """make_asset([(text, label), ...], name="notices") -> a data asset in the context's blobs.

    `fields` are those of each row's record, beside text and label.
    """

    def make(
        rows: Sequence[tuple[str, str]],
        name: str = "notices",
        fields: Sequence[dict[str, Any]] = (),
        subject: str = "",
    ) -> DataAsset:
        columns: dict[str, list[str]] = {
            "row_id": [
                hashlib.sha256(f"{name}{i}{text}".encode()).hexdigest()[:32]
                for i, (text, _) in enumerate(rows)
            ],
            "pointer": [f"{name}/{i:04}" for i in range(len(rows))],
            "text": [text for text, _ in rows],
            "label": [label for _, label in rows],
            "attributes": [json.dumps(each) for each in fields or [{}] * len(rows)],
        }
        sink = io.BytesIO()
        pq.write_table(pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()}), sink)
        return DataAsset(
            name=name,
            rows=ctx.blobs.put(sink.getvalue()),
            quarantine=ctx.blobs.put(b""),
            num_in=len(rows),
            num_rows=len(rows),
            num_quarantined=0,
            num_filtered=0,
            quarantined_by_rule={},
            licence="CC-BY-4.0",
            owner="the team",
            purpose="tests | and more",
            origin=f"pypi:{name}==1.0",
            subject=subject,
        )

    return make


@pytest.fixture
def records(ctx: Context) -> Callable[..., DataAsset]:
    """records([{...}, ...]) -> a data asset whose rows have these fields and no text of their own,
    as ingest makes it."""

    def make(fields: Sequence[dict[str, Any]], texts: Sequence[str] | None = None) -> DataAsset:
        attributes = [json.dumps(each, sort_keys=True, separators=(",", ":")) for each in fields]
        ids = [
            hashlib.sha256(f"{i}{a}".encode()).hexdigest()[:32] for i, a in enumerate(attributes)
        ]
        columns = {
            "row_id": ids,
            "pointer": [f"rows.jsonl#{i + 1}" for i in range(len(fields))],
            "text": texts or attributes,
            "label": [""] * len(fields),
            "attributes": attributes,
        }
        sink = io.BytesIO()
        pq.write_table(pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()}), sink)
        empty = ctx.blobs.put(b"")
        return DataAsset(
            name="rows", rows=ctx.blobs.put(sink.getvalue()), quarantine=empty, num_in=len(fields),
            num_rows=len(fields), num_quarantined=0, num_filtered=0, quarantined_by_rule={},
            licence="CC0-1.0", owner="us", purpose="tests", origin="file:rows.jsonl",
        )  # fmt: skip

    return make
