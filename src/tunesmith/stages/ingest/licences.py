"""What a package, and the files of a source that people put licences into, say of the licence.

A step of its own beside the reading of rows: what is known of licences grows, and no row has to be
read again for it. Read are what the package says of itself (a wheel's METADATA, npm's package.json)
and the files called README, LICENSE, COPYING, COPYRIGHT or NOTICE, also inside archives. Of a local
source these are files like others: they are seen if `files` takes them in.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tunesmith.core.step import Context
from tunesmith.records.data import Package
from tunesmith.records.licence import LicenceStatements, Statement
from tunesmith.stages.ingest.archive import open_archive
from tunesmith.stages.ingest.container import File, files_of, is_container
from tunesmith.stages.ingest.describing import LicenceConfig
from tunesmith.stages.ingest.entry import Quarantined
from tunesmith.text.licence_texts import licences_in, name_of, standard_texts
from tunesmith.text.licences import licence_of, spdx_of
from tunesmith.text.others import RESERVED, signs_of_others

MAX_FILES = 100
MAX_BYTES = 1 << 20
_FIELD = "License"
_METADATA = re.compile(r"(?:^|/)[^/]+\.(?:dist|egg)-info/METADATA$|(?:^|/)PKG-INFO$")
_PACKAGE_JSON = re.compile(r"(?:^|/)package\.json$")
_LICENCE = re.compile(
    r"(?:^|/)(?:un)?(?:licen[cs]es?|copying|copyright|notice)(?:[-_.][a-z0-9.-]{1,20})?$", re.I
)
_README = re.compile(r"(?:^|/)read[-_]?me(?:[-_.][a-z0-9-]{1,20})?$", re.I)
_NO_TEXT = re.compile(r"\.(?:py|pyc|js|mjs|ts|json|jsonl|csv|tsv|ya?ml|html?|pdf|png|rule)$", re.I)
_NOT_GIVEN = re.compile(r"\bproprietary\b|^unlicensed$", re.I)
NOT_GIVEN = "no licence is given"


def examine(config: LicenceConfig, ctx: Context, *, package: Package) -> LicenceStatements:
    """All that is said about the licence of what a source is read from.

    Raises:
        PackageError: the package is no whole zip, or hostile.
    """
    statements: list[Statement] = []
    num_files = 0
    with open_archive(ctx.blobs.path(package.wheel), package.filename) as archive:
        for name, text in _texts(archive, ctx.workdir):
            num_files += 1
            statements += _said(name, text)
    if any(each.kind != "others" and each.says for each in statements):
        statements = [each for each in statements if each.says != RESERVED]
    return LicenceStatements(
        name=config.name,
        declared=config.licence,
        statements=tuple(dict.fromkeys(statements)),
        num_files=num_files,
    )


def lines_of(package: Path, filename: str, folder: Path) -> dict[str, list[str]]:
    """The lines of the files that are looked at, by name: to show the words of a statement.

    Raises:
        PackageError: see `examine`.
    """
    with open_archive(package, filename) as archive:
        return {name: text.splitlines() for name, text in _texts(archive, folder)}


def _texts(archive: zipfile.ZipFile, folder: Path) -> Iterator[tuple[str, str]]:
    """The files that say something of licences, those that lie highest first."""
    members = [one for one in archive.infolist() if not one.is_dir()]
    named = [one for one in members if _is_asked(one.filename) or is_container(one.filename)]
    for member in sorted(named, key=lambda one: (one.filename.count("/"), one.filename))[
        :MAX_FILES
    ]:
        found = 0
        for file in files_of(archive, member, ("**",), folder):
            if isinstance(file, Quarantined):  # the reading of rows says so
                continue
            with file.stream:
                text = _text(file) if found < MAX_FILES and _is_asked(file.name) else None
            if text is not None:
                found += 1
                yield file.name, text


def _is_asked(name: str) -> bool:
    if _METADATA.search(name) or _PACKAGE_JSON.search(name):
        return True
    return bool(_LICENCE.search(name) or _README.search(name)) and not _NO_TEXT.search(name)


def _text(file: File) -> str | None:
    data = file.stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES or b"\0" in data:
        return None
    return data.decode("utf-8-sig", "replace").replace("\r\n", "\n")


def _said(name: str, text: str) -> Iterator[Statement]:
    if _PACKAGE_JSON.search(name):
        yield from _of_package(name, _in_package_json(text), text, r'"licen[cs]es?"')
        return
    description, above = text, 0
    if _METADATA.search(name):
        yield from _of_package(name, _in_metadata(text), text, r"(?m)^(?:License|Classifier: Lic)")
        head, _, description = text.partition("\n\n")
        above = head.count("\n") + 2
    is_licence = bool(_LICENCE.search(name))
    for line, expression in licences_in(description, is_licence=is_licence):
        yield Statement(file=name, line=line + above, kind="licence", says=expression)
    if is_licence and standard_texts(description):
        return  # they speak of others, and of what is not permitted, as a matter of course
    for line, what in signs_of_others(description):
        yield Statement(file=name, line=line + above, kind="others", says=what)


def _of_package(name: str, said: list[str], text: str, where: str) -> Iterator[Statement]:
    """What the fields of a package come to; of several that say nothing known, one statement."""
    found = re.search(where, text)
    line = text.count("\n", 0, found.start()) + 1 if found else 1
    known = list(dict.fromkeys(filter(None, map(_expression, said))))
    for expression in known or ([""] if said else []):
        yield Statement(file=name, line=line, kind="package", says=expression)
    if any(_NOT_GIVEN.search(each) for each in said):
        yield Statement(file=name, line=line, kind="others", says=NOT_GIVEN)


def _expression(said: str) -> str:
    meant = spdx_of(said)
    is_known = licence_of(meant).family != "unknown"
    if is_known and meant.casefold() == said.casefold():
        return said
    found = name_of(said[:200]) or next(iter(standard_texts(said)), "")
    return found or (meant if is_known else "")


def _in_metadata(text: str) -> list[str]:
    """What the fields of a wheel's METADATA say: the expression alone where there is one, as the
    packaging standard has it (PEP 639)."""
    head = email.parser.HeaderParser(policy=email.policy.compat32).parsestr(text)
    if expression := head.get("License-Expression"):
        return [str(expression)]
    trove = [str(each) for each in head.get_all("Classifier", [])]
    said = [each.rpartition("::")[2].strip() for each in trove if each.startswith(_FIELD)]
    own = str(head.get(_FIELD, "")).strip()
    return [each for each in (own, *said) if each and each not in ("UNKNOWN", "OSI Approved")]


def _in_package_json(text: str) -> list[str]:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError):
        return []
    said = [head.get(key) for key in ("license", "licenses")] if isinstance(head, dict) else []
    flat = [each for one in said for each in (one if isinstance(one, list) else [one])]
    named = [each.get("type") if isinstance(each, dict) else each for each in flat]
    return [each for each in named if isinstance(each, str) and each]
