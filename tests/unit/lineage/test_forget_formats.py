"""A person is forgotten whose rows are in files of every format: planned, cut out, kept out,
proved; also when it is killed on the way."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from archives import zipped
from tunesmith.core.errors import DataError, NotFound
from tunesmith.lineage.forget import forget
from tunesmith.lineage.plan import plan
from tunesmith.lineage.scan import needles, says
from tunesmith.lineage.trace import trace
from tunesmith.lineage.versions import find, log, path_of

WHO, SAID = "person-0042", 'She said "never ägain" and left the house at seven.'
ROWS = [
    {
        "who": f"person-{n % 3:04}",
        "note": f"Note {n} of that person, at length.",
        "kind": "ab"[n % 2],
    }
    for n in range(9)
]
ROWS[4] = {"who": WHO, "note": SAID, "kind": "a"}
ROWS[7] = {"who": WHO, "note": f"{SAID} And again.", "kind": "b"}
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELS = "http://schemas.openxmlformats.org/package/2006/relationships"


def as_json(rows) -> bytes:
    return json.dumps({"made": "by hand", "notes": rows}).encode()


def as_yaml(rows) -> bytes:
    return yaml.safe_dump(rows, width=30).encode()


def as_parquet(rows) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=3, compression="zstd")
    return sink.getvalue()


def as_mbox(rows) -> bytes:
    head = "From x\nFrom: {who}\nSubject: {kind}\nContent-Type: text/plain; charset=utf-8\n"
    head += "Content-Transfer-Encoding: base64\n\n{body}\n"
    bodies = (base64.encodebytes(row["note"].encode()).decode() for row in rows)
    return "".join(
        head.format(**row, body=body) for row, body in zip(rows, bodies, strict=True)
    ).encode()


def as_xlsx(rows) -> bytes:
    strings = dict.fromkeys([*rows[0], *(value for row in rows for value in row.values())])
    place = {said: number for number, said in enumerate(strings)}
    cells = (
        "".join(f'<c t="s"><v>{place[said]}</v></c>' for said in said_in)
        for said_in in (rows[0].keys(), *(row.values() for row in rows))
    )
    written = "".join(f"<row>{each}</row>" for each in cells)
    related = f'<Relationship Id="r1" Type="{REL}/worksheet" Target="worksheets/sheet1.xml"/>'
    parts = {
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{REL}"><sheets>'
        '<sheet name="People" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{RELS}">{related}</Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{MAIN}"><sheetData>{written}</sheetData>'
        "</worksheet>",
        "xl/sharedStrings.xml": f'<sst xmlns="{MAIN}">'
        f"{''.join(f'<si><t>{said}</t></si>' for said in strings)}</sst>",
        "xl/charts/chart1.xml": f"<c><v>{SAID}</v></c>",
    }
    return zipped(parts)


def as_zip(rows) -> bytes:
    lines = {f"{n}.jsonl": json.dumps(row) + "\n" for n, row in enumerate(rows)}
    return zipped({**lines, ".hidden": SAID})


FORMS = {
    "json": ("notes.json", as_json),
    "parquet": ("notes.parquet", as_parquet),
    "jsonl": ("notes.zip", as_zip),
    "mbox": ("notes.mbox", as_mbox),
    "xlsx": ("notes.xlsx", as_xlsx),
    "yaml": ("notes.yaml", as_yaml),
}


@pytest.fixture
def formed(make_folder):
    """formed(format, rows) -> a project that read a file of notes in that format."""

    def make(form: str, rows=ROWS):
        name, write = FORMS[form]
        made = make_folder()
        section = "[project]\nname = 'notes'\n[source.notes]\n"
        section += f"origin = 'file:{name}'\nformat = '{form}'\n"
        fields = ("subject", "from") if form == "mbox" else ("kind", "who")
        section += "label = '{}'\nsubject = '{}'\n".format(*fields)
        section += "" if form == "mbox" else "text = 'note'\n"
        (made.path / "tunesmith.toml").write_text(section)
        (made.path / name).write_bytes(write(rows))
        made.run()
        return made

    return make


def rows_of(project):
    return pq.read_table(path_of(project, find(project, "notes"), "rows")).to_pylist()


def nothing_is_left(folder) -> None:
    """By a search of each file with its members and tables, as the command makes it, and by one of
    these tests' own."""
    wanted = needles([SAID, WHO])
    for path in (folder.path / ".tunesmith").rglob("*"):
        assert not (path.is_file() and says(path.read_bytes(), wanted)), path
    assert WHO.encode() not in folder.everything()
    assert b"left the house at seven" not in folder.everything()


