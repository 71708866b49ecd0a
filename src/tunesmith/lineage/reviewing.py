"""How long people looked at the rows of each data asset, whatever review that was in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import pyarrow.parquet as pq

from tunesmith.core import evidence
from tunesmith.lineage.versions import named, readable
from tunesmith.project import Project
from tunesmith.records.review import BEGUN, DECIDED, JUDGED


def review_seconds(project: Project) -> Mapping[str, float]:
    """Data asset -> seconds of people, over all judgements and decisions of which it is known.

    The time of a row that no version of its dataset has any more, such as an erased one, counts for
    each source of the dataset in equal parts: it was spent, and nobody can tell on whose.
    """
    datasets: dict[str, str] = {}
    by_row: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    with project.runner.database.read() as connection:
        for entry in evidence.entries(connection, BEGUN, JUDGED, DECIDED):
            review = entry.body["review"]
            if entry.what == BEGUN:
                datasets[review] = entry.body["dataset"].rpartition("@")[0]
            elif seconds := entry.body["seconds"]:
                by_row[datasets[review]][entry.body["row"]] += seconds
    found: dict[str, float] = defaultdict(float)
    for dataset, rows in by_row.items():
        assets, sources = _assets(project, dataset, rows)
        for row, seconds in rows.items():
            whose = [assets[row]] if row in assets else sources
            for asset in whose:
                found[asset] += seconds / len(whose)
    return found


def _assets(
    project: Project, dataset: str, rows: Mapping[str, float]
) -> tuple[dict[str, str], list[str]]:
    """The data asset of each of the rows that a version of a dataset has, and the sources of its
    newest version."""
    found: dict[str, str] = {}
    versions = named(project, f"dataset:{dataset}")
    there = [held for held in reversed(versions) if not held.is_erased]
    for _, _, path in readable(project, there, "dataset", ("train", "test")):
        if len(found) == len(rows):
            break
        for row in pq.read_table(path, columns=["row_id", "asset"]).to_pylist():
            if row["row_id"] in rows:
                found.setdefault(row["row_id"], row["asset"])
    return found, list(versions[-1].run.identity["config"]["sources"])
