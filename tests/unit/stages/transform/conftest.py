"""Data assets made on the spot, and transforms of them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset
from tunesmith.records.transform import Program, TransformedAsset
from tunesmith.stages.transform.config import TransformConfig
from tunesmith.stages.transform.run import transform

COLUMNS = ("row_id", "pointer", "text", "label", "attributes")


def row_id(source: str, number: int) -> str:
    """The id of a row of `made`."""
    return hashlib.sha256(f"{source} {number}".encode()).hexdigest()[:32]


class Desk:
    """Makes data assets in a store, and runs transforms on them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs = FolderBlobs(path / "blobs")
        self.num_runs = 0

    def asset(self, name: str, *rows: Mapping[str, Any], **facts: Any) -> DataAsset:
        """A data asset of records, whose text is `text` where they have one."""
        lines = [json.dumps(row, sort_keys=True) for row in rows]
        values = {
            "row_id": [row_id(name, number) for number, _ in enumerate(rows)],
            "pointer": [f"{name}.jsonl#{number + 1}" for number, _ in enumerate(rows)],
            "text": [row.get("text") or line for row, line in zip(rows, lines, strict=True)],
            "label": [str(row.get("label", "")) for row in rows],
            "attributes": lines,
        }
        stated = {"licence": "MIT", "owner": "desk", "purpose": "tests", "subject": ""}
        return DataAsset(
            name=name,
            rows=self.blobs.put(_parquet(values)),
            quarantine=self.blobs.put(b""),
            num_in=len(rows),
            num_rows=len(rows),
            num_quarantined=0,
            num_filtered=0,
            quarantined_by_rule={},
            origin=f"file:{name}.jsonl",
            **{**stated, **facts},
        )

    def run(self, *assets: DataAsset, **settings: Any) -> TransformedAsset:
        """Transform `assets`; `python` is the text of a file that has the function `tidy`."""
        source = settings.pop("python", "")
        program = Program(python=source, file="clean.py", function="tidy")
        if source:
            settings["python"] = "clean.py:tidy"
        else:
            program = Program(sql=settings["sql"])
        names = [asset.name for asset in assets]
        config = TransformConfig(name="made", sources=names, **settings)
        self.num_runs += 1
        workdir = self.path / f"work-{self.num_runs}"
        workdir.mkdir()
        ctx = Context(blobs=self.blobs, seed=1, workdir=workdir, keep=workdir)
        return transform(config, ctx, sources=assets, program=program)

    def rows(self, made: DataAsset, table: str = "rows") -> list[dict[str, Any]]:
        """The rows of one of its tables; of `rows` the attributes are unpacked."""
        found = pq.read_table(self.blobs.path(getattr(made, table))).to_pylist()
        for row in found:
            if "attributes" in row:
                row["attributes"] = json.loads(row["attributes"])
        return found

    def parents(self, made: TransformedAsset) -> dict[str, list[str]]:
        """What each row was made from, by the table of edges."""
        found: dict[str, list[str]] = {}
        for edge in self.rows(made, "edges"):
            found.setdefault(edge["row_id"], []).append(edge["parent"])
        return found


def _parquet(values: Mapping[str, list[str]]) -> bytes:
    sink = io.BytesIO()
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    pq.write_table(pa.table(dict(values), schema=schema), sink)
    return sink.getvalue()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk with an empty store."""
    return Desk(tmp_path)


@pytest.fixture
def id_of() -> Callable[[str, int], str]:
    """id_of(source, number) -> the id of a row of an asset of the desk."""
    return row_id