@pytest.mark.parametrize("form", FORMS)
def test_a_person_is_cut_out_and_the_others_stay_as_they_were(formed, form):
    folder = formed(form)
    file = folder.path / FORMS[form][0]
    data = file.read_bytes()
    with folder.opened() as project:
        before = rows_of(project)
        assert len(before) == len(ROWS)
        assert plan(project, [WHO])[1].files == (file.name,)
        made = forget(project, [WHO])
        assert (made.found, made.not_rewritten, made.files) == ((), (), (file.name,))
        assert made.rewritten == ("source notes@2",)
        # Ids, places, texts and fields: nothing of anybody else changed.
        assert rows_of(project) == [row for row in before if SAID not in row["text"]]
        assert len(rows_of(project)) == len(ROWS) - 2
        newest = log(project, "notes")[-1]
        assert (newest.num_in, newest.num_rows, newest.num_erased) == (9, 7, 2)
        kept = before[8]
        assert trace(project, kept["row_id"]).label == kept["label"]
        assert forget(project, [WHO]) == made, "who is forgotten stays so"
    nothing_is_left(folder)
    assert file.read_bytes() == data, "the user's own file is not changed"


@pytest.mark.parametrize("form", FORMS)
def test_they_do_not_come_back(formed, form):
    folder = formed(form)
    with folder.opened() as project:
        forget(project, [WHO])
    folder.run()  # the file as it is, with them
    with folder.opened() as project:
        assert log(project, "notes")[-1].number == 2, "nothing was read anew"
    name, write = FORMS[form]
    new = {"who": WHO, "note": "Something new that was said later on.", "kind": "a"}
    (folder.path / name).write_bytes(write([ROWS[0], ROWS[4], new, ROWS[1]]))
    folder.run()
    with folder.opened() as project:
        newest = log(project, "notes")[-1]
        assert (newest.num_in, newest.num_rows, newest.num_erased) == (4, 2, 2)
    nothing_is_left(folder)
    assert b"Something new" not in folder.everything()


@pytest.mark.parametrize("form", ["json", "parquet", "jsonl"])
@pytest.mark.parametrize("name", ["erasure.journal", "erasure.begun", "erasure.rewritten"])
def test_kill_and_run_again_converges(formed, form, name):
    folder = formed(form)
    code = (
        "import sys; from pathlib import Path; from tunesmith.project import open_project;"
        "from tunesmith.lineage.forget import forget;"
        "forget(open_project(Path(sys.argv[1])), [sys.argv[2]])"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(folder.path), WHO],
        env={**os.environ, "TUNESMITH_FAILPOINT": name},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -9, killed.stderr
    with folder.opened() as project:
        project.clean_up()
        assert forget(project, [WHO]).found == ()
        assert (log(project, "notes")[-1].number, len(rows_of(project))) == (2, 7)
    nothing_is_left(folder)


def test_another_is_forgotten_after_the_first(formed):
    """Places are those of the user's file, whoever was cut out before."""
    folder = formed("parquet")
    with folder.opened() as project:
        before = rows_of(project)
        forget(project, [WHO])
        forget(project, ["person-0001"])
        left = rows_of(project)
        assert left == [row for row in before if '"person-0000"' in row["attributes"]
                        or '"person-0002"' in row["attributes"]]  # fmt: skip
        with pytest.raises(NotFound):
            trace(project, before[4]["row_id"])


def test_a_file_that_cannot_be_cut_is_refused_before_anything_is_done(formed):
    """A damaged archive, of which the rows were read before it was damaged."""
    folder = formed("jsonl")
    path = folder.path / "notes.zip"
    data = bytearray(path.read_bytes())
    at = data.index(b"0.jsonl") + len("0.jsonl")
    data[at : at + 8] = bytes(8)
    path.write_bytes(bytes(data))
    with folder.opened() as project:
        with pytest.raises(DataError, match=r"notes\.zip/0\.jsonl is to be forgotten, and cannot"):
            forget(project, [WHO])
        assert len(rows_of(project)) == len(ROWS)
    assert not (folder.path / ".tunesmith" / "erasing.json").exists()


def test_what_is_not_read_of_an_archive_and_tells_of_them_is_found(formed):
    """Nothing is cut out of this archive: it is there as it stands, and the search reads it."""
    folder = formed("jsonl", [row for row in ROWS if row["who"] != WHO])
    with folder.opened() as project:
        row = rows_of(project)[0]
    letter = json.dumps({"who": "person-0001", "note": "Seven.", "kind": "a"})
    hidden = f"{row['text']} Said by {WHO}."
    archive = zipped({"a.jsonl": letter, ".hidden": hidden})
    (folder.path / "other.zip").write_bytes(archive)
    with (folder.path / "tunesmith.toml").open("a") as file:
        file.write("[source.other]\norigin = 'file:other.zip'\nformat = 'jsonl'\ntext = 'note'\n")
    folder.run()
    with folder.opened() as project, pytest.raises(DataError, match="still in the store") as caught:
        forget(project, [row["row_id"]])
    assert "of land:other" in caught.value.message
