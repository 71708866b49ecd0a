"""Personal data in rows of every format: counted, replaced, refused; and the key's rules."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import DataError, MissingExtra
from tunesmith.core.step import Context
from tunesmith.records.data import DataAsset, Dataset
from tunesmith.records.model import BaseModel
from tunesmith.records.rows import (
    Chat,
    Checked,
    Completion,
    Content,
    Feedback,
    Labelled,
    Pair,
    Preference,
    Tagged,
    Text,
    ToolCall,
    Turn,
)
from tunesmith.stages.curate.config import DatasetConfig
from tunesmith.stages.curate.content import NotInFormat
from tunesmith.stages.curate.privacy import privacy_of, treated
from tunesmith.stages.curate.pseudonym_key import key_id, read_key, with_key_as_it_is_now
from tunesmith.stages.curate.run import curate
from tunesmith.text.names import MODEL

MAIL, CARD, IBAN = "ada@example.org", "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32"
MakeAsset = Callable[..., DataAsset]


def config(**changes: Any) -> DatasetConfig:
    given = {"name": "set", "sources": ["rows"], "base": "words", "format": "text"}
    return DatasetConfig.model_validate({**given, **changes})


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets" / "pii.key"
    path.parent.mkdir()
    path.write_bytes(bytes(range(32)))
    path.chmod(0o600)
    return path


def everything(ctx: Context, dataset: Dataset) -> str:
    """All bytes of a dataset, as text."""
    tables = [dataset.train.rows, dataset.test.rows, dataset.dropped]
    rows = [pq.read_table(io.BytesIO(ctx.blobs.get(blob))).to_pylist() for blob in tables]
    return f"{rows}{ctx.blobs.get(dataset.card).decode()}{dataset}"


CONTENTS: list[tuple[Content, Content, int]] = [
    (Labelled(text=f"to {MAIL}", label=MAIL), Labelled(text="to [EMAIL]", label=MAIL), 1),
    (Text(text=f"{CARD} and {MAIL}"), Text(text="[CARD] and [EMAIL]"), 2),
    (
        Completion(prompt=MAIL, completion=f" {CARD}"),
        Completion(prompt="[EMAIL]", completion=" [CARD]"),
        2,
    ),
    (
        Preference(prompt="p", chosen=MAIL, rejected="no"),
        Preference(prompt="p", chosen="[EMAIL]", rejected="no"),
        1,
    ),
    (
        Feedback(prompt="p", completion=IBAN, label=True),
        Feedback(prompt="p", completion="[IBAN]", label=True),
        1,
    ),
    (Checked(prompt=MAIL, answer=CARD), Checked(prompt="[EMAIL]", answer="[CARD]"), 2),
    (
        Pair(anchor=MAIL, positive="x", negatives=(CARD, "y")),
        Pair(anchor="[EMAIL]", positive="x", negatives=("[CARD]", "y")),
        2,
    ),
    (
        Tagged(tokens=("Pay", *IBAN.split(), f"({MAIL})"), tags=("O",) * 8),
        Tagged(tokens=("Pay", *["[IBAN]"] * 6, "([EMAIL])"), tags=("O",) * 8),
        2,
    ),
    (
        Chat(
            messages=(
                Turn(role="system", content=f"You are {MAIL}"),
                Turn(role="user", content="Pay."),
                Turn(
                    role="assistant",
                    tool_calls=(
                        ToolCall(
                            name="pay",
                            arguments={"to": {"role": [MAIL]}, "n": 4111111111111111, "ok": True},
                        ),
                    ),
                ),
                Turn(role="tool", content=f'{{"iban": "{IBAN}"}}'),
                Turn(role="assistant", content="Paid."),
            ),
            tools=({"name": "pay", "description": f"ask {MAIL}"},),
        ),
        Chat(
            messages=(
                Turn(role="system", content="You are [EMAIL]"),
                Turn(role="user", content="Pay."),
                Turn(
                    role="assistant",
                    tool_calls=(
                        ToolCall(
                            name="pay",
                            arguments={"to": {"role": ["[EMAIL]"]}, "n": "[CARD]", "ok": True},
                        ),
                    ),
                ),
                Turn(role="tool", content='{"iban": "[IBAN]"}'),
                Turn(role="assistant", content="Paid."),
            ),
            tools=({"name": "pay", "description": "ask [EMAIL]"},),
        ),
        5,
    ),
]


@pytest.mark.parametrize(("before", "after", "num"), CONTENTS)
def test_every_text_of_every_format_is_masked(before: Content, after: Content, num: int) -> None:
    done, kinds = treated(before, privacy_of(config(pii="mask"), None))
    assert canonical_json(done) == canonical_json(after)
    assert len(kinds) == num
    assert treated(done, privacy_of(config(pii="mask"), None)) == (done, ())
    assert treated(before, privacy_of(config(pii="report"), None)) == (before, ())


def test_a_row_that_masking_makes_pointless_is_dropped(
    ctx: Context, base: BaseModel, records: MakeAsset
) -> None:
    same = Preference(prompt="p", chosen=MAIL, rejected="bob@example.org")
    with pytest.raises(NotInFormat, match="personal data replaced, both answers are the same"):
        treated(same, privacy_of(config(pii="mask"), None))
    rows = [dataclasses.asdict(same)] + [
        {"prompt": f"p{i} q{i}", "chosen": "yes", "rejected": "no"} for i in range(9)
    ]
    settings = config(format="preference", pii="mask")
    found = curate(settings, ctx, assets=(records(rows),), base=base)
    assert found.dropped_by_reason == {"not in the format": 1}


def rows_with_pii() -> list[dict[str, str]]:
    texts = [f"number {i} word{i} thing{i} other{i}" for i in range(10)]
    texts += [f"letter one from {MAIL}", f"a card {CARD} was lost by {MAIL}"]
    return [{"text": text} for text in texts]


def test_it_is_counted_by_default(ctx: Context, base: BaseModel, records: MakeAsset) -> None:
    rows = records(rows_with_pii())
    found = curate(config(), ctx, assets=(rows,), base=base)
    assert (found.pii, found.pii_treatment) == ({"card": 1, "email": 2}, "report")
    assert MAIL in everything(ctx, found)
    card = ctx.blobs.get(found.card).decode()
    assert "| email | 2 |" in card
    assert MAIL not in card
    off = curate(config(pii="off"), ctx, assets=(rows,), base=base)
    assert (off.pii, off.pii_treatment) == ({}, "off")
    assert "It was not looked for." in ctx.blobs.get(off.card).decode()


def test_what_is_masked_is_nowhere_in_the_dataset(
    ctx: Context, base: BaseModel, records: MakeAsset
) -> None:
    found = curate(config(pii="mask"), ctx, assets=(records(rows_with_pii()),), base=base)
    said = everything(ctx, found)
    assert MAIL not in said
    assert CARD not in said
    assert "a card [CARD] was lost by [EMAIL]" in said
    assert found.pii == {"card": 1, "email": 2}


def test_pseudonyms_are_equal_for_equal_values_and_the_key_is_not_in_the_store(
    ctx: Context, base: BaseModel, records: MakeAsset, key_file: Path
) -> None:
    asset = records(rows_with_pii())
    settings = config(pii="pseudonymise", pii_key_file=str(key_file))
    found = curate(settings, ctx, assets=(asset,), base=base)
    said = everything(ctx, found)
    assert MAIL not in said
    names = {part.split("]")[0] for part in said.split("[EMAIL ")[1:]}
    assert len(names) == 1
    key_file.write_bytes(b"another key, of 32 bytes or more.")
    other = curate(settings, ctx, assets=(asset,), base=base)
    assert names.isdisjoint({p.split("]")[0] for p in everything(ctx, other).split("[EMAIL ")[1:]})
    for path in ctx.blobs.path(found.card).parents[2].rglob("*"):
        if path.is_file():
            for key in (bytes(range(32)), bytes(range(32)).hex().encode()):
                assert key not in path.read_bytes()


def test_another_key_is_another_dataset_and_never_goes_unnoticed(
    ctx: Context, base: BaseModel, records: MakeAsset, key_file: Path
) -> None:
    settings = config(pii="pseudonymise", pii_key_file=str(key_file))
    first = with_key_as_it_is_now(settings, key_file.parent)
    assert first.pii_key_id == key_id(bytes(range(32)))
    found = curate(first, ctx, assets=(records(rows_with_pii()),), base=base)
    assert f"The key's id is {first.pii_key_id}." in ctx.blobs.get(found.card).decode()
    key_file.write_bytes(b"x" * 32)
    assert with_key_as_it_is_now(settings, key_file.parent).pii_key_id != first.pii_key_id
    with pytest.raises(DataError, match="is another one"):
        curate(first, ctx, assets=(records(rows_with_pii()),), base=base)
    key_file.unlink()
    assert with_key_as_it_is_now(settings, key_file.parent) == settings


def test_it_is_refused_with_rows_and_without_values(
    ctx: Context, base: BaseModel, records: MakeAsset
) -> None:
    with pytest.raises(DataError, match=r"2 rows \(1 card, 2 email\): rows.jsonl#11, ") as caught:
        curate(config(pii="refuse"), ctx, assets=(records(rows_with_pii()),), base=base)
    assert MAIL not in str(caught.value)
    clean = records(rows_with_pii()[:10])
    found = curate(config(pii="refuse"), ctx, assets=(clean,), base=base)
    assert found.pii == {}


@pytest.mark.parametrize("problem", ["missing", "folder", "short", "open", "store", "pipe"])
def test_a_key_that_cannot_be_used(problem: str, key_file: Path, tmp_path: Path) -> None:
    said = {
        "missing": "cannot be read", "folder": "cannot be read", "short": "has 31 bytes",
        "open": "read by others", "store": "lies in the store", "pipe": "no plain file",
    }  # fmt: skip
    path = key_file
    match problem:
        case "missing":
            path.unlink()
        case "folder":
            path = path.parent
        case "short":
            path.write_bytes(b"x" * 31)
        case "open":
            path.chmod(0o640)
        case "store":
            path = tmp_path / ".tunesmith" / "key"
            path.parent.mkdir()
            path.symlink_to(tmp_path / ".tunesmith" / "real")
            (tmp_path / ".tunesmith" / "real").write_bytes(b"x" * 32)
        case "pipe":
            path = Path("/dev/zero")
    settings = config(pii="pseudonymise", pii_key_file=str(path))
    with pytest.raises(DataError, match=said[problem]) as caught:
        read_key(settings, tmp_path)
    assert caught.value.remedy
    assert with_key_as_it_is_now(settings, tmp_path) == settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"pii": "pseudonymise"}, "need pii_key_file"),
        ({"pii": "mask", "pii_key_file": "k"}, "read with pii"),
        ({"pii_key_id": "0" * 16}, "read with pii"),
        ({"pii": "pseudonymise", "pii_key_file": "k", "pii_key_id": "xyz"}, "pattern"),
        ({"pii": "off", "pii_regions": ["US"]}, "not read"),
        ({"pii_regions": ["usa"]}, "pattern"),
        ({"pii_regions": ["ZZ"]}, "no country"),
        ({"pii": "hide"}, "Input should be"),
        ({"pii": "off", "pii_names": ["person"]}, "pii_names is not read"),
        ({"pii_names": ["people"]}, "Input should be"),
        ({"pii_names": ["person", "person"]}, "each kind once"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**settings)


def test_settings_are_read_back_as_they_were_written() -> None:
    named = config(pii="mask", pii_names=["person"])
    for settings in (config(), config(pii="pseudonymise", pii_key_file="k"), named):
        written = json.loads(settings.model_dump_json())
        assert DatasetConfig.model_validate(written) == settings
    assert "pii_names" not in json.loads(config().model_dump_json())  # nor in its key


has_names = all(map(importlib.util.find_spec, ("presidio_analyzer", "spacy", MODEL)))


@pytest.mark.skipif(has_names, reason="the extra `pii` is installed")
@pytest.mark.parametrize("pii", ["report", "mask", "refuse"])
def test_names_are_never_left_out_in_silence(
    ctx: Context, base: BaseModel, records: MakeAsset, pii: str
) -> None:
    """Complaint 17: without what finds them there is no dataset, whatever the treatment."""
    rows, settings = records(rows_with_pii()), config(pii=pii, pii_names=["person"])
    with pytest.raises(MissingExtra, match=r"pip install 'tunesmith\[pii\]'"):
        curate(settings, ctx, assets=(rows,), base=base)


@pytest.mark.skipif(not has_names, reason="the extra `pii` is not installed: make test-names")
def test_names_are_treated_as_other_personal_data(
    ctx: Context, base: BaseModel, records: MakeAsset, key_file: Path
) -> None:
    rows = rows_with_pii()[:11]
    rows[10]["text"] = f"My name is Ada Lovelace, {MAIL}, I live in London."
    asset = records(rows)

    def made(**settings: Any) -> Dataset:
        given = config(pii_names=["person"], **settings)
        return curate(given, ctx, assets=(asset,), base=base)

    assert made().pii == {"email": 1, "person": 1}
    card = ctx.blobs.get(made().card).decode()
    assert "Names of persons were looked" in card
    assert "found 64% of the words of persons' names, of English ones 73%" in card
    said = everything(ctx, made(pii="mask"))
    assert "My name is [PERSON], [EMAIL], I live in London." in said
    assert "Lovelace" not in said
    said = everything(ctx, made(pii="pseudonymise", pii_key_file=str(key_file)))
    assert "My name is [PERSON " in said
    assert "Lovelace" not in said
    with pytest.raises(DataError, match=r"1 rows \(1 email, 1 person\): rows.jsonl#11") as caught:
        made(pii="refuse")
    assert "Lovelace" not in str(caught.value)
