"""Files are taken in without those who were forgotten, and all else stays as it was."""

from __future__ import annotations

import json

import pytest

from tunesmith.core import erasure
from tunesmith.core.blobs import FolderBlobs
from tunesmith.core.errors import DataError, StoreError
from tunesmith.core.file_digests import FileDigests
from tunesmith.core.step import Context
from tunesmith.records.data import Erased
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.cutting.forms import cut_out
from tunesmith.stages.ingest.erased import land_without, records, records_of
from tunesmith.stages.ingest.local import as_it_is_now, land
from tunesmith.stages.ingest.run import ingest

JSONL = "".join(
    json.dumps({"who": who, "text": f"said by {who}, number {n}"}) + end
    for n, (who, end) in enumerate([("ann", "\n"), ("bob", "\r\n"), ("ann", "\n\n"), ("cyd", "")])
)
CSV = 'who,text\nann,"two\nlines, of ""hers"""\nbob,one line\nann,again\n'
LETTER = "---\nwho: {}\nkey: {}\n---\n\nDear {}.\n"


@pytest.fixture
def ctx(tmp_path):
    (tmp_path / ".tunesmith").mkdir()
    (tmp_path / "work").mkdir()
    return Context(
        blobs=FolderBlobs(tmp_path / "blobs"),
        seed=0,
        workdir=tmp_path / "work",
        keep=tmp_path / "work",
        project=tmp_path,
    )


def told(ctx, **values: str) -> Erased:
    key = erasure.key_of(ctx.project / ".tunesmith", make=True)
    digests = tuple(erasure.keyed(key, what, value) for what, value in values.items())
    return Erased(digests=digests, key=erasure.key_name(key))


def both(config, ctx, erased):
    """The rows with everybody, the rows without, and the data asset without."""
    import pyarrow.parquet as pq

    config = as_it_is_now(config, ctx.project, FileDigests())
    every = ingest(config, ctx, package=land(config.landing(), ctx))
    fewer = ingest(config, ctx, package=land_without(config, ctx, erased=erased))
    read = [pq.read_table(ctx.blobs.path(asset.rows)).to_pylist() for asset in (every, fewer)]
    assert every.num_in == fewer.num_in == fewer.num_rows + fewer.num_erased
    return *read, fewer


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", JSONL), ("a.csv", CSV)])
def test_records_of_a_subject_are_cut_and_the_others_keep_id_and_place(ctx, name, text):
    (ctx.project / name).write_bytes(text.encode())
    config = SourceConfig(
        name="s", origin=f"file:{name}", format=name[2:], text="text", subject="who"
    )
    every, fewer, asset = both(config, ctx, told(ctx, subject="ann"))
    assert asset.subject == "who"  # by which the split keeps a person's rows together
    assert all(json.loads(row["attributes"])["who"] for row in fewer)
    assert asset.num_erased == 2
    assert fewer == [row for row in every if '"ann"' not in row["attributes"]] != []
    package = land_without(
        as_it_is_now(config, ctx.project, FileDigests()), ctx, erased=told(ctx, subject="ann")
    )
    assert b"ann" not in ctx.blobs.get(package.wheel)


def test_a_file_that_is_one_row_is_left_out(ctx):
    (ctx.project / "letters").mkdir()
    for who in ("ann", "bob"):
        (ctx.project / "letters" / f"{who}.md").write_text(LETTER.format(who, who, who))
    config = SourceConfig(name="s", origin="file:letters/", label="key", subject="who")
    every, fewer, asset = both(config, ctx, told(ctx, subject="ann"))
    assert (asset.num_erased, len(every), [row["label"] for row in fewer]) == (1, 2, ["bob"])


def test_a_record_is_known_by_what_it_says_wherever_it_stands(ctx):
    (ctx.project / "a.jsonl").write_text(JSONL)
    config = SourceConfig(name="s", origin="file:a.jsonl", format="jsonl", text="text")
    every, _, _ = both(config, ctx, told(ctx, subject="nobody"))
    wanted = every[1]["row_id"]
    (record,) = records_of(config, "a.jsonl", JSONL.encode(), {wanted}, lambda _: False)
    (ctx.project / "a.jsonl").unlink()
    (ctx.project / "b.jsonl").write_text("\n" + JSONL)  # another file: every id is another
    moved = config.model_copy(update={"origin": "file:b.jsonl"})
    _, fewer, asset = both(moved, ctx, told(ctx, record=record))
    assert asset.num_erased == 1
    assert "bob" not in json.dumps(fewer)


