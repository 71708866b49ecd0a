"""A dataset of each format from the fields of its sources: counts, reasons, sides, tokens, card."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import models, pre_tokenizers, processors

from tunesmith.core.canonical import parse
from tunesmith.core.errors import DataError
from tunesmith.core.ref import from_plain
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset, Split, TrueSize
from tunesmith.records.model import BaseModel
from tunesmith.records.rows import FORMATS
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.run import curate

MakeRecords = Callable[..., DataAsset]
Record = dict[str, Any]
OTHERS = sorted(FORMATS.keys() - {"labels"})


def config(format: str, **changes: Any) -> DatasetConfig:
    plain = {"name": "set", "sources": ["rows"], "base": "words", "format": format}
    return DatasetConfig.model_validate({**plain, **changes})


@pytest.fixture
def encoder(ctx: Context) -> BaseModel:
    """A base model without a chat template whose tokens are words, between [CLS] and [SEP]."""
    core = tokenizers.Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(["[CLS]", "[SEP]"])
    core.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    core.enable_truncation(4)  # as sentence-transformers saves it; it must not be heeded
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("tokenizer.json", core.to_str())
        archive.writestr("config.json", '{"architectures": ["BertModel"]}')
    weights = ctx.blobs.put(sink.getvalue(), "application/zip")
    return BaseModel(
        name="bert", origin="pypi:bert==1.0", licence="MIT", weights=weights, format="folder"
    )


def words(number: int, num: int = 8) -> str:
    draw = random.Random(number)
    return " ".join(f"w{draw.randrange(10**6)}" for _ in range(num))


def good(format: str, number: int) -> Record:
    """A row of the format that is like no other."""
    text, other = words(number), words(number + 10**6)
    match format:
        case "text":
            return {"text": text}
        case "completion":
            return {"prompt": text, "completion": other}
        case "preference":
            return {"prompt": text, "chosen": other, "rejected": text}
        case "feedback":
            return {"prompt": text, "completion": other, "label": number % 2 == 0}
        case "checked":
            return {"prompt": text, "answer": other}
        case "tags":
            return {"tokens": text.split(), "tags": ["NAME", *["O"] * 7]}
        case "pairs":
            return {"anchor": text, "positive": other, "negatives": [f"{other} not"]}
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": other}]
    return {"messages": turns}


def side(ctx: Context, split: Split) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(ctx.blobs.get(split.rows))).to_pylist()
    assert len(rows) == split.num_rows
    assert sum(row["num_tokens"] for row in rows) == split.num_tokens
    return rows


def check(ctx: Context, dataset: Dataset) -> tuple[list[Record], list[Record], list[Record]]:
    """(train, test, dropped); no row is lost, none is twice, no component is on both sides."""
    train, test = side(ctx, dataset.train), side(ctx, dataset.test)
    dropped = pq.read_table(io.BytesIO(ctx.blobs.get(dataset.dropped))).to_pylist()
    assert dataset.num_in == len(train) + len(test) + len(dropped)
    assert Counter(row["reason"] for row in dropped) == dataset.dropped_by_reason
    pointers = [row["pointer"] for row in (*train, *test, *dropped)]
    assert len(set(pointers)) == dataset.num_in
    assert not {row["component"] for row in train} & {row["component"] for row in test}
    for row in (*train, *test):
        from_plain(FORMATS[dataset.format], parse(row["content"].encode()))
    return train, test, dropped


def base_of(format: str, base: BaseModel, encoder: BaseModel) -> BaseModel:
    return encoder if format in ("tags", "pairs") else base


@pytest.mark.parametrize("format", OTHERS)
def test_a_dataset_of_each_format(
    ctx: Context, base: BaseModel, encoder: BaseModel, records: MakeRecords, format: str
) -> None:
    fields = [good(format, number) for number in range(40)]
    bad = [{}, {**fields[0], next(iter(fields[0])): 7}]
    asset = records([*fields, fields[3], *bad])
    of = base_of(format, base, encoder)
    dataset = curate(config(format), ctx, assets=(asset,), base=of)
    train, test, dropped = check(ctx, dataset)
    assert dataset.format == format
    assert (len(train), len(test)) == (36, 4)
    assert dataset.dropped_by_reason == {"exact duplicate": 1, "not in the format": 2}
    assert all(row["detail"] for row in dropped)
    assert dataset.labels == (("NAME", "O") if format == "tags" else ())
    labels = {row["label"] for row in train}
    assert labels == ({"true", "false"} if format == "feedback" else {""})
    assert {row["content"] for row in (*train, *test)} == {
        json.dumps(
            json.loads(row["content"]), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        for row in (*train, *test)
    }
    assert curate(config(format), ctx, assets=(asset,), base=of) == dataset
    card = ctx.blobs.get(dataset.card).decode()
    for line in (
        "- 36 rows (",
        "- 4 rows (",
        "| dropped: not in the format | 2 |",
        "| kept | 40 |",
        "are\ndistinct",
        "Residual similarity",
    ):
        assert line in card
    assert "label" not in card.replace("whatever their labels", "")
    assert ("no two say the same" in card) == (format not in ("chat", "completion", "text"))


@pytest.mark.parametrize(
    ("format", "instruction", "num_tokens"),
    [
        # Two turns of start, role and end, and the start and role of a third (see conftest).
        ("chat", "", 16 + 6),
        ("chat", "Be brief.", 16 + 6 + 5),
        ("feedback", "", 16 + 6),
        ("feedback", "Be brief.", 16 + 6 + 5),
        ("checked", "", 8 + 5),  # the question, and what asks for an answer
        ("preference", "", 16 + 6 + 8 + 1),  # the second answer and its end
        ("completion", None, 16 + 1),
        ("text", None, 8 + 1),
        ("tags", None, 8 + 2),
        ("pairs", None, 8 + 8 + 9 + 3 * 2),
    ],
)
def test_tokens_are_those_that_are_trained(
    ctx: Context,
    base: BaseModel,
    encoder: BaseModel,
    records: MakeRecords,
    format: str,
    instruction: str | None,
    num_tokens: int,
) -> None:
    asset = records([good(format, number) for number in range(4)])
    changes = {} if instruction is None else {"instruction": instruction}
    of = base_of(format, base, encoder)
    dataset = curate(config(format, **changes), ctx, assets=(asset,), base=of)
    train, _, _ = check(ctx, dataset)
    assert {row["num_tokens"] for row in train} == {num_tokens}
    assert dataset.instruction == (instruction or "")


def test_labels_on_an_encoder_count_the_text_alone(
    ctx: Context, encoder: BaseModel, make_asset: Callable[..., DataAsset]
) -> None:
    rows = [(words(number), "ab"[number % 2]) for number in range(8)]
    settings = DatasetConfig(
        name="set", sources=("rows",), base="bert", instruction="Name it.", num_labels=2
    )
    dataset = curate(settings, ctx, assets=(make_asset(rows),), base=encoder)
    train, _, _ = check(ctx, dataset)
    assert {row["num_tokens"] for row in train} == {8 + 2}


def test_each_piece_has_to_fit_not_their_sum(
    ctx: Context, encoder: BaseModel, records: MakeRecords
) -> None:
    """Defect 11: nothing is cut; what is too long for the model in one piece is dropped."""
    fields = [good("pairs", number) for number in range(6)]
    fields[0]["negatives"] = [words(99, 30)]
    fields[1]["negatives"] = [words(number, 8) for number in range(100, 110)]
    dataset = curate(config("pairs", max_tokens=12), ctx, assets=(records(fields),), base=encoder)
    _, _, dropped = check(ctx, dataset)
    assert [(row["pointer"], row["reason"], row["detail"]) for row in dropped] == [
        ("rows.jsonl#1", "too long", "32 tokens")
    ]


def test_a_long_text_is_kept_whole(ctx: Context, base: BaseModel, records: MakeRecords) -> None:
    """Defect 11: it is learnt in windows, so nothing of it is dropped or cut here."""
    fields = [{"text": words(number, 2000)} for number in range(3)]
    dataset = curate(config("text"), ctx, assets=(records(fields),), base=base)
    train, test, _ = check(ctx, dataset)
    assert [row["num_tokens"] for row in (*train, *test)] == [2001] * 3


def test_a_conversation_of_which_the_template_leaves_out_a_part_is_dropped(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    """Defect 21: a template that knows no tools."""
    fields = [good("chat", number) for number in range(6)]
    fields[1]["tools"] = [{"type": "function", "function": {"name": "look"}}]
    dataset = curate(config("chat"), ctx, assets=(records(fields),), base=base)
    _, _, dropped = check(ctx, dataset)
    assert [(row["pointer"], row["reason"]) for row in dropped] == [
        ("rows.jsonl#2", "the template refuses it")
    ]
    assert "leaves out the tools" in dropped[0]["detail"]


def test_prompts_that_are_alike_are_on_one_side_and_keep_their_answers(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    """Defect 39: test rows near training rows."""
    fields = [
        {"prompt": f"{words(number)} please {end}", "chosen": f"yes {end}", "rejected": "no"}
        for number in range(20)
        for end in ("now", "then")
    ]
    dataset = curate(config("preference", test_rows=6), ctx, assets=(records(fields),), base=base)
    train, test, _ = check(ctx, dataset)
    assert (len(train), len(test), dataset.num_components) == (34, 6, 20)
    for rows in (train, test):
        assert set(Counter(row["component"] for row in rows).values()) == {2}


@pytest.mark.parametrize("format", ["chat", "completion", "text"])
def test_near_duplicates_go_where_the_text_is_what_is_learnt(
    ctx: Context, base: BaseModel, records: MakeRecords, format: str
) -> None:
    fields = [good(format, number) for number in range(10)]
    near = json.loads(json.dumps(fields[0]).replace(words(0), words(0) + " more"))
    dataset = curate(config(format), ctx, assets=(records([*fields, near]),), base=base)
    _, _, dropped = check(ctx, dataset)
    assert [(row["pointer"], row["reason"]) for row in dropped] == [
        ("rows.jsonl#11", "near duplicate")
    ]


def test_a_system_message_that_all_share_makes_no_two_conversations_alike(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    system = {"role": "system", "content": words(77, 200)}
    fields = [{"messages": [system, *good("chat", number)["messages"]]} for number in range(10)]
    dataset = curate(config("chat"), ctx, assets=(records(fields),), base=base)
    train, _, _ = check(ctx, dataset)
    assert dataset.num_components == 10
    assert all(words(77, 200) in row["content"] for row in train)


def test_feedback_is_on_both_sides_in_its_proportion(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    fields = [good("feedback", number) | {"label": number < 30} for number in range(40)]
    settings = config("feedback", test_rows=8, train_rows=16)
    dataset = curate(settings, ctx, assets=(records(fields),), base=base)
    train, test, _ = check(ctx, dataset)
    assert Counter(row["label"] for row in test) == {"true": 6, "false": 2}
    assert Counter(row["label"] for row in train) == {"true": 12, "false": 4}
    assert dataset.dropped_by_reason == {"over the cap": 16}
    assert "| not liked | 4 | 2 |" in ctx.blobs.get(dataset.card).decode()


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, (18, 2)),
        ({"test_share": 0.25}, (15, 5)),
        ({"test_share": 0.001}, (19, 1)),
        ({"test_rows": 3}, (17, 3)),
        ({"test_rows": 1000}, (10, 10)),
        ({"train_rows": 5, "test_rows": 3}, (5, 3)),
    ],
)
def test_sizes_of_the_sides(
    ctx: Context,
    base: BaseModel,
    records: MakeRecords,
    changes: dict[str, Any],
    sizes: tuple[int, int],
) -> None:
    asset = records([good("text", number) for number in range(20)])
    dataset = curate(config("text", **changes), ctx, assets=(asset,), base=base)
    check(ctx, dataset)
    assert (dataset.train.num_rows, dataset.test.num_rows) == sizes


def test_the_text_of_a_source_stands_for_a_field_and_fields_as_text_do_not(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    texts = [words(number) for number in range(4)]
    dataset = curate(config("text"), ctx, assets=(records([{}] * 4, texts),), base=base)
    train, test, _ = check(ctx, dataset)
    assert sorted(row["text"] for row in (*train, *test)) == sorted(texts)
    fields = [{"body": text} for text in texts]
    with pytest.raises(
        DataError, match=r"of 4 rows 0 are left.*rows\.jsonl#1: it has no"
    ) as caught:
        curate(config("text"), ctx, assets=(records(fields),), base=base)
    assert "body" in caught.value.remedy
    columns = {"text": "body"}
    dataset = curate(config("text", columns=columns), ctx, assets=(records(fields),), base=base)
    assert dataset.num_dropped == 0


def test_a_chat_model_is_needed_where_rows_are_asked(
    ctx: Context, encoder: BaseModel, records: MakeRecords
) -> None:
    asset = records([good("chat", number) for number in range(4)])
    with pytest.raises(DataError, match="no chat template"):
        curate(config("chat"), ctx, assets=(asset,), base=encoder)


def test_a_row_that_the_template_refuses_costs_itself_alone(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    fields = [good("preference", number) for number in range(6)]
    raising = (
        "{% if 'no such' in messages[-1].content %}{{ raise_exception('no word') }}{% endif %}"
    )
    with zipfile.ZipFile(ctx.blobs.path(base.weights)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    settings = json.loads(files["tokenizer_config.json"])
    settings["chat_template"] = raising + settings["chat_template"]
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, text in {**files, "tokenizer_config.json": json.dumps(settings)}.items():
            archive.writestr(name, text)
    strict = BaseModel(
        name="strict", origin="pypi:strict==1", licence="MIT",
        weights=ctx.blobs.put(sink.getvalue()), format="folder",
    )  # fmt: skip
    fields[2]["prompt"] = "no such letter"
    dataset = curate(config("preference"), ctx, assets=(records(fields),), base=strict)
    _, _, dropped = check(ctx, dataset)
    assert [(row["pointer"], row["reason"]) for row in dropped] == [
        ("rows.jsonl#3", "the template refuses it")
    ]
    assert "no word" in dropped[0]["detail"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "chat", "num_labels": 3}, "num_labels is not read with format 'chat'"),
        ({"format": "text", "max_tokens": 64}, "max_tokens is not read with format 'text'"),
        ({"format": "text", "instruction": "x"}, "instruction is not read with format 'text'"),
        ({"format": "pairs", "train_per_label": 3}, "train_per_label is not read"),
        ({"format": "pairs", "similarity": 0.9}, "similarity is not read"),
        ({"format": "chat", "min_chars": 3}, "min_chars is not read"),
        ({"format": "labels", "instruction": "x", "test_share": 0.2}, "test_share is not read"),
        ({"format": "labels", "instruction": "x", "columns": {"text": "a"}}, "columns is not"),
        ({"format": "labels"}, "(?s)instruction.*labels' needs it"),
        ({"format": "chat", "columns": {"prompt": "a"}}, "no field of format 'chat'; it has mess"),
        ({"format": "text", "test_rows": 3, "test_share": 0.2}, "say the same"),
        ({"format": "text", "leak_similarity": 0.9}, "leak_similarity must not be above"),
        ({"format": "sft"}, "labels"),
    ],
)
def test_settings_that_the_format_does_not_read_are_refused(
    changes: dict[str, Any], words: str
) -> None:
    """Defect 36: settings that nothing reads."""
    with pytest.raises(ValidationError, match=words):
        config(changes.pop("format"), **changes)


@pytest.mark.parametrize("format", sorted(FORMATS))
@pytest.mark.parametrize("changes", [{}, {"test_rows": 4}])
def test_settings_written_out_are_read_again(format: str, changes: dict[str, Any]) -> None:
    if format == "labels":
        changes = {"instruction": "Name it."}
    settings = config(format, **changes)
    assert DatasetConfig.model_validate(settings.model_dump()) == settings


BAD = st.sampled_from([{}, {"text": ""}, {"prompt": 1}, {"messages": []}, {"tokens": ["a"]}])


@pytest.mark.parametrize("format", OTHERS)
def test_no_row_is_lost(
    ctx: Context, base: BaseModel, encoder: BaseModel, records: MakeRecords, format: str
) -> None:
    of = base_of(format, base, encoder)

    @settings(
        suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15
    )
    @given(st.lists(st.integers(0, 12) | BAD, max_size=20))
    def law(drawn: list[int | Record]) -> None:
        fields = [good(format, 100), good(format, 101), good(format, 102), good(format, 103)]
        fields += [good(format, each) if isinstance(each, int) else each for each in drawn]
        dataset = curate(config(format), ctx, assets=(records(fields),), base=of)
        check(ctx, dataset)
        bad = sum(not isinstance(each, int) for each in drawn)
        assert dataset.dropped_by_reason.get("not in the format", 0) == bad

    law()


def test_the_true_size_of_many_copies(ctx: Context, base: BaseModel, records: MakeRecords) -> None:
    """As in a known file: 1,050 rows that are ten pairs."""
    rows = [good("completion", number) for _ in range(105) for number in range(10)]
    found = curate(config("completion"), ctx, assets=(records(rows),), base=base)
    assert found.size == TrueSize(rows=1050, distinct=10, near_distinct=10)
    assert found.size.share == pytest.approx(1 / 105)
    assert "1050 rows, 10 distinct, 10 near-distinct (1.0 %)." in (
        ctx.blobs.get(found.card).decode()
    )


@pytest.mark.parametrize(
    "format", ["completion", "preference", "pairs", "tags", "feedback", "checked"]
)
def test_the_true_size_counts_near_duplicates_that_stay(
    ctx: Context, base: BaseModel, encoder: BaseModel, records: MakeRecords, format: str
) -> None:
    """Thirty rows, one of them copied exactly, and another with one word of twelve changed."""
    rows = [good(format, number) for number in range(30)]
    key = {"tags": "tokens", "pairs": "anchor"}.get(format, "prompt")
    changed = {**rows[1], key: f"{words(1, 30)} more"}
    original = {**rows[1], key: words(1, 30)}
    if format == "tags":
        changed, original = (
            {"tokens": row["tokens"].split(), "tags": ["O"] * len(row["tokens"].split())}
            for row in (changed, original)
        )
    rows[1] = original
    of = encoder if format in ("tags", "pairs") else base
    asset = records([*rows, rows[0], changed])
    found = curate(config(format), ctx, assets=(asset,), base=of)
    assert found.size == TrueSize(rows=32, distinct=31, near_distinct=30)
    assert ("near duplicate" in found.dropped_by_reason) == (format == "completion")


def test_rows_in_other_languages_are_dropped_by_all_that_they_say(
    ctx: Context, base: BaseModel, records: MakeRecords
) -> None:
    english = "All human beings are born free and equal in dignity and rights"
    german = "Alle Menschen sind frei und gleich an Würde und Rechten geboren"
    rows = [{"prompt": f"{n}", "completion": f"{english} {n}"} for n in range(6)]
    rows += [{"prompt": f"{n}", "completion": f"{german} {n}"} for n in range(6, 9)]
    asset = records(rows)
    plain = curate(config("completion", similarity=1.0), ctx, assets=(asset,), base=base)
    assert plain.dropped_by_reason == {}
    found = curate(
        config("completion", similarity=1.0, languages=["en"]), ctx, assets=(asset,), base=base
    )
    assert found.dropped_by_reason == {"language not listed": 3}
    dropped = pq.read_table(io.BytesIO(ctx.blobs.get(found.dropped))).to_pylist()
    assert [row["pointer"] for row in dropped] == [f"rows.jsonl#{n}" for n in (7, 8, 9)]
    assert all(row["detail"].startswith("de (") for row in dropped)
    with pytest.raises(ValidationError, match="no language 'english'; codes have two letters"):
        config("completion", languages=["english"])
