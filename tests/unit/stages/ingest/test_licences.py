"""What packages and files say of the licence, from real archives made on the spot."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import PackageError
from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.records.licence import LicenceStatements
from tunesmith.stages.ingest.describing import LicenceConfig
from tunesmith.stages.ingest.licences import (
    MAX_BYTES,
    NOT_GIVEN,
    examine,
    lines_of,
)
from tunesmith.text.licences import differing, doubts

MakePackage = Callable[[Any], Package]
INFO = "texts-1.0.dist-info/METADATA"
README = """# many texts

Sentences for testing parsers.

- words of pop songs (lyrics)
- what was said in a popular sitcom, as transcripts

Somebody found these on the web, so please do not sell them commercially.
"""


def looked_at(ctx: Context, package: Package, declared: str = "MIT") -> LicenceStatements:
    return examine(LicenceConfig(name="texts", licence=declared), ctx, package=package)


def said(found: LicenceStatements) -> list[tuple[str, str, int, str]]:
    return [(each.kind, each.file, each.line, each.says) for each in found.statements]


def metadata(*lines: str, description: str = "") -> bytes:
    return "\n".join(["Metadata-Version: 2.4", "Name: texts", *lines, "", description]).encode()


def tgz(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: CC-BY-4.0", "License: whatever"], ["CC-BY-4.0"]),
        (["License: Apache 2.0"], ["Apache-2.0"]),
        (["Classifier: License :: OSI Approved :: BSD License"], ["BSD-2-Clause OR BSD-3-Clause"]),
        (["License: MIT", "Classifier: License :: OSI Approved :: MIT License"], ["MIT"]),
        (["License: ask us"], [""]),
        (["License: UNKNOWN", "Classifier: License :: OSI Approved"], []),
        (["Classifier: License :: Other/Proprietary License"], ["", NOT_GIVEN]),
        ([], []),
    ],
)
def test_a_wheel_says_its_licence(
    ctx: Context, make_package: MakePackage, lines: list[str], expected: list[str]
) -> None:
    found = looked_at(ctx, make_package({INFO: metadata(*lines), "texts/a.txt": b"x"}))
    assert [each.says for each in found.statements] == expected
    assert {each.kind for each in found.statements} <= {"package", "others"}
    assert found.num_files == 1


@pytest.mark.parametrize(
    ("package_json", "expected"),
    [
        ('{"name": "x",\n "license": "MIT"}', [("package", 2, "MIT")]),
        ('{"license": {"type": "ISC", "url": "..."}}', [("package", 1, "ISC")]),
        ('{"licenses": [{"type": "MIT"}, {"type": "Apache-2.0"}]}',
         [("package", 1, "MIT"), ("package", 1, "Apache-2.0")]),
        ('{"license": "SEE LICENSE IN x"}', [("package", 1, "")]),
        ('{"license": "UNLICENSED"}', [("package", 1, ""), ("others", 1, NOT_GIVEN)]),
        ('{"license": 7}', []),
        ('["license"]', []),
        ("{broken", []),
        ("[" * 100_000, []),
    ],
)  # fmt: skip
def test_so_does_a_package_of_npm(
    ctx: Context, make_package: MakePackage, package_json: str, expected: list[Any]
) -> None:
    archive = tgz({"package/package.json": package_json, "package/texts.json": "[]"})
    found = looked_at(ctx, make_package({"texts-4.4.0.tgz": archive}))
    assert [(each.kind, each.line, each.says) for each in found.statements] == expected


def test_a_licence_over_the_texts_of_others_is_doubtful(
    ctx: Context, make_package: MakePackage
) -> None:
    files = {"package/package.json": json.dumps({"license": "MIT"}), "package/README.md": README}
    package = make_package({"texts-4.4.0.tgz": tgz(files)})
    found = looked_at(ctx, package)
    readme = "texts-4.4.0.tgz/package/README.md"
    assert said(found) == [
        ("others", readme, 5, "song lyrics"),
        ("others", readme, 6, "transcripts or subtitles of films or shows"),
        ("others", readme, 8, "texts that were taken from web sites"),
        ("others", readme, 8, "no commercial use"),
        ("package", "texts-4.4.0.tgz/package/package.json", 1, "MIT"),
    ]
    assert [each.says for each in doubts(found)] == [each[3] for each in said(found)[:-1]]
    lines = lines_of(ctx.blobs.path(package.wheel), package.filename, ctx.workdir)
    assert lines[readme][4] == "- words of pop songs (lyrics)"
    # What is kept says where it stands, and repeats no word of it.
    assert b"pop songs" not in canonical_json(found)


def test_a_stricter_licence_in_a_file_is_doubtful_and_a_looser_one_is_not(
    ctx: Context, make_package: MakePackage
) -> None:
    notes = {
        "data/README": b"The tables are licensed under CC BY-NC 4.0.\n",
        "data/NOTICE": b"SPDX-License-Identifier: CC0-1.0\n",
        "data/licence.py": b"# licensed under the GPL version 3\n",
        "data/mit.LICENSE": b"This is released under the GPL version 2.\n",
    }
    found = looked_at(ctx, make_package(notes))
    assert [each.says for each in differing(found)] == ["CC0-1.0", "CC-BY-NC-4.0"]
    assert [(each.file, each.says) for each in doubts(found)] == [("data/README", "CC-BY-NC-4.0")]
    assert found.num_files == 2


def test_that_rights_are_reserved_says_something_where_no_licence_is_beside_it(
    ctx: Context, make_package: MakePackage
) -> None:
    reserved = b"Copyright 2026 Somebody. All rights reserved.\n"
    assert [
        each.says for each in looked_at(ctx, make_package({"README": reserved})).statements
    ] == ["all rights are reserved"]
    both = {"README": reserved, INFO: metadata("License-Expression: MIT")}
    assert [each.says for each in looked_at(ctx, make_package(both)).statements] == ["MIT"]


def test_the_description_of_a_wheel_is_read_and_its_lines_are_those_of_the_file(
    ctx: Context, make_package: MakePackage
) -> None:
    text = metadata("License: MIT", description="About\n=====\n\nAll lyrics are theirs.\n")
    found = looked_at(ctx, make_package({INFO: text}))
    assert said(found)[1:] == [("others", INFO, 8, "song lyrics")]
    assert text.decode().splitlines()[7] == "All lyrics are theirs."


def test_what_is_no_text_or_too_large_is_left_alone(
    ctx: Context, make_package: MakePackage
) -> None:
    members = {
        "README": b"lyrics\0",
        "LICENSE": os.urandom(MAX_BYTES).replace(b"\0", b" ") + b" lyrics",
        "COPYING": b"\xff\xfe lyrics",
        "README.tgz": b"no archive",
    }
    found = looked_at(ctx, make_package(members))
    assert said(found) == [("others", "COPYING", 1, "song lyrics")]


def test_a_hostile_package_is_refused(ctx: Context, make_package: MakePackage) -> None:
    with pytest.raises(PackageError, match="not plain"):
        looked_at(ctx, make_package({"../README": b"x"}))
