"""The pages on loading, as they say: their settings on their files and on what is wrong with files,
the rows that they show, and the messages that they quote, all of them and no others."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import io
import json
import re
import shlex
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
HEAD = '[project]\nname = "desk"\n'


class Page:
    """One page, and a project in a folder that is made of what it says."""

    def __init__(self, name: str, folder: Path) -> None:
        self.text = (HOW_TO / name).read_text()
        self.folder = folder
        self.toml = "\n".join(self.blocks("toml"))
        for path, said in re.findall(r"`([\w/.-]+)`:\n\n```\w+\n(.*?)```", self.text, re.DOTALL):
            self.write(path, said)
        self.settle(self.toml if "[project]" in self.toml else HEAD + self.toml)

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"```{language}\n(.*?)```", self.text, re.DOTALL)

    def write(self, path: str, data: str | bytes) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)

    def settle(self, toml: str) -> None:
        self.write("tunesmith.toml", toml)

    def process(self, *words: str) -> SimpleNamespace:
        done = CliRunner().invoke(app, [*words, "-p", str(self.folder)])
        code = getattr(done.exception, "exit_code", done.exit_code)  # as `main` ends with
        return SimpleNamespace(code=code, out=done.stdout, said=f"{done.stderr}{done.exception}")

    def tunesmith(self, *words: str) -> str:
        done = self.process(*words)
        assert done.code == 0, f"{words}\n{done.out}\n{done.said}"
        return done.out

    def consoles(self) -> Iterator[tuple[list[str], list[str]]]:
        """(command, lines that are to be in what it prints)"""
        for block in self.blocks("console"):
            for command in block.split("$ tunesmith ")[1:]:
                words, *lines = command.splitlines()
                yield shlex.split(words), lines

    def sources(self) -> list[str]:
        return re.findall(r"^\[source\.([\w-]+)\]$", self.toml, re.MULTILINE)

    def quoted(self) -> dict[tuple[str, str], str]:
        """(pointer, rule) -> reason, in the tables of what is wrong."""
        found = re.findall(r"\| `([^`|]+)` `([a-z-]+)`: ([^|]+) \|", self.text)
        assert len({found[:2] for found in found}) == len(found)
        return {(pointer, rule): reason for pointer, rule, reason in found}

    def stops(self) -> dict[str, str]:
        """What is wrong -> what the run is to say, in the tables of those."""
        tables = re.findall(r"\| wrong \| the run says \| do \|\n\|[-|]+\n((?:\|.*\n)+)", self.text)
        rows = [line.strip("|").split(" | ") for table in tables for line in table.splitlines()]
        return {wrong.strip(): said.strip() for wrong, said, _ in rows}

    def check(self) -> None:
        """The page's commands, rows and quarantine."""
        for words, lines in self.consoles():
            out = squeezed(self.tunesmith(*words))
            for line in lines:
                assert squeezed(line) in out
        rows: list[dict[str, Any]] = []
        refused: dict[tuple[str, str], str] = {}
        for name in self.sources():
            out = self.folder / "out" / name
            self.tunesmith("data", "checkout", name, str(out))
            rows += pq.read_table(out / "rows.parquet").to_pylist()
            for row in pq.read_table(out / "quarantine.parquet").to_pylist():
                refused[row["pointer"], row["rule"]] = row["reason"]
        quoted = self.quoted()
        assert refused.keys() == quoted.keys()
        for key, said in quoted.items():
            start = said.removesuffix("...")
            assert refused[key] == said or (start != said and refused[key].startswith(start)), key
        shown = [json.loads(block) for block in self.blocks("json")]
        for row in rows:
            row["attributes"] = json.loads(row["attributes"])
        for each in shown:
            (row,) = [row for row in rows if row["pointer"] == each["pointer"]]
            assert {name: row[name] for name in each} == each
        assert {each["pointer"].partition("#")[0] for each in shown} <= {
            row["pointer"].partition("#")[0] for row in rows
        }

    def check_stops(self, wrong: dict[str, str]) -> None:
        """Each of these project files stops the run with the message that the page quotes."""
        stops = self.stops()
        for what, toml in wrong.items():
            self.settle(toml)
            done = self.process("run")
            assert done.code in (1, 2, 4), what
            assert stops[what] in squeezed(done.said), f"{what}: {done.said}"


