"""Synthetic rows of a dataset: beside the rows that they were made from, counted apart, limited."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from tunesmith.core.canonical import sha256
from tunesmith.core.errors import DataError
from tunesmith.records.data import DataAsset
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Dropped, Row
from tunesmith.stages.curate.split import Sides

GENERATED = "synthetic, beside a row that is tested on"
_MOST_LINES = 50


def beside_their_seeds(
    rows: Sequence[Row], dropped: Sequence[Dropped], reasons: Sequence[str]
) -> list[tuple[int, int]]:
    """Pairs of `rows`, by position, that join synthetic ones with what they were made from, and
    with what else was made from it.

    A seed that was dropped as a duplicate, for one of `reasons`, stands for the row that stayed.
    """
    if not any(row.seeds for row in rows):
        return []
    stayed = {each.row_id: each.detail for each in dropped if each.reason in reasons}
    edges = []
    latest: dict[str, int] = {}
    for place, row in enumerate(rows):
        for seed in (row.row_id, *row.seeds):
            seen = {seed}
            while (kept := stayed.get(seed)) and kept not in seen:
                seed = kept
                seen.add(seed)
            if seed in latest:
                edges.append((latest[seed], place))
            latest[seed] = place
    return edges


def require_share(config: DatasetConfig, sides: Sides) -> None:
    """See to it that no more rows to tune on are synthetic than may be.

    Raises:
        DataError: more are.
    """
    num = sum(row.is_synthetic for row in sides.train)
    if num > config.max_synthetic * len(sides.train):
        raise DataError(
            f"dataset {config.name!r}: {num} of the {len(sides.train)} rows to tune on are "
            f"synthetic ({num / len(sides.train):.1%}), and max_synthetic is "
            f"{config.max_synthetic:g}",
            remedy="add rows that were not generated, take fewer synthetic ones (`where` of their "
            "source), or raise max_synthetic, if whoever answers for the model agrees",
        )


def synthetic_section(
    assets: Sequence[DataAsset], sides: Sides
) -> tuple[str, list[tuple[object, ...]]]:
    """What the card says of synthetic rows, and its table: a line for each prompt."""
    made = {asset.name: asset.synthetic for asset in assets if asset.synthetic}
    num_seeds = {row.row_id: len(row.seeds) for row in (*sides.train, *sides.test)}
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for name, side in (("train", sides.train), ("test", sides.test)):
        for row in side:
            if record := made.get(row.asset):
                fields: Mapping[str, str] = json.loads(row.attributes)
                prompt = sha256(fields[record.prompt].encode())[:12]
                line = (row.asset, fields[record.generator], prompt)
                counts.setdefault(line, Counter()).update({name: 1, "seeds": num_seeds[row.row_id]})
    lines: list[tuple[object, ...]] = [
        (*line, count["train"], count["test"], count["seeds"])
        for line, count in sorted(counts.items(), key=lambda each: (-each[1].total(), each[0]))
    ]
    train = sum(row.is_synthetic for row in sides.train)
    test = sum(row.is_synthetic for row in sides.test)
    share = f"{train} of the {len(sides.train)} rows to tune on ({train / len(sides.train):.1%})"
    said = f"""{share} and {test} of the {len(sides.test)} to test on were
generated, by what and how is recorded of each. They are on the side of the rows that they were made
from; {len(sides.generated)} were left out for being beside a row that is tested on."""
    if len(lines) > _MOST_LINES:
        said += f" Of {len(lines)} prompts the {_MOST_LINES} with most rows are listed."
    return said, lines[:_MOST_LINES]
