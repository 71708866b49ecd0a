"""The card of a data asset."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.core.catalog import Version
from tunesmith.records.data import DataAsset


def asset_card(record: DataAsset, ref: str, version: Version) -> Iterator[str]:
    """What people are told of a version of a data asset (Markdown), line by line."""
    yield f"# Data asset {ref}\n"
    facts = {
        "origin": record.origin,
        "licence": record.licence,
        "owner": record.owner,
        "purpose": record.purpose,
        "made": version.created_at,
        "digest of its record": version.digest,
    }
    counts = {
        "in": record.num_in,
        "out": record.num_rows,
        **({"of these repaired by people": record.num_repaired} if record.num_repaired else {}),
        "quarantined": record.num_quarantined,
        "not asked for": record.num_filtered,
        "erased": record.num_erased,
    }
    for name, value in facts.items():
        yield f"- {name}: {' '.join(str(value).split())}"
    yield "\n| rows | count |\n| --- | --- |"
    for name, count in counts.items():
        yield f"| {name} | {count} |"
    for each in record.warnings:
        yield f"\nWarning: {each}."
