"""What a plan says would be dropped is what curation drops, for the reasons that it gives."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tunesmith.core.step import Context
from tunesmith.expected.sample import estimated
from tunesmith.records.data import DataAsset
from tunesmith.records.model import BaseModel
from tunesmith.records.review import UNUSABLE, Agreement, ReviewedLabels
from tunesmith.stages.curate.config import READ_BY, DatasetConfig
from tunesmith.stages.curate.run import curate

FOR_OTHERS = {
    "exact duplicate",
    "near duplicate",
    "over the cap",
    "belongs to an earlier row",
}
"""Reasons that are in other rows, which no preview looks at."""
WORDS = ["water", "fire", "river", "house", "street", "garden", "window", "people", "morning"]
WORDS += [
    "evening",
    "letter",
    "number",
    "winter",
    "summer",
    "doctor",
    "driver",
    "teacher",
    "candle",
]
WORDS += ["kitchen", "station", "village", "mountain", "bridge", "market", "paper", "basket", "tea"]
KINDS = ("good", "short", "long", "masked", "german", "symbols", "undated", "compound", "unread")


def row(kind: str, number: int) -> dict[str, Any]:
    """A row that is like no other, of a kind that curation may drop."""
    draw = random.Random(number)
    text = f"The {' and the '.join(draw.choices(WORDS, k=12))} were here."
    match kind:
        case "short":
            text = f"the end {number}"
        case "long":
            text = " ".join(draw.choices(WORDS, k=200))
        case "masked":  # is too short without the address
            text = f"{number} anna{number:06}@example.org"
        case "german":
            nouns = draw.choices(["Wasser", "Feuer", "Haus", "Strasse", "Garten", "Brief"], k=9)
            text = f"Gestern waren {number} Leute hier und {' und das '.join(nouns)} auch nicht."
        case "symbols":
            text = " ".join(f"# {word} ..." for word in draw.choices(WORDS, k=12))
    made = {
        "text": text,
        "label": ("fire", "flood")[number % 2] + (" AND rain" if kind == "compound" else ""),
        "day": "" if kind == "undated" else f"2026-0{1 + number % 9}-01",
    }
    return {"day": made["day"], "other": 7} if kind == "unread" else made


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "languages": st.just(["en"]),
        "quality": st.just(["symbols", "few-letters"]),
        "pii": st.sampled_from(["off", "mask", "pseudonymise"]),
        "dates": st.just({"date": "day", "test_from": "2026-06-01"}),
        "min_chars": st.just(30),
    },
)


EVERY_SETTING = {
    "languages": ["en"],
    "quality": ["symbols", "few-letters"],
    "dates": {"date": "day", "test_from": "2026-06-01"},
    "min_chars": 30,
}


def config(format: str, drawn: dict[str, Any]) -> DatasetConfig:
    said = {"name": "set", "sources": ["rows"], "base": "words", "max_tokens": 100, **drawn}
    said |= said.pop("dates", {})
    if said.get("pii") == "pseudonymise":
        said["pii_key_file"] = "key"
    if format == "labels":
        said |= {"num_labels": 2, "train_per_label": 400, "test_per_label": 400, "instruction": "?"}
    elif format == "completion":
        said["columns"] = {"prompt": "text", "completion": "label"}
    read = {key: each for key, each in said.items() if format in READ_BY.get(key, (format,))}
    return DatasetConfig.model_validate({**read, "format": format})


def a_review(format: str, rows: list[str]) -> ReviewedLabels:
    return ReviewedLabels(
        review="kinds",
        labels=dict.fromkeys(rows, UNUSABLE),
        per_row=2,
        num_adjudicated=0,
        guidelines=("f" * 64,),
        alpha=Agreement(what="alpha", num_rows=9, value=1.0, low=None, high=None),
        format=format,
    )


@pytest.mark.parametrize("format", ["labels", "completion", "text"])
def test_a_preview_drops_what_a_run_drops_and_says_the_same_of_it(
    ctx: Context,
    base: BaseModel,
    make_asset: Callable[..., DataAsset],
    tmp_path: Path,
    format: str,
) -> None:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    (tmp_path / "key").chmod(0o600)
    ctx = dataclasses.replace(ctx, project=tmp_path)
    seen: set[str] = set()

    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
    )
    @given(st.lists(st.sampled_from(KINDS), max_size=12), SETTINGS, st.booleans())
    @example(list(KINDS), EVERY_SETTING, True)
    def law(kinds: list[str], drawn: dict[str, Any], is_reviewed: bool) -> None:
        if format == "labels":
            kinds = [kind for kind in kinds if kind != "unread"]  # it takes a label
        rows = [row(kind, number) for number, kind in enumerate([*["good"] * 24, *kinds])]
        asset = make_asset([(r.get("text", ""), r.get("label", "")) for r in rows], "rows", rows)
        of = config(format, drawn)
        reviewed = None
        if is_reviewed:
            ids = pq.read_table(ctx.blobs.path(asset.rows))["row_id"].to_pylist()
            reviewed = a_review(format, ids[:1] if format == "labels" else [])
            of = of.model_copy(update={"reviewed": "kinds"})
        made = curate(of, ctx, assets=(asset,), base=base, reviewed=reviewed)
        told = estimated(of, ctx.seed, (asset,), base, ctx.blobs, reviewed)

        dropped = dict(made.dropped_by_reason)
        not_wanted = dropped.pop("compound label", 0)  # rows that are not sampled
        own = {reason: num for reason, num in dropped.items() if reason not in FOR_OTHERS}
        assert told.dropped_by_reason == own
        assert told.num_sampled == told.num_in == made.num_in - not_wanted
        seen.update(own)

    law()
    common = {"language not listed", "low quality", "no date", "too long"}
    assert (
        seen
        >= {
            "labels": common | {"too short", "unusable, say reviewers"},
            "text": (common | {"too short", "not in the format"}) - {"too long"},
            "completion": common | {"not in the format"},
        }[format]
    )
