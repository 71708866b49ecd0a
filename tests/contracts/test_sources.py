"""Every kind of source keeps the same promises, from the system that has the rows to the store.

A new kind is one function that says how its rows are written and found again, and its line in
`KINDS`.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import sqlite3
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tunesmith.core.errors import DataError
from tunesmith.graph import build
from tunesmith.lineage.forget import forget
from tunesmith.project import open_project
from tunesmith.records.data import DataAsset

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the rows of one kind of source are written and found again."""

    section: Callable[[], str]
    """Its lines in the project file, once rows were written."""
    write: Callable[[list[Record]], None]
    """Put these rows where the source reads them, in this order, and no others."""
    at: Callable[[str], Record]
    """The record that a pointer names, looked up in the system itself."""
    hosts: tuple[str, ...] = ()
    in_any_order: bool = False
    """Whether the order in which rows were written is nothing to it."""
    keeps_ids: bool = True
    """Whether a row's id stays when others change: a package's other version is another origin."""
    forgets: bool = True
    """Whether single rows can be kept out of the store."""


def lines(rows: list[Record]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def file(folder: Path, _fixture: Callable[[str], Any]) -> Kind:
    path = folder / "mail.jsonl"
    return Kind(
        section=lambda: 'origin = "file:mail.jsonl"\nformat = "jsonl"',
        write=lambda rows: path.write_text(lines(rows)) and None,
        at=lambda pointer: json.loads(path.read_text().splitlines()[number(pointer) - 1]),
    )


def folder_of_files(folder: Path, _fixture: Callable[[str], Any]) -> Kind:
    """Two of CSV, with the even rows and the odd ones."""
    (folder / "mail").mkdir()

    def write(rows: list[Record]) -> None:
        for name, part in (("a.csv", rows[::2]), ("b.csv", rows[1::2])):
            with (folder / "mail" / name).open("w", newline="") as sink:
                table = csv.DictWriter(sink, ["id", "who", "body"])
                table.writeheader()
                table.writerows(part)

    def at(pointer: str) -> Record:
        with (folder / "mail" / pointer.partition("#")[0]).open(newline="") as stream:
            return list(csv.DictReader(stream))[number(pointer) - 2]

    return Kind(
        section=lambda: 'origin = "file:mail/"\nformat = "csv"', write=write, at=at
    )  # fmt: skip


def archive(folder: Path, _fixture: Callable[[str], Any]) -> Kind:
    path = folder / "mail.zip"

    def write(rows: list[Record]) -> None:
        with zipfile.ZipFile(path, "w") as sink:
            sink.writestr("inbox/mail.jsonl", lines(rows))

    def at(pointer: str) -> Record:
        assert pointer.startswith("mail.zip/inbox/mail.jsonl#")
        with zipfile.ZipFile(path) as packed:
            found = packed.read("inbox/mail.jsonl").splitlines()[number(pointer) - 1]
        return dict(json.loads(found))

    return Kind(
        section=lambda: 'origin = "file:mail.zip"\nformat = "jsonl"',
        write=write,
        at=at,
    )


ASKS = 'query = "SELECT id, who, body, seen FROM mail_of_all"\nkey = "id"'


class Stamped:
    """Gives a row another `seen` whenever it says something else."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[Record, int]] = {}
        self._clock = 0

    def __call__(self, rows: list[Record]) -> list[tuple[Any, ...]]:
        self._clock += 1
        for row in rows:
            if self._rows.get(row["id"], ({}, 0))[0] != row:
                self._rows[row["id"]] = row, self._clock
        return [(*row.values(), self._rows[row["id"]][1]) for row in rows]


def sqlite(folder: Path, _fixture: Callable[[str], Any], more: str = "") -> Kind:
    stamped = Stamped()

    @contextlib.contextmanager
    def opened() -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(folder / "crm.db")) as database, database:
            database.row_factory = sqlite3.Row
            yield database

    def write(rows: list[Record]) -> None:
        with opened() as database:
            database.execute("DROP TABLE IF EXISTS mail_of_all")
            database.execute("CREATE TABLE mail_of_all (id, who, body, seen)")
            database.executemany("INSERT INTO mail_of_all VALUES (?, ?, ?, ?)", stamped(rows))

    def at(pointer: str) -> Record:
        with opened() as database:
            asked = "SELECT * FROM mail_of_all WHERE id = ?"
            return dict(database.execute(asked, (int(key(pointer)),)).fetchone())

    return Kind(
        section=lambda: f'origin = "sqlite:crm.db"\n{ASKS}\n{more}',
        write=write,
        at=at,
        in_any_order=True,
    )


def sqlite_by_cursor(folder: Path, fixture: Callable[[str], Any]) -> Kind:
    return sqlite(folder, fixture, 'cursor = "seen"')


def postgres(folder: Path, fixture: Callable[[str], Any], more: str = "") -> Kind:
    import psycopg
    from psycopg.rows import dict_row

    server, stamped = fixture("server"), Stamped()
    environment = fixture("monkeypatch")
    environment.setenv("PGUSER", "reader")
    environment.setenv("PGPASSWORD", "read")

    def write(rows: list[Record]) -> None:
        server.run(
            "DROP TABLE IF EXISTS mail_of_all;"
            "CREATE TABLE mail_of_all (id int, who text, body text, seen int)"
        )
        said = json.dumps([dict(zip("abcd", row, strict=True)) for row in stamped(rows)])
        server.run(
            f"INSERT INTO mail_of_all SELECT * FROM json_to_recordset($rows${said}$rows$)"
            " AS x(a int, b text, c text, d int)"
        )

    def at(pointer: str) -> Record:
        where = f"host=127.0.0.1 port={server.port} dbname=crm"
        with psycopg.connect(where, row_factory=dict_row) as connection:
            asked = "SELECT * FROM mail_of_all WHERE id = %s"
            found = connection.execute(asked, (int(key(pointer)),)).fetchone()
        assert found is not None
        return found

    return Kind(
        section=lambda: f'origin = "{server.origin}"\n{ASKS}\n{more}',
        write=write,
        at=at,
        in_any_order=True,
    )


def postgres_by_cursor(folder: Path, fixture: Callable[[str], Any]) -> Kind:
    return postgres(folder, fixture, 'cursor = "seen"')


def interface(folder: Path, fixture: Callable[[str], Any]) -> Kind:
    """An API, of two pages."""
    api, there = fixture("api"), []

    def answer(target: str) -> Any:
        second = "page=2" in target
        return api.json({"data": there[2:] if second else there[:2], "more": not second})

    def write(rows: list[Record]) -> None:
        there[:] = rows
        api.answer = answer

    return Kind(
        section=lambda: (
            f'origin = "{api.url()}?page=1"\nrecords = "data"\nkey = "id"\n'
            'next = { by = "page", parameter = "page", more = "more" }'
        ),
        write=write,
        at=lambda pointer: next(row for row in there if str(row["id"]) == key(pointer)),
        hosts=(api.host,),
        in_any_order=True,
    )


def package(folder: Path, fixture: Callable[[str], Any]) -> Kind:
    """Wheels in a folder that the real pip finds, each of another version."""
    house = folder / "wheels"
    house.mkdir()
    environment = fixture("monkeypatch")
    for name, value in (
        ("NO_INDEX", "1"),
        ("FIND_LINKS", str(house)),
        ("CONFIG_FILE", "/dev/null"),
    ):
        environment.setenv(f"PIP_{name}", value)

    def newest() -> Path:
        return house / f"our_mail-{len(list(house.iterdir()))}-py3-none-any.whl"

    def write(rows: list[Record]) -> None:
        version = len(list(house.iterdir())) + 1
        about = f"our_mail-{version}.dist-info"
        with zipfile.ZipFile(house / f"our_mail-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(
                f"{about}/METADATA", f"Metadata-Version: 2.1\nName: our-mail\nVersion: {version}\n"
            )
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
            wheel.writestr("our_mail/mail.jsonl", lines(rows))

    def section() -> str:
        digest = hashlib.sha256(newest().read_bytes()).hexdigest()
        return (
            f'origin = "pypi:our-mail=={newest().name.split("-")[1]}"\nsha256 = "{digest}"\n'
            'files = ["our_mail/*.jsonl"]\nformat = "jsonl"'
        )

    def at(pointer: str) -> Record:
        assert pointer.startswith("our_mail/mail.jsonl#")
        with zipfile.ZipFile(newest()) as wheel:
            return dict(
                json.loads(wheel.read("our_mail/mail.jsonl").splitlines()[number(pointer) - 1])
            )

    return Kind(section=section, write=write, at=at, keeps_ids=False, forgets=False)


def bucket(folder: Path, fixture: Callable[[str], Any]) -> Kind:
    """Two objects, with the even rows and the odd ones."""
    server, environment = fixture("object_server"), fixture("monkeypatch")
    environment.setenv("AWS_ACCESS_KEY_ID", "reader")
    environment.setenv("AWS_SECRET_ACCESS_KEY", "read")
    name, there = server.bucket(), {}

    def write(rows: list[Record]) -> None:
        for key, part in (("in/a.jsonl", rows[::2]), ("in/b.jsonl", rows[1::2])):
            there[key.removeprefix("in/")] = part
            server.put(name, key, lines(part).encode())

    return Kind(
        section=lambda: (
            f'origin = "s3://{name}/in"\nendpoint = "http://{server.host}"\nformat = "jsonl"'
        ),
        write=write,
        at=lambda pointer: there[pointer.partition("#")[0]][number(pointer) - 1],
        hosts=(server.host,),
    )


def tap(folder: Path, _fixture: Callable[[str], Any]) -> Kind:
    """A program that tells of all rows each time."""
    path, there = folder / "tap.py", []
    schema = {"type": "SCHEMA", "stream": "mail", "schema": {}, "key_properties": ["id"]}

    def write(rows: list[Record]) -> None:
        there[:] = rows
        told = [{"type": "RECORD", "stream": "mail", "record": row} for row in rows]
        path.write_text(f"#!{sys.executable}\nprint({lines([schema, *told])!r})\n")
        path.chmod(0o755)

    return Kind(
        section=lambda: 'origin = "singer:"\ntap = ["./tap.py"]\nstream = "mail"',
        write=write,
        at=lambda pointer: next(row for row in there if str(row["id"]) == key(pointer)),
        in_any_order=True,
    )


KINDS = (
    file, folder_of_files, archive, sqlite, sqlite_by_cursor, postgres, postgres_by_cursor,
    interface, bucket, tap, package,
)  # fmt: skip


def number(pointer: str) -> int:
    return int(pointer.rpartition("#")[2])


def key(pointer: str) -> str:
    assert "#id=" in pointer
    return pointer.rpartition("#id=")[2]


# What is loaded.


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one run made."""

    asset: DataAsset
    rows: list[Record]
    refused: list[Record]
    did: list[str]
    """What happened to its steps: hit, or started and finished."""

    @property
    def ids(self) -> dict[str, str]:
        """The id of each row by what its record says."""
        return {str(json.loads(row["attributes"])["body"]): row["row_id"] for row in self.rows}


class System:
    """A system with rows, and a project that has it as its source."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder, self.kind = folder, kind

    def load(self, rows: list[Record] | None = None) -> Load:
        """Write rows, if there are others, and run."""
        if rows is not None:
            self.kind.write(rows)
            (self.folder / "tunesmith.toml").write_text(
                f'[project]\nname = "crm"\nhosts = {json.dumps(self.kind.hosts)}\n\n[source.mail]\n'
                f'{self.kind.section()}\ntext = "body"\nsubject = "who"\n'
            )
        did: list[str] = []
        project = open_project(
            self.folder,
            on_event=lambda event: did.append(event.what) if ":" in event.step else None,
            asks=True,
        )
        try:
            asset = project.run(build(project.file).assets["mail"])
            found = [
                pq.read_table(project.runner.blobs.path(blob)).to_pylist()
                for blob in (asset.rows, asset.quarantine)
            ]
        finally:
            project.close()
        did = [what for what in did if what not in ("progress", "looked")]
        made = Load(asset=asset, rows=found[0], refused=found[1], did=did)
        assert asset.num_in == sum(
            (asset.num_rows, asset.num_quarantined, asset.num_filtered, asset.num_erased)
        )
        assert (len(made.rows), len(made.refused)) == (asset.num_rows, asset.num_quarantined)
        assert len({row["row_id"] for row in made.rows}) == asset.num_rows
        return made

    def forget(self, who: str) -> None:
        project = open_project(self.folder)
        try:
            assert forget(project, [who]).found == ()
        finally:
            project.close()


ROWS = [{"id": n, "who": f"customer-{n:04}", "body": f"Where is parcel {n}?"} for n in range(1, 6)]


@pytest.fixture(params=KINDS, ids=[kind.__name__ for kind in KINDS])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    return System(tmp_path, request.param(tmp_path, request.getfixturevalue))


def test_what_did_not_change_is_not_loaded_again(system: System) -> None:
    first = system.load(ROWS)
    assert set(first.did) == {"started", "finished"}
    assert len(first.rows) == len(ROWS)
    second = system.load()
    assert second.did == ["hit", "hit"]
    assert second.asset == first.asset


def test_a_changed_row_is_another_version_in_which_the_others_are_the_same(system: System) -> None:
    first = system.load(ROWS)
    changed = [row | {"body": "It came."} if row["id"] == 3 else row for row in ROWS]
    second = system.load([*changed[:4], {"id": 6, "who": "customer-0006", "body": "I moved."}])
    assert second.asset.rows != first.asset.rows
    others = [row["body"] for row in changed[:4] if row["id"] != 3]
    assert second.ids.keys() == {*others, "It came.", "I moved."}
    if system.kind.keeps_ids:
        assert {first.ids[body] for body in others} == {second.ids[body] for body in others}
        assert second.ids["It came."] not in first.ids.values()


def test_the_order_in_which_rows_were_written_is_nothing_to_it(system: System) -> None:
    """Of files it is part of what they say: then the version is another, the rows are not."""
    first = system.load(ROWS)
    second = system.load(ROWS[::-1])
    if system.kind.in_any_order:
        assert second.did == ["hit", "hit"]
        assert second.asset == first.asset
    elif system.kind.keeps_ids:
        assert second.asset != first.asset
        assert second.ids == first.ids


def test_a_bad_row_costs_itself_alone_and_is_pointed_at(system: System) -> None:
    found = system.load([*ROWS[:2], ROWS[2] | {"body": ""}, *ROWS[3:]])
    assert [row["text"] for row in sorted(found.rows, key=lambda row: row["text"])] == [
        row["body"] for row in (*ROWS[:2], *ROWS[3:])
    ]
    (refused,) = found.refused
    assert refused["rule"] == "empty-text"
    assert str(system.kind.at(refused["pointer"])["id"]) == "3"
    assert found.asset.quarantined_by_rule == {"empty-text": 1}


def test_a_pointer_leads_back_to_the_record(system: System) -> None:
    found = system.load(ROWS)
    assert len({row["pointer"] for row in found.rows}) == len(ROWS)
    for row in found.rows:
        record = {name: str(value) for name, value in system.kind.at(row["pointer"]).items()}
        said = json.loads(row["attributes"])
        assert {name: str(value) for name, value in said.items()} == record
        assert row["text"] == record["body"]


def test_who_is_forgotten_stays_out_whatever_the_system_still_has(system: System) -> None:
    system.load(ROWS)
    if not system.kind.forgets:
        with pytest.raises(DataError):
            system.forget("customer-0003")
        assert len(system.load().rows) == len(ROWS), "and nothing was done"
        return
    system.forget("customer-0003")
    changed = [row | {"body": f"{row['body']} Please."} for row in ROWS[2:]]
    for rows in (None, [*ROWS[:2], *changed]):
        found = system.load(rows)
        assert found.asset.num_erased == 1
        assert {json.loads(row["attributes"])["who"] for row in found.rows} == {
            row["who"] for row in ROWS if row["id"] != 3
        }
    assert "Where is parcel 5? Please." in found.ids


def test_every_kind_of_origin_is_here(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What the project file's documentation of `origin` names."""
    settings = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
    (description,) = (
        line
        for line in settings.read_text().splitlines()
        if line.startswith("| `origin` | required | Where the rows")
    )
    written = ""
    for kind in KINDS:
        (tmp_path / kind.__name__).mkdir()
        made = kind(tmp_path / kind.__name__, request.getfixturevalue)
        made.write(ROWS)
        written += made.section()
    for scheme in ("pypi:", "file:", "sqlite:", "postgresql://", "https://"):
        assert scheme in description
        assert scheme.replace("https", "http") in written
