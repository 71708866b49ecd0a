"""Tables as files in a folder: Parquet, JSON lines, CSV, or what Hugging Face's library loads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import yaml

from tunesmith.core.blobs import sync
from tunesmith.stages.load_out.table import Table

FileFormat = Literal["parquet", "jsonl", "csv", "huggingface"]
CARD = "_card.md"
"""Software that reads a folder of tables passes over names that begin so."""
_HUB = (
    *("apache-2.0", "mit", "isc", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "epl-2.0"),
    *("gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "gfdl", "unlicense"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0"),
    *("pddl", "odc-by", "odbl", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
)
"""Licences that the hub's cards know, of those that data have."""


def write_files(
    folder: Path,
    format: FileFormat,
    tables: Mapping[str, Table],
    *,
    name: str,
    card: str,
    licences: Sequence[str],
) -> None:
    """Write `tables`, by the side of the split, and `card` (Markdown) into `folder`; all of it is
    on the disk when this returns. A data asset has one side, which bears its `name`."""
    if format == "huggingface":
        # What has no split is "train" there, and a split's name may have no dash.
        tables = {"train" if side == name else side: table for side, table in tables.items()}
        (folder / "data").mkdir()
        for side, table in tables.items():
            _parquet(folder / "data" / f"{side}.parquet", table)
        head = yaml.safe_dump(_head(name, tables, licences), sort_keys=False, allow_unicode=True)
        (folder / "README.md").write_text(f"---\n{head}---\n\n{card}", encoding="utf-8")
    else:
        write = {"parquet": _parquet, "jsonl": _json_lines, "csv": _csv}[format]
        for side, table in tables.items():
            write(folder / f"{side}.{format}", table)
        (folder / CARD).write_text(card, encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        sync(path)


def _parquet(path: Path, table: Table) -> None:
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for batch in table.batches():
            writer.write_batch(batch)


def _json_lines(path: Path, table: Table) -> None:
    with path.open("w", encoding="utf-8") as target:
        for row in table.rows():
            target.write(json.dumps(row, ensure_ascii=False) + "\n")


def _csv(path: Path, table: Table) -> None:
    """Every text in quotes, so that an empty one is told from one that is not there."""
    with pa.OSFile(str(path), "wb") as target, pc.CSVWriter(target, table.flat_schema) as writer:
        for batch in table.flat_batches():
            writer.write_batch(batch)


def _head(name: str, tables: Mapping[str, Table], licences: Sequence[str]) -> dict[str, object]:
    """The card's metadata: which files are which split, and under which licence they are."""
    known = [each.lower() for each in licences if each.lower() in _HUB]
    if licences and len(known) == len(licences):
        licence: dict[str, object] = {"license": known[0] if len(known) == 1 else known}
    else:
        licence = {"license": "other", "license_name": " AND ".join(licences) or "not stated"}
    files = [{"split": side, "path": f"data/{side}.parquet"} for side in tables]
    return {
        "pretty_name": name,
        **licence,
        "configs": [{"config_name": "default", "data_files": files}],
    }
