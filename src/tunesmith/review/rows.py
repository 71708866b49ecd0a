"""The rows of a review, read from the versions of its dataset."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import pyarrow.parquet as pq

from tunesmith.core import erasure
from tunesmith.core.canonical import draw, parse
from tunesmith.core.errors import NotFound
from tunesmith.core.ref import from_plain
from tunesmith.lineage.versions import Held, named, path_of, readable
from tunesmith.project import Project
from tunesmith.records.data import Dataset
from tunesmith.records.rows import FORMATS, Content, Text
from tunesmith.review.log import Log
from tunesmith.sections import ReviewConfig
from tunesmith.stages.curate.doubts import doubtful_rows
from tunesmith.stages.curate.verdicts import content_digest

SIDES = ("train", "test")


def versions(project: Project, dataset: str) -> list[Held]:
    """The versions of a dataset whose rows are still there, oldest first."""
    found = [held for held in named(project, f"dataset:{dataset}") if not held.is_erased]
    if not found:
        raise NotFound(
            f"every version of dataset {dataset!r} was erased", remedy="cut it: `tunesmith run`"
        )
    return found


def ordered(
    project: Project, config: ReviewConfig, held: Held, contents: Mapping[str, Content]
) -> list[str]:
    """All rows of a version, in the order in which they are to be looked at."""
    assert isinstance(held.record, Dataset)
    seed = project.file.project.seed
    drawn = sorted(contents, key=lambda row: draw(f"{seed}:{config.name}:{row}"))
    if config.order == "drawn" or held.record.format != "labels":
        return drawn
    doubtful = [row.row_id for row in doubtful_rows(held.record, project.runner.blobs)]
    return list(dict.fromkeys((*doubtful, *drawn)))


def contents_of(project: Project, dataset: str, log: Log) -> dict[str, Content]:
    """The rows of a review that a version of the dataset still has, of the newest such one. A
    version that was collected as garbage is passed over."""
    every = [
        held
        for held in reversed(versions(project, dataset))
        if isinstance(held.record, Dataset) and held.record.format == log.format
    ]
    found: dict[str, Content] = {}
    for _, _, path in readable(project, every, "dataset", SIDES):
        for row, content in _rows(path, log.format):
            if row in log.rows and log.contents.get(row) in (None, content_digest(content)):
                found.setdefault(row, content)
        if len(found) == len(log.rows):
            break
    return found


def read(project: Project, held: Held, form: str) -> Iterator[tuple[str, Content]]:
    """Id and content of each row of a version, of both sides."""
    for side in SIDES:
        yield from _rows(str(path_of(project, held, side)), form)


def _rows(path: str, form: str) -> Iterator[tuple[str, Content]]:
    column = "text" if form == "labels" else "content"
    for row in pq.read_table(path, columns=["row_id", column]).to_pylist():
        if form == "labels":
            yield row["row_id"], Text(text=row["text"])
        else:
            yield row["row_id"], from_plain(FORMATS[form], parse(row["content"].encode()))


def in_doubt(project: Project, log: Log, settled: Collection[str]) -> set[str]:
    """Rows of which a correction was erased, that were neither settled since nor erased themselves:
    somebody said that they are wrong, and nobody knows what they should be.

    Raises:
        StoreError: see `erased`.
    """
    lost = {each.row for each in log.lost} - {*settled}
    return lost - erased(project, lost)


def erased(project: Project, wanted: Iterable[str]) -> set[str]:
    """Those of the row ids that were erased for somebody's sake, as the evidence tells by keyed
    digests.

    Raises:
        StoreError: the key is not there.
    """
    with project.runner.database.read() as connection:
        told = {each for of in erasure.read(connection).rows.values() for each in of}
    if not told:
        return set()
    key = erasure.key_of(project.store)
    return {row for row in wanted if erasure.keyed(key, "row", row) in told}
