"""Verdicts that people settled on rows without labels, applied to what the sources say."""

from __future__ import annotations

import io
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import DataError
from tunesmith.records.review import Agreement, ReviewedLabels
from tunesmith.records.rows import Completion, Feedback, Pair, Preference
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.reviewed import REFUSED
from tunesmith.stages.curate.rows import read_rows
from tunesmith.stages.curate.run import curate
from tunesmith.stages.curate.verdicts import content_digest, in_order

ALPHA = Agreement(what="Krippendorff's alpha", num_rows=4, value=0.6, low=0.4, high=0.8)
WORDS = [
    f"{first}{second}" for first in ("am", "bir", "ce") for second in ("ber", "ch", "dar", "ry")
]


def config(form: str, **settings) -> DatasetConfig:
    base = {"name": "answers", "sources": ["rows"], "base": "words", "reviewed": "kinds"}
    return DatasetConfig(**{**base, "format": form, "test_rows": 1, **settings})


def reviewed(form: str, said: dict, contents: dict, corrections: dict) -> ReviewedLabels:
    return ReviewedLabels(
        review="kinds", labels=said, per_row=2, num_adjudicated=1, guidelines=("f" * 64,),
        alpha=ALPHA, format=form, contents=contents, corrections=corrections,
    )  # fmt: skip


def kept(ctx, made) -> dict[str, dict]:
    sides = [pq.read_table(io.BytesIO(ctx.blobs.get(s.rows))) for s in (made.train, made.test)]
    return {row["row_id"]: json.loads(row["content"]) for side in sides for row in side.to_pylist()}


def dropped(ctx, made) -> dict[str, dict]:
    table = pq.read_table(io.BytesIO(ctx.blobs.get(made.dropped)))
    return {row["row_id"]: row for row in table.to_pylist()}


def cut(ctx, base, asset, form, say, texts=None, kind=None, **settings):
    """The dataset of `asset` after `say(place, content)` said what each row is; and the ids."""
    rows = list(read_rows([asset], ctx.blobs))
    said, contents, corrections = {}, {}, {}
    for place, row in enumerate(rows):
        content = kind(**json.loads(row.attributes))
        if verdict := say(place, content):
            said[row.row_id], contents[row.row_id] = verdict, content_digest(content)
        if text := (texts or {}).get(place):
            body = {"content": text, "salt": "s"}
            corrections[row.row_id] = ctx.blobs.put(canonical_json(body))
    given = reviewed(form, said, contents, corrections)
    settings = config(form, **settings)
    made = curate(settings, ctx, assets=(asset,), base=base, reviewed=given)
    return made, [row.row_id for row in rows]


def completions(num: int = 6) -> list[dict]:
    return [
        {"prompt": f"{WORDS[n]} {WORDS[n + 1]} {WORDS[n + 2]} is", "completion": f"{WORDS[n]}."}
        for n in range(num)
    ]


def test_accepted_rows_stay_corrected_ones_are_as_corrected_and_rejected_ones_are_out(
    ctx, base, records
):
    asset = records(completions())
    verdicts = {0: "accepted", 1: "corrected", 2: "rejected"}
    made, ids = cut(
        ctx, base, asset, "completion", lambda place, _: verdicts.get(place, ""),
        {1: Completion(prompt="birch cedar dune is", completion="a row of trees.")}, Completion,
    )  # fmt: skip
    assert made.num_in == 6 == made.train.num_rows + made.test.num_rows + made.num_dropped
    found = kept(ctx, made)
    assert set(found) == {*ids} - {ids[2]}
    assert found[ids[1]]["completion"] == "a row of trees."
    assert found[ids[0]] == completions()[0]
    gone = dropped(ctx, made)
    assert (gone[ids[2]]["reason"], gone[ids[2]]["detail"]) == (REFUSED, "review kinds: rejected")
    card = ctx.blobs.get(made.card).decode()
    for line in (
        "3 rows were judged by 2 people each",
        "| confirmed | 1 |",
        "| corrected | 1 |",
        "| left out | 1 |",
        "| not in the sources any more, or changed there | 0 |",
    ):
        assert line in card
    assert "Doubtful" not in card


def test_a_verdict_is_on_what_was_judged_and_on_its_copies(ctx, base, records):
    """A row that says something else now, as when `columns` name other fields, is as it was."""
    rows = [*completions(), completions()[2]]
    asset = records(rows)

    def say(place, content):
        return {2: "rejected", 3: "rejected"}.get(place, "")

    made, ids = cut(ctx, base, asset, "completion", say, None, Completion)
    assert {ids[2], ids[3], ids[6]} == {
        row for row, each in dropped(ctx, made).items() if each["reason"] == REFUSED
    }
    assert "| not looked at, same text as one that was | 1 |" in ctx.blobs.get(made.card).decode()
    swapped, ids = cut(
        ctx, base, asset, "completion", say, None, Completion,
        columns={"prompt": "completion", "completion": "prompt"},
    )  # fmt: skip
    assert REFUSED not in swapped.dropped_by_reason
    assert "or changed there | 2 |" in ctx.blobs.get(swapped.card).decode()


