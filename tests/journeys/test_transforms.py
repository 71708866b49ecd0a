"""The page on transforms, as it says: its settings, its function, its queries, its commands."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tunesmith.cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "transform-data.md"
SOURCES = """
[source.mail]
origin = "file:data/mail.jsonl"
format = "jsonl"
text = "body"
subject = "customer"
licence = "MIT"
owner = "mail room"

[source.branches]
origin = "file:data/branches.csv"
format = "csv"
licence = "CC0-1.0"
owner = "head office"

"""
DATASET = """
[dataset.routes]
sources = ["letters"]
base = "tiny"
format = "text"
columns = { text = "text" }
test_rows = 4
"""
TOPICS = ("loan", "card", "fees")
WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "jetty",
    "knoll",
    "lagoon",
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def letter(n: int) -> dict:
    said = " ".join(WORDS[(n * k + k * k) % 6] + str(n * k) for k in range(1, 9))
    said = f"{said} and my grey parrot" if n == 7 else said
    return {
        "id": n,
        "customer": f"customer-{n:04}",
        "branch": "abc"[n % 3],
        "body": f"Dear bank, I write about the {TOPICS[n % 3]} {said}.",
    }


def write(folder: Path) -> None:
    rows = [letter(n) for n in range(30)]
    rows[4]["body"] = "An advertisement."
    rows[5]["body"] = "Dear bank, nothing to say."
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data" / "mail.jsonl").write_text(text)
    (folder / "data" / "branches.csv").write_text("branch,town\na,Aton\nb,Beton\n")
    (folder / "clean.py").write_text(blocks("python")[0])
    (folder / "topics.sql").write_text(blocks("sql")[0])


@dataclass(frozen=True)
class InProcess:
    """The command line on a folder, in this process."""

    folder: Path

    def process(self, *words: str) -> SimpleNamespace:
        done = CliRunner().invoke(app, [*words, "-p", str(self.folder)])
        code = getattr(done.exception, "exit_code", done.exit_code)  # as `main` ends with
        said = f"{done.stderr}{done.exception or ''}"
        return SimpleNamespace(returncode=code, stdout=done.stdout, stderr=said)

    def tunesmith(self, *words: str, code: int = 0) -> str:
        done = self.process(*words)
        assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def plan(self) -> dict[str, tuple[str, str]]:
        lines = json.loads(self.tunesmith("plan", "--json"))["lines"]
        return {line["step"]: (line["state"], line["reason"]) for line in lines}


def test_the_page_as_it_says(tmp_path):
    (tmp_path / "data").mkdir()
    head = '[project]\nname = "bank"\n'
    (tmp_path / "tunesmith.toml").write_text(head + SOURCES + "".join(blocks("toml")))
    write(tmp_path)
    walk(InProcess(tmp_path), ())


@pytest.mark.slow
def test_the_page_with_a_dataset_in_processes_of_its_own(data_project):
    project = data_project("bank", SOURCES + DATASET + "".join(blocks("toml")))
    write(project.folder)
    walk(project, ("dataset routes",))


def walk(project, datasets: tuple[str, ...]) -> None:
    """Do what the page says, and look at what came of it; `datasets` are cut from `letters`."""
    assert project.plan()["transform:letters"] == ("runs", "transform:tidy runs before it")
    commands = [
        shlex.split(line.removeprefix("$ tunesmith "))
        for block in blocks("console")
        for line in block.splitlines()
    ]
    *looks, forget = commands
    said = {words[1] if len(words) > 1 else words[0]: project.tunesmith(*words) for words in looks}
    # The join, worked out by hand: no letter of branch c, which has no town; two are no letters.
    letters = [letter(n) for n in range(30) if n not in (4, 5) and "abc"[n % 3] != "c"]
    assert f"data asset  letters: {len(letters)} rows, MIT AND CC0-1.0" in said["run"]
    assert f"{len(letters)} rows of 30 of its sources, {len(letters)} out" in said["log"]
    assert "transform-error" in said["dropped"]
    assert "mail.jsonl#6" in said["dropped"]
    assert {state for state, _ in project.plan().values()} == {"hit"}

    found = json.loads(project.tunesmith("data", "trace", "grey parrot", "--json"))
    assert (found["member"], found["number"]) == ("mail.jsonl", 8)
    held = {(each["kind"], each["name"]) for each in found["holders"]}
    assert held >= {("transform", "tidy@1"), ("transform", "letters@1")}
    assert (("dataset", "routes@1") in held) == bool(datasets)
    if datasets:
        croissant = json.loads(project.tunesmith("data", "croissant", "routes"))
        assert [each["prov:label"] for each in croissant["prov:wasDerivedFrom"]] == [
            "mail (file:data/mail.jsonl)", "branches (file:data/branches.csv)",
        ]  # fmt: skip
        assert "letters was made by a transform" in project.tunesmith("data", "sheet", "routes")
        said = project.tunesmith("data", "diff", "routes", "routes@1")
        assert "licence, before and after: MIT AND CC0-1.0" in said
    out, after = project.folder / "out", project.folder / "after"
    project.tunesmith("data", "checkout", "topics", str(out))

    def towns(folder: Path) -> dict[str, int]:
        rows = pq.read_table(folder / "rows.parquet").to_pylist()
        return {
            json.loads(r["attributes"])["town"]: json.loads(r["attributes"])["letters"]
            for r in rows
        }

    wanted = Counter({"a": "Aton", "b": "Beton"}[each["branch"]] for each in letters)
    assert towns(out) == wanted
    (row, *_) = pq.read_table(out / "rows.parquet")["row_id"].to_pylist()
    up = json.loads(project.tunesmith("data", "trace", row, "--json"))["ancestors"]
    assert {each["name"] for each in up} == {"letters@1", "tidy@1", "mail@1", "branches@1"}
    assert "mail room, head office" in project.tunesmith("data", "trace", row)

    made = json.loads(project.tunesmith(*forget, "--json"))
    assert made["found"] == []
    assert set(made["rewritten"]) == {
        "source mail@2", "transform tidy@2", "transform letters@2", "transform topics@2",
        *(f"{each}@2" for each in datasets),
    }  # fmt: skip
    project.tunesmith("data", "checkout", "topics", str(after))
    assert towns(after) == wanted - Counter(["Beton"])
    project.tunesmith("data", "trace", "grey parrot", code=4)
    project.tunesmith("verify")
    entries = json.loads(project.tunesmith("ledger", "register", "--json"))
    assert "serves the data asset tidy" in json.dumps(entries)
    # What changed is said by name, and what is not touched stays.
    text = (project.folder / "clean.py").read_text()
    (project.folder / "clean.py").write_text(text + "\n# A remark.\n")
    plan = project.plan()
    assert (plan["transform:tidy"][0], "program" in plan["transform:tidy"][1]) == ("runs", True)
    assert plan["ingest:mail"][0] == "hit"
    (project.folder / "clean.py").unlink()
    done = project.process("run")
    assert done.returncode == 4
    assert "there is no clean.py" in done.stderr
