"""Synthetic rows are let in with their record alone: what made them, asked how, from which rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq

from tunesmith.asset.row import Row
from tunesmith.core.blobs import Blobs
from tunesmith.records.data import DataAsset, seeds_of
from tunesmith.stages.ingest.entry import Quarantined, quarantined
from tunesmith.stages.ingest.rows import Rows
from tunesmith.stages.ingest.synthetic import SyntheticConfig

RULE = "synthetic-unrecorded"
_MOST_SHOWN = 3


class Recorded:
    """What has to be recorded of the rows of one source, and the rows that there are."""

    def __init__(self, config: SyntheticConfig, seeds: Sequence[DataAsset], blobs: Blobs) -> None:
        self._config, self._record = config, config.record()
        self._known: set[str] = set()
        for asset in seeds:
            table = pq.read_table(blobs.path(asset.rows), columns=["row_id"])
            self._known.update(table.column("row_id").to_pylist())

    def only(
        self, read: Iterator[Rows | Row | Quarantined | None]
    ) -> Iterator[Row | Quarantined | None]:
        """What was read, and in place of each row that is not recorded what is wrong with it."""
        for found in read:
            if isinstance(found, Rows):
                yield from map(self._judged, map(Row._make, zip(*found, strict=True)))
            else:
                yield self._judged(found) if isinstance(found, Row) else found

    def _judged(self, row: Row) -> Row | Quarantined:
        reason = self._problem(row)
        return quarantined(row.pointer, RULE, reason, row.attributes) if reason else row

    def _problem(self, row: Row) -> str:
        fields: dict[str, Any] = json.loads(row.attributes)
        for name, what in ((self._config.generator, "generator"), (self._config.prompt, "prompt")):
            value = fields.get(name)
            if not isinstance(value, str) or not value.strip():
                return f"the field {name!r}, its {what}, is missing, empty or no text"
        if not self._record.seeds:
            return ""
        seeds = seeds_of(fields.get(self._record.seeds))
        if not seeds:
            return f"the field {self._record.seeds!r}, the ids of its seeds, is missing or empty"
        unknown = [seed for seed in seeds if seed not in self._known]
        if not unknown:
            return ""
        others = f" and {len(unknown) - _MOST_SHOWN} more" if len(unknown) > _MOST_SHOWN else ""
        shown = ", ".join(seed[:40] for seed in unknown[:_MOST_SHOWN])
        return f"its seeds {shown}{others} are no rows of {', '.join(self._config.of)}"