def squeezed(text: str) -> str:
    return " ".join(text.split())


def section(page: Page, name: str) -> str:
    """The page's section of one source."""
    return re.search(rf"\[source\.{name}\]\n(?:(?!\[).+\n)*", page.toml).group()


def zipped(**members: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, said in members.items():
            archive.writestr(name, said)
    return sink.getvalue()


def linked() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        link = tarfile.TarInfo("2025/link.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return sink.getvalue()


def visits() -> bytes:
    sink = io.BytesIO()
    table = {
        "id": [1], "day": [datetime.date(2026, 11, 2)], "price": [decimal.Decimal("12.50")],
        "photo": [b"\xff\xd8"], "ratio": [float("nan")],
    }  # fmt: skip
    pq.write_table(pa.table(table), sink)
    return sink.getvalue()


def twice() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table([[1], [2]], names=["id", "id"]), sink)
    return sink.getvalue()


def renamed(book: bytes) -> bytes:
    """A workbook whose only sheet is no longer called Staff."""
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    return zipped(**{name: said.replace('"Staff"', '"People"') for name, said in parts.items()})


def wheel(folder: Path) -> str:
    """A package in a folder that pip finds it in; its SHA-256."""
    info = "our_mail-2026.11.dist-info"
    data = zipped(**{
        "our_mail/rows/1.txt": "Where is my parcel?\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: our-mail\nVersion: 2026.11\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    })  # fmt: skip
    folder.mkdir()
    (folder / "our_mail-2026.11-py3-none-any.whl").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_files(page: Page, files) -> None:
    """What the page on files speaks of and does not print."""
    cells, xlsx = files.cells, files.xlsx
    old = zipped(**{"2025/mail.jsonl": '{"id": 1}\n', "2024/mail.jsonl": '{"id": 0}\n'})
    mine: dict[str, str | bytes] = {
        "calls/good.tsv": "id\tnote\n1\tShe calls back.\n",
        "calls/twice.tsv": "id\tid\n1\t2\n",
        "calls/latin.tsv": "id\tnote\n1\tcafé\n".encode("latin-1"),
        "calls/mac.tsv": "id\tnote\r1\tHe calls back.\r",
        "tickets/two.json": '{"tickets": [{"id": 1}], "people": [{"id": 1}]}',
        "tickets/half.json": '[{"id": 1}, {"id"',
        "talks/other.yml": "talks: []\n",
        "talks/half.yml": "conversations: [",
        "talks/alias.yml": "conversations:\n- &a b\n- *a\n",
        "visits/2026.parquet": visits(),
        "visits/half.parquet": visits()[:100],
        "visits/twice.parquet": twice(),
        "stock/2026.xlsx": xlsx(cells(["name", "department"], ["Ada", "sales"], ["B", "C", "D"])),
        "stock/titled.xlsx": xlsx(cells(["Staff", "Staff"], ["name", "department"])),
        "stock/renamed.xlsx": renamed(xlsx(cells(["name"], ["Ada"]))),
        "stock/old.xlsx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 64,
        "notes/monday.txt": "The lift is out of order.-- draft --\n",
        "notes/blank.txt": "-- draft --\n",
        "notes/latin.txt": "café".encode("latin-1"),
        "rules/bare.md": "Parcels come back.\n",
        "rules/colon.md": "---\ndepartment: returns: late\n---\nText.\n",
        "rules/unlabelled.md": "---\nsince: 2026\n---\nText.\n",
        "rules/blank.md": "---\ndepartment: sales\n---\n",
        "old/mail.zip": old,
        "old/evil.zip": zipped(**{"../2025/mail.jsonl": "{}"}),
        "old/link.tar": linked(),
        "old/mail.jsonl.zst": b"\x28\xb5\x2f\xfd\x20\x09",
        "old/half.zip": old[:-40],
    }  # fmt: skip
    for path, data in mine.items():
        page.write(f"data/{path}", data)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The SHA-256 of the package that the page on files reads; pip finds it, and nothing else."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return wheel(tmp_path / "index")


def test_files(tmp_path, files, package):
    page = Page("load-files.md", tmp_path / "desk")
    write_files(page, files)
    pinned = page.toml.replace('==2026.11"\n', f'==2026.11"\nsha256 = "{package}"\n')
    assert pinned != page.toml
    page.settle(HEAD + pinned)
    page.check()


OF_PACKAGES = {
    "not pinned",
    "another wheel than was pinned",
    "no file of that name in it",
    "no such version",
}


def test_files_that_stop_a_run(tmp_path, files):
    page = Page("load-files.md", tmp_path)
    write_files(page, files)
    orders, calls, mail = (HEAD + section(page, name) for name in ("orders", "calls", "mail"))
    tmp_path.joinpath("data", "link.jsonl").symlink_to("/etc/passwd")
    wrong = {
        "no such file": mail.replace("mail.jsonl", "mial.jsonl"),
        "no file of that name": calls.replace("*.tsv", "*.csv"),
        "a link to elsewhere": mail.replace("mail.jsonl", "link.jsonl"),
        "edited since it was pinned": orders + f'sha256 = "{"0" * 64}"\n',
        "not one row can be used": orders + 'delimiter = ";"\n',
        "more is bad than you allow (`max_quarantined`)": mail + "max_quarantined = 0.5\n",
    }
    assert page.stops().keys() == wrong.keys() | OF_PACKAGES
    page.check_stops(wrong)


@pytest.mark.slow
def test_packages_that_stop_a_run(tmp_path, package):
    page = Page("load-files.md", tmp_path / "desk")
    desk = HEAD + section(page, "desk")
    pin = f'sha256 = "{package}"\n'
    wrong = {
        "not pinned": desk,
        "another wheel than was pinned": desk + f'sha256 = "{"0" * 64}"\n',
        "no file of that name in it": desk.replace("rows/*", "row/*") + pin,
        "no such version": desk.replace("2026.11", "2026.12"),
    }
    assert wrong.keys() == OF_PACKAGES
    page.check_stops(wrong)


LOCK = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<00> <00>]" % (
    (b"00" * 32, b"11" * 32)
)


def write_documents(page: Page, files) -> None:
    """What the page on documents speaks of and does not print."""
    said = f"<w:p><w:r><w:t>{files.words}</w:t></w:r></w:p>"
    locked = files.bad["epub"]
    report = files.pdf(
        [(700, "Parcels come back within a month.")], [(700, "A label is enclosed.")]
    )
    mine: dict[str, str | bytes] = {
        "policies/setup.exe": b"MZ",
        "policies/blank.md": "\n",
        "reports/2026.pdf": report,
        "reports/scan.pdf": files.pdf([]),
        "reports/half.pdf": report[:60],
        "reports/locked.pdf": report.replace(b"trailer <<", b"trailer << " + LOCK),
        "manual/returns.html": "<title>Returns - Manual</title><nav>Home</nav><h1>Returns</h1>"
        "<p>Parcels come back within a month.</p><script>track()</script>",
        "manual/latin.html": "<p>café</p>".encode("latin-1"),
        "manual/app.html": "<div id=app></div><script>show()</script>",
        "handbook/start.md": "---\nauthor: Ada\n---\n# Start\n\nSwitch it on.\n",
        "handbook/open.md": "---\nauthor: Ada\n# Start\n",
        "books/guide.epub": files.samples["epub"],
        "books/locked.epub": next(d for d, rules in locked.items() if rules == {"encrypted"}),
        "books/other.epub": zipped(**{"META-INF/container.xml": "<c/>"}),
        "letters/offer.docx": files.docx(said),
        "letters/old.docx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 64,
        "letters/damaged.docx": files.docx("<w:p>"),
        "slides/plan.pptx": files.pptx("First", files.words),
        "slides/other.pptx": zipped(**{"notes.txt": "No slides."}),
        "minutes/board.odt": files.samples["odt"],
        "minutes/evil.odt": files.odt(files.hostile_xml(page.folder)[0]),
        "mail/note.eml": "Only a note.\n",
        "mail/blank.eml": "From: Ada <ada@example.org>\n\n",
        "mail/wrong.eml": b"From: Ada <ada@example.org>\n"
        b"Content-Type: text/plain; charset=utf-8\n\ncaf\xe9\n",
        "support/2026.mbox": "From x\nFrom: a@example.org\nList-ID: sales\n\nHello.\n\n"
        "From y\nFrom: b@example.org\nList-ID: support\n\nIs it late?\n",
        "support/old.mbox": "From: a@example.org\n\nHello.\n",
    }
    for path, data in mine.items():
        page.write(path, data)


def test_documents_and_mail(tmp_path, files):
    page = Page("load-documents-and-mail.md", tmp_path)
    write_documents(page, files)
    page.check()


def test_an_api(tmp_path, api, monkeypatch):
    page = Page("load-from-an-api.md", tmp_path)
    token = "a-token-of-this-test"
    monkeypatch.setenv("CRM_TOKEN", token)
    toml = page.toml.replace("https://api.example.com", f"http://{api.host}")
    toml = toml.replace('"api.example.com"', f'"{api.host}"')
    (first,) = map(json.loads, page.blocks("http"))
    others = [{"id": 19, "body": "Late?"}, {"id": 20, "body": " ", "department": "sales"}, "none"]
    last = {"data": {"items": others}, "meta": {}}

    def answer(target: str) -> Any:
        assert api.requests[-1][1]["authorization"] == f"Bearer {token}"
        return api.json(last if "after=18" in target else first)

    api.answer = answer
    page.settle(toml)
    page.check()
    assert api.targets == [
        "/v2/tickets?status=closed&per_page=2", "/v2/tickets?status=closed&per_page=2&after=18",
    ]  # fmt: skip

    def items(*records: Any, **more: Any) -> Any:
        return api.json({"data": {"items": records}, **more})

    follows = toml.replace('"cursor"', '"link"').replace(', parameter = "after"', "")
    wrong = {
        "the host is not allowed": (toml.replace(f'["{api.host}"]', "[]"), items()),
        "it may not read this": (toml, (401, {}, b"")),
        "no such address": (toml, (404, {}, b"")),
        "a page to log in": (toml, (200, {"Content-Type": "text/html"}, b"<p>")),
        "the list is elsewhere": (toml, api.json({"items": []})),
        "no such key in a record": (toml, items({"number": 1})),
        "a key twice: records moved from page to page while they were read": (
            toml, items({"id": 1}, {"id": 1}),
        ),
        "pages without end": (
            follows, items({"id": 1}, meta={"next": "/v2/tickets?status=closed&per_page=2"}),
        ),
        "the next page is elsewhere": (follows, items(meta={"next": "http://127.0.0.1:9/"})),
        "the answer has the token in it": (toml, items({"id": 1, "said": token})),
        "it has to wait too long": (toml, (429, {"Retry-After": "900"}, b"")),
        "the token is not set": (toml, items()),
    }  # fmt: skip
    assert page.stops().keys() == wrong.keys()
    for what, (text, reply) in wrong.items():
        api.answer = lambda _, reply=reply: reply
        if what == "the token is not set":
            monkeypatch.delenv("CRM_TOKEN")
        page.check_stops({what: text})
