"""What a package says of its own licence, in its own words: a claim, and no finding."""

from __future__ import annotations

import email.parser
import json
import re
from typing import Any

from tunesmith.core.blobs import Blobs
from tunesmith.records.data import Package
from tunesmith.stages.ingest.archive import open_archive

_MAX_BYTES = 4 << 20
_NPM = "package/package.json"


def declared_licence(package: Package, blobs: Blobs) -> str:
    """The licence that a wheel's METADATA, or an npm package's package.json, states; empty where it
    states none, or what it states is a file or a text.

    Raises:
        PackageError: the package is no whole zip, or hostile.
        StoreError: it is not in the store any more.
    """
    with open_archive(blobs.path(package.wheel), package.filename) as archive:
        names = [
            member.filename
            for member in archive.infolist()
            if member.file_size <= _MAX_BYTES
            and (member.filename == _NPM or _is_metadata(member.filename))
        ]
        if not names:
            return ""
        data = archive.read(names[0])
    return _of_npm(data) if names[0] == _NPM else _of_wheel(data)


def _is_metadata(name: str) -> bool:
    return bool(re.fullmatch(r"[^/]+\.dist-info/METADATA", name))


def _of_wheel(data: bytes) -> str:
    """License-Expression (PEP 639), else License if it is a line, else what classifiers say."""
    said = email.parser.HeaderParser().parsestr(data.decode("utf-8", "replace"))
    if expression := said.get("License-Expression"):
        return _line(expression)
    licence = str(said.get("License", ""))
    if licence.strip() and "\n" not in licence.strip() and len(licence) <= 100:
        return "" if licence.strip().upper() == "UNKNOWN" else _line(licence)
    names = [
        each.rpartition("::")[2].strip()
        for each in said.get_all("Classifier", [])
        if each.startswith("License ::") and each != "License :: OSI Approved"
    ]
    return _line(", ".join(names))


def _of_npm(data: bytes) -> str:
    """`license`: an SPDX expression, or as it was written before that; or `licenses`, of which one
    may be chosen."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    several = said.get("licenses")
    found = [_npm_name(each) for each in several] if isinstance(several, list) else []
    return _npm_name(said.get("license")) or _line(" OR ".join(filter(None, found)))


def _npm_name(said: Any) -> str:
    if isinstance(said, dict):
        said = said.get("type")
    if not isinstance(said, str) or said.upper().startswith("SEE LICENSE IN"):
        return ""
    return _line(said)


def _line(said: str) -> str:
    return " ".join(str(said).split())[:200]