def test_another_key_tells_nobody_apart(ctx):
    (ctx.project / "a.jsonl").write_text(JSONL)
    config = SourceConfig(name="s", origin="file:a.jsonl", format="jsonl", subject="who")
    erased = told(ctx, subject="ann")
    (ctx.project / ".tunesmith" / erasure.KEY_FILE).write_bytes(b"another")
    with pytest.raises(StoreError, match="is not the key"):
        land_without(config, ctx, erased=erased)
    (ctx.project / ".tunesmith" / erasure.KEY_FILE).unlink()
    with pytest.raises(StoreError, match="nobody can tell"):
        land_without(config, ctx, erased=erased)


def test_no_project_file_can_say_what_was_erased():
    config = SourceConfig(name="s", origin="file:a.jsonl", format="jsonl", subject="who")
    erased = Erased(digests=("0",), key="k")
    assert config.without(erased).erased == erased
    assert config.erased is None
    assert config.without(erased).model_dump() == config.model_dump()


def test_a_subject_is_a_field_of_a_record():
    with pytest.raises(ValueError, match="subject is not read with format 'text'"):
        SourceConfig(name="s", origin="file:a.txt", format="text", subject="who")


def test_a_line_that_cannot_be_read_is_told_by_what_is_in_it(ctx):
    text = JSONL.replace('{"who": "bob"', '{broken "bob"')
    (ctx.project / "a.jsonl").write_text(text)
    config = SourceConfig(name="s", origin="file:a.jsonl", format="jsonl", text="text")
    (record,) = records_of(config, "a.jsonl", text.encode(), set(), lambda data: b"bob" in data)
    _, fewer, asset = both(config, ctx, told(ctx, record=record))
    assert (asset.num_erased, asset.num_quarantined, len(fewer)) == (1, 0, 3)


OF_SEVERAL_LINES = [
    '2,"x\nAnna Mueller of Graz",extra,extra\n',
    '2,"x\r\n\r\nAnna Mueller of Graz",extra\r\n\r\n',
    '2,"Anna Mueller of Graz\nx",extra,extra\n',
]


@pytest.mark.parametrize("bad", OF_SEVERAL_LINES)
@pytest.mark.parametrize("after", ["", "3,of cyd\n"])
def test_a_bad_record_of_several_lines_is_told_by_all_of_them(ctx, bad, after):
    text = f"who,text\n1,of bob\n{bad}{after}"
    (ctx.project / "a.csv").write_bytes(text.encode())
    config = SourceConfig(name="s", origin="file:a.csv", format="csv", text="text")
    found = records_of(config, "a.csv", text.encode(), set(), lambda data: b"Anna" in data)
    erased = told(ctx, record=found[0])
    _, fewer, asset = both(config, ctx, erased)
    assert asset.num_erased == 1
    assert [row["text"] for row in fewer] == ["of bob", "of cyd"][: 1 + bool(after)]
    package = land_without(as_it_is_now(config, ctx.project, FileDigests()), ctx, erased=erased)
    assert b"Anna" not in ctx.blobs.get(package.wheel)


def test_what_stands_below_a_bad_line_of_names_is_told_with_it(ctx):
    """None of it is read, and all of it is kept."""
    text = "who,who\n1,of bob\n2,of ann\n"
    config = SourceConfig(name="s", origin="file:a.csv", format="csv", text="text")
    found = records_of(config, "a.csv", text.encode(), set(), lambda data: b"of ann" in data)
    assert found == [text.strip().encode()]


def test_what_cannot_be_cut_is_said_before_anything_is_done(ctx):
    """A record that is not the line that its pointer names."""
    config = SourceConfig(name="s", origin="file:a.jsonl", format="jsonl", text="text")
    record, *_ = records(config, "a.jsonl", JSONL.encode())
    for wrong in ("a.jsonl#2", "a.jsonl"):
        with pytest.raises(DataError, match="cannot be cut out"):
            cut_out(config, "a.jsonl", JSONL.encode(), {wrong: record.data})


def test_a_mailbox_among_documents_is_no_one_document(ctx):
    """The name says that it has many messages: those of others stay."""
    (ctx.project / "post").mkdir()
    mails = "".join(f"From x\nFrom: {who}@a.org\nSubject: Hi\n\nI am {who}.\n\n" for who in "abc")
    (ctx.project / "post" / "all.mbox").write_text(mails)
    config = SourceConfig(name="s", origin="file:post/", format="document", subject="from")
    every, fewer, asset = both(config, ctx, told(ctx, subject="b@a.org"))
    assert fewer == [every[0], every[2]]
    assert asset.num_erased == 1