def test_of_two_answers_the_better_one_is_chosen_and_ties_are_out(ctx, base, records):
    rows = [
        {"prompt": f"{WORDS[n]} or {WORDS[n + 1]}", "chosen": WORDS[n], "rejected": WORDS[n + 1]}
        for n in range(8)
    ]
    asset = records(rows)

    def say(place, content):
        if place in (6, 7):
            return "tie" if place == 6 else "neither"
        wanted = content.chosen if place < 3 else content.rejected
        return ("first", "second")[in_order(content).index(wanted)]

    made, ids = cut(ctx, base, asset, "preference", say, None, Preference)
    found = kept(ctx, made)
    assert set(found) == {*ids[:6]}
    for place, row in enumerate(ids[:6]):
        before = rows[place]
        wanted = "chosen" if place < 3 else "rejected"
        assert found[row]["chosen"] == before[wanted]
        assert {found[row]["chosen"], found[row]["rejected"]} == {WORDS[place], WORDS[place + 1]}
    assert made.dropped_by_reason == {REFUSED: 2}
    card = ctx.blobs.get(made.card).decode()
    assert "| confirmed | 3 |" in card
    assert "| corrected | 3 |" in card


def test_liked_or_not_and_together_or_not(ctx, base, records):
    rows = [{**each, "label": True} for each in completions()]
    verdicts = {0: "liked", 1: "not liked", 2: "rejected", 3: "not liked"}
    made, ids = cut(
        ctx, base, records(rows), "feedback", lambda place, _: verdicts.get(place, ""), None,
        Feedback,
    )  # fmt: skip
    found = kept(ctx, made)
    assert [found[row]["label"] for row in ids[:2]] == [True, False]
    assert ids[2] not in found
    pairs = [{"anchor": each["prompt"], "positive": each["completion"]} for each in completions()]
    verdicts = {0: "together", 1: "apart"}
    made, ids = cut(
        ctx, base, records(pairs), "pairs", lambda place, _: verdicts.get(place, ""), None, Pair
    )
    assert set(kept(ctx, made)) == {*ids} - {ids[1]}


def test_personal_data_in_a_correction_is_treated_as_any_other(ctx, base, records):
    text = Completion(prompt="birch cedar dune is", completion="ask ann@example.org.")
    made, ids = cut(
        ctx, base, records(completions()), "completion",
        lambda place, _: "corrected" if place == 1 else "", {1: text}, Completion, pii="mask",
    )  # fmt: skip
    assert "ann@example.org" not in kept(ctx, made)[ids[1]]["completion"]
    assert sum(made.pii.values()) == 1


def test_personal_data_of_a_row_that_people_changed_stays_counted(ctx, base, records):
    """What was found in the source was replaced before anybody judged the row."""
    rows = [
        {"prompt": f"{WORDS[n]} or {WORDS[n + 1]}", "chosen": WORDS[n], "rejected": WORDS[n + 1]}
        for n in range(4)
    ]
    rows[0]["prompt"] += ", ask ann@example.org"
    asset = records(rows)
    row = next(iter(read_rows([asset], ctx.blobs))).row_id
    judged = Preference(
        **{**rows[0], "prompt": rows[0]["prompt"].replace("ann@example.org", "[EMAIL]")}
    )
    worse = ("first", "second")[in_order(judged).index(judged.rejected)]
    given = reviewed("preference", {row: worse}, {row: content_digest(judged)}, {})
    made = curate(config("preference", pii="mask"), ctx, assets=(asset,), base=base, reviewed=given)
    assert kept(ctx, made)[row]["chosen"] == judged.rejected
    assert made.pii == {"email": 1}


def test_personal_data_of_the_source_and_of_its_correction_are_both_counted(ctx, base, records):
    rows = completions()
    rows[1]["prompt"] = "ask ann@example.org, who is"
    asset = records(rows)
    row = list(read_rows([asset], ctx.blobs))[1].row_id
    judged = Completion(prompt="ask [EMAIL], who is", completion=rows[1]["completion"])
    body = {
        "content": {**rows[1], "prompt": judged.prompt, "completion": "at 192.0.2.7."},
        "salt": "s",
    }
    given = reviewed(
        "completion", {row: "corrected"}, {row: content_digest(judged)},
        {row: ctx.blobs.put(canonical_json(body))},
    )  # fmt: skip
    made = curate(config("completion", pii="mask"), ctx, assets=(asset,), base=base, reviewed=given)
    assert kept(ctx, made)[row]["prompt"] == judged.prompt
    assert "192.0.2.7" not in kept(ctx, made)[row]["completion"]
    assert sorted(made.pii.values()) == [1, 1]


def test_a_review_of_another_format_is_refused(ctx, base, records):
    asset = records(completions())
    with pytest.raises(DataError, match="is of rows of format 'preference'"):
        curate(
            config("completion"), ctx, assets=(asset,), base=base,
            reviewed=reviewed("preference", {}, {}, {}),
        )  # fmt: skip
    with pytest.raises(DataError, match="no labels of review 'kinds' were accepted"):
        curate(config("completion"), ctx, assets=(asset,), base=base)


def test_the_order_of_two_answers_says_nothing_of_which_is_chosen():
    rows = [Preference(prompt=str(n), chosen="yes", rejected="no") for n in range(200)]
    counts = Counter(in_order(row)[0] for row in rows)
    assert 70 < counts["yes"] < 130
    assert all(
        in_order(row) == in_order(Preference(prompt=row.prompt, chosen="no", rejected="yes"))
        for row in rows
    )
