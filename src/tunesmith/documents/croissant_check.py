"""Whether a dataset's description is Croissant 1.1 with RAI 1.0, before anybody is given it.

A check of the structure, property by property, as the specification and its validator, mlcroissant
1.1.1, ask for it, and stricter where a choice is left: only what `croissant.py` writes passes, so
that what passes here passes there. mlcroissant, which brings rdflib and pandas, is asked in tests.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tunesmith.core.errors import DataError

Check = Callable[[Any, str], Iterator[str]]
"""check(value, where) -> what is wrong, each with where it is, e.g. "recordSet[0].name: ..."."""
_NUM_SHOWN = 3
_ATOMIC = ("sc:Text", "sc:Integer")
"""Types of which a field needs one: by them its column is read."""


def require_valid(
    said: Any, context: Mapping[str, Any], versions: Collection[str], of: str
) -> None:
    """See that a description `of` a dataset is valid.

    Raises:
        DataError: it is not; the message names the fields.
    """
    wrong = problems(said, context, versions)
    if wrong:
        more = f" (and {len(wrong) - _NUM_SHOWN} more)" if len(wrong) > _NUM_SHOWN else ""
        raise DataError(
            f"the description of {of} would be no valid Croissant: "
            + "; ".join(wrong[:_NUM_SHOWN])
            + more,
            remedy="nothing was written; correct what the sources state (owner, licence, purpose), "
            "if that is what is named, and run again; else it is an error of Tunesmith: report it",
        )


def problems(said: Any, context: Mapping[str, Any], versions: Collection[str]) -> list[str]:
    """What is wrong with a description; empty where nothing is.

    `context` is the one that it must have, and `versions` what it must conform to.
    """
    exactly = {"@context": _is(dict(context)), "conformsTo": _is(list(versions))}
    wrong = list(_node({**exactly, **_DATASET}, optional=_UNSTATED)(said, ""))
    return wrong or [*_repeated_ids(said), *_loose_references(said)]


def _node(properties: Mapping[str, Check], optional: Collection[str] = (), type: str = "") -> Check:
    """An object with these properties, and no others."""
    needed = {"@type": _is(type), **properties} if type else properties

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where or 'it'}: is no object"
            return
        before = f"{where}." if where else ""
        for name, inner in needed.items():
            if name in value:
                yield from inner(value[name], before + name)
            elif name not in optional:
                yield f"{before}{name}: is missing"
        for name in sorted(value.keys() - needed.keys()):
            yield f"{before}{name}: is not known"

    return check


def _many(inner: Check) -> Check:
    """A list of at least one."""

    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{where}: is no list"
        elif not value:
            yield f"{where}: is empty"
        else:
            for number, each in enumerate(value):
                yield from inner(each, f"{where}[{number}]")

    return check


def _is(wanted: Any) -> Check:
    def check(value: Any, where: str) -> Iterator[str]:
        if type(value) is not type(wanted) or value != wanted:
            # A context is too long to be repeated.
            yield f"{where}: is not {wanted!r}" if isinstance(wanted, str) else f"{where}: is wrong"

    return check


def _text(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{where}: is no text"
    elif not value.strip():
        yield f"{where}: is empty"


def _matches(pattern: str, what: str) -> Check:
    def check(value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            yield f"{where}: is no {what}"

    return check


def _date(value: Any, where: str) -> Iterator[str]:
    try:
        datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError):
        yield f"{where}: is no date (ISO 8601)"


def _data_type(value: Any, where: str) -> Iterator[str]:
    kinds = value if isinstance(value, list) else [value]
    if not all(kind in (*_ATOMIC, "cr:Label") for kind in kinds):
        yield f"{where}: is no type of data that is known"
    elif not any(kind in _ATOMIC for kind in kinds):
        yield f"{where}: names no type that a column can be read as"


_ID = _matches(r"[A-Za-z0-9._/-]+", "identifier (letters, digits, . _ / -)")
_SHA256 = _matches("sha256:[0-9a-f]{64}", "digest (sha256:...)")
_REFERENCE = _node({"@id": _ID})
_FILE = _node(
    {
        "@id": _ID,
        "name": _text,
        "contentUrl": _ID,
        "contentSize": _matches("[0-9]+ B", "number of bytes (e.g. 12 B)"),
        "encodingFormat": _many(_matches(r"[a-z]+/[A-Za-z0-9.+-]+", "media type")),
        "sha256": _matches("[0-9a-f]{64}", "SHA-256"),
    },
    type="cr:FileObject",
)
_SOURCE = _node({"fileObject": _REFERENCE, "extract": _node({"column": _text})})
_FIELD = _node(
    {
        "@id": _ID,
        "name": _text,
        "description": _text,
        "dataType": _data_type,
        "source": _SOURCE,
    },
    type="cr:Field",
)
_RECORDS = _node(
    {
        "@id": _ID,
        "name": _text,
        "description": _text,
        "key": _many(_REFERENCE),
        "field": _many(_FIELD),
    },
    type="cr:RecordSet",
)
_RESPONSIBLE: Mapping[str, Check] = {
    "rai:dataCollection": _text,
    "rai:dataCollectionRawData": _text,
    "rai:dataPreprocessingProtocol": _many(_text),
    "rai:personalSensitiveInformation": _many(_text),
    "rai:dataLimitations": _many(_text),
    "rai:dataUseCases": _many(_text),
}
_DATASET: Mapping[str, Check] = {
    "@type": _is("sc:Dataset"),
    "name": _text,
    "description": _text,
    "version": _matches(r"[0-9]+\.[0-9]+\.[0-9]+", "version (e.g. 2.0.0)"),
    "identifier": _SHA256,
    "dateCreated": _date,
    "isLiveDataset": _is(False),
    "license": _many(_node({"name": _text}, type="sc:CreativeWork")),
    "creator": _many(_node({"name": _text}, type="sc:Organization")),
    "inLanguage": _many(_matches("[a-z]{2,3}", "language (ISO 639)")),
    "prov:wasDerivedFrom": _many(
        _node({"prov:label": _text, "identifier": _SHA256}, type="prov:Entity")
    ),
    **_RESPONSIBLE,
    "distribution": _many(_FILE),
    "recordSet": _many(_RECORDS),
}
_UNSTATED = ("license", "creator", "inLanguage")
"""Left out where no source states them; a licence and a creator are then the publisher's to add,
as are `url` and `datePublished`, which the specification asks for, too."""


def _repeated_ids(said: Mapping[str, Any]) -> Iterator[str]:
    """Of what is well formed: identifiers that stand for two things."""
    seen: set[str] = set()
    for where, node in _identified(said):
        if node["@id"] in seen:
            yield f"{where}.@id: {node['@id']!r} is something else, too"
        seen.add(node["@id"])


def _identified(said: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for place in ("distribution", "recordSet"):
        for number, each in enumerate(said[place]):
            yield f"{place}[{number}]", each
            for at, field in enumerate(each.get("field", ())):
                yield f"{place}[{number}].field[{at}]", field


def _loose_references(said: Mapping[str, Any]) -> Iterator[str]:
    """Keys that are no fields of their table, and fields whose file is not there; all fields of a
    table are of one file, as nothing says how to join two."""
    files = {each["@id"] for each in said["distribution"]}
    for number, table in enumerate(said["recordSet"]):
        where = f"recordSet[{number}]"
        fields = {field["@id"] for field in table["field"]}
        for at, key in enumerate(table["key"]):
            if key["@id"] not in fields:
                yield f"{where}.key[{at}]: there is no field {key['@id']!r}"
        of = [field["source"]["fileObject"]["@id"] for field in table["field"]]
        for at, file in enumerate(of):
            if file not in files:
                yield f"{where}.field[{at}].source: there is no file {file!r}"
            elif file != of[0]:
                yield f"{where}.field[{at}].source: is another file than the first field's"
