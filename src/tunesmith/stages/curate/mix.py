"""How the sources are mixed: each has its share of the rows to tune on; and what came of it."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from tunesmith.core.canonical import draw
from tunesmith.core.errors import DataError
from tunesmith.records.data import DataAsset
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.rows import Row
from tunesmith.stages.curate.split import Sides


def mixed(config: DatasetConfig, sides: Sides, seed: int) -> Sides:
    """The sides with as many rows to tune on as there can be if each source is to have its share,
    to less than a row; which ones is drawn by the seed, and none is there twice.

    Raises:
        DataError: a source has no row to tune on, or a label would have none any more.
    """
    if not config.shares:
        return sides
    have = Counter(row.asset for row in sides.train)
    for name in config.shares:
        if not have[name]:
            raise DataError(
                f"dataset {config.name!r}: source {name!r} is to have a share of the rows to tune "
                "on, and has none that fits",
                remedy=f"see why: `tunesmith data dropped {config.name}` of a dataset without "
                "shares; or leave the source out",
            )
    whole = min(have[name] / share for name, share in config.shares.items())
    wanted = {
        name: max(1, math.floor(whole * share + 1e-9)) for name, share in config.shares.items()
    }
    taken: Counter[str] = Counter()
    kept: list[Row] = []
    beyond: list[Row] = []
    for row in sorted(sides.train, key=lambda row: (draw(f"{seed}\0{row.row_id}"), row.asset)):
        taken[row.asset] += 1
        (kept if taken[row.asset] <= wanted[row.asset] else beyond).append(row)
    lost = {row.label for row in beyond} - {row.label for row in kept}
    if lost:
        raise DataError(
            f"dataset {config.name!r}: with these shares no row of label {min(lost)!r} is left to "
            "tune on",
            remedy="add rows to the source with the smallest number for its share, change shares, "
            "or leave the label out",
        )
    return dataclasses.replace(sides, train=tuple(kept), unmixed=tuple(beyond))


def balance_lines(
    config: DatasetConfig, assets: Sequence[DataAsset], sides: Sides
) -> tuple[list[tuple[object, ...]], str]:
    """For the card: of each source its rows, those kept, its share; and how even labels are, where
    it has some."""
    train, test = (Counter(row.asset for row in side) for side in (sides.train, sides.test))
    total = max(len(sides.train), 1)
    lines: list[tuple[object, ...]] = [
        (
            asset.name,
            asset.num_rows,
            train[asset.name],
            test[asset.name],
            f"{train[asset.name] / total:.1%}",
            f"{config.shares[asset.name]:.1%}" if config.shares else "-",
        )
        for asset in assets
    ]
    if config.format != "labels":
        return lines, ""
    labels = Counter(row.label for row in sides.train)
    shares = [count / total for count in labels.values()]
    even = math.exp(-sum(share * math.log(share) for share in shares))
    most, least = max(labels.values()), min(labels.values())
    return lines, (
        f"\n\nThe labels of the rows to tune on are as even as {even:.1f} equal ones would be, of "
        f"{len(labels)}; the commonest has {most} rows, the rarest {least}."
    )
