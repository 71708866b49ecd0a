"""The evidence as a file that an auditor can check without the store.

JSON lines: a header, then every entry in order. An entry that a filter leaves out is there as its
digest and the one before it, so that the chain has no gap, and what is shown can be checked as if
all were. The end of a run has what is stored of the run, whose digest its entry holds.

What the file alone shows: no entry was edited, dropped, added or re-ordered since the head that its
header names, and each line has the bytes that it was written with, so that whatever reads it reads
what was checked. What it cannot show: that the header was not written anew, by itself or with all
that follows; its digest shows accidents. For that the header has the head signed, where there is a
key; or a head, "NUMBER:DIGEST", has to be kept where whoever writes the file cannot change it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy.engine import Connection

from tunesmith.core import evidence
from tunesmith.core.canonical import canonical_json, fingerprint, parse
from tunesmith.core.checkpoint import MADE, Claim, claim_of, contradicted
from tunesmith.core.db import clock
from tunesmith.core.errors import DataError
from tunesmith.core.evidence import GENESIS, Entry
from tunesmith.core.facts import facts
from tunesmith.core.lifecycle import SEALED
from tunesmith.core.verify import ENDINGS

FORMAT = 1
_SIGNED = ("seq", "at", "actor", "what", "body", "previous")
_LINK = {"seq", "previous", "digest"}
_OF_HEADER = {"audit", "exported_at", "exported_by", "filter", "head", "checkpoint", "digest"}
"""What a header can have; earlier exports have no digest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Which entries are shown; empty: all."""

    since: str = ""
    """The first moment, as the evidence writes times; a date is its beginning."""
    until: str = ""
    """The first moment that is not meant any more."""
    subject: str = ""
    """A name that the entry has to hold, such as "desk", "desk@2" or "run:14"."""

    def shows(self, entry: Entry) -> bool:
        """Whether the entry is meant."""
        if (self.since and entry.at < self.since) or (self.until and entry.at >= self.until):
            return False
        return not self.subject or self.subject in set(_names(entry.body))


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What a file shows."""

    num_entries: int
    num_shown: int
    num_withheld: int
    """Of these the file has the place and the digest alone."""
    num_runs: int
    """Runs whose facts are in it, as their entries say."""
    head: str
    """The last entry of the file, "NUMBER:DIGEST"; empty where there is none."""
    filter: Mapping[str, str]
    held: bool
    """Whether a head was given that was kept, and the file goes on from it."""
    problems: tuple[str, ...]
    sealed: Claim | None = None
    """What the header says that was signed of it; its signature is looked at elsewhere."""
    claims: tuple[Claim, ...] = ()
    """The same of the checkpoints among what is shown."""
    reports: Mapping[str, str] = field(default_factory=dict)
    """Digest of a gate's report -> where it is said that it was sealed."""


def lines(
    connection: Connection,
    wanted: Filter,
    actor: str,
    seal: Callable[[Connection], Mapping[str, Any]] = lambda _connection: {},
) -> Iterator[str]:
    """The file, a line each, of one moment; `seal` gives `size`, `head` and `envelope` of a
    checkpoint of it, or nothing."""
    log = list(evidence.entries(connection))
    sealed = seal(connection) if log else {}
    header = {
        "audit": FORMAT,
        "exported_at": clock(connection),
        "exported_by": actor,
        "filter": wanted,
        "head": head_of(log[-1].seq, log[-1].digest) if log else "",
        **({"checkpoint": dict(sealed)} if sealed else {}),
    }
    yield canonical_json({**header, "digest": fingerprint(header)}).decode()
    stored = {each.run: each.text for each in facts(connection)}
    for entry in log:
        line = {"seq": entry.seq, "previous": entry.previous, "digest": entry.digest}
        if wanted.shows(entry):
            line |= {"at": entry.at, "actor": entry.actor, "what": entry.what, "body": entry.body}
            if entry.what in ENDINGS and entry.body["run"] in stored:
                line["facts"] = parse(stored[entry.body["run"]].encode())
        yield canonical_json(line).decode()


def selected(connection: Connection, wanted: Filter, kind: str = "") -> list[Entry]:
    """The entries that are meant, oldest first; of `kind`, in which "*" stands for any letters."""
    return [
        entry
        for entry in evidence.entries(connection)
        if wanted.shows(entry) and fnmatchcase(entry.what, kind or "*")
    ]


def check(text: Iterable[str], kept: Claim | None = None) -> Checked:
    """Check the lines of a file by itself, each with no end or with "\\n"; `kept` is what was kept
    elsewhere.

    Raises:
        DataError: it is no such file, or of a later version.
    """
    numbered = enumerate(text, start=1)
    first = next((line for _, line in numbered), "")
    header = _header(first)
    problems = [*header["problems"]]
    previous, last, num_shown, num_runs = GENESIS, 0, 0, 0
    digests: dict[int, str] = {}
    claims: list[Claim] = []
    reports: dict[str, str] = {}
    for number, line in numbered:
        found = _line(line, number)
        if found is None:
            problems.append(f"line {number} is no entry")
            continue
        entry, how_written = found
        problems += how_written
        problems += _broken(entry, last, previous, number)
        if _is_shown(entry):
            num_shown += 1
            problems += _edited(entry, number)
            num_runs += "facts" in entry
            claims += _claims(entry)
            reports |= _reports(entry)
        digests[entry["seq"]] = entry["digest"]
        previous, last = entry["digest"], entry["seq"]
    head = head_of(last, previous) if last else ""
    if head != header["head"]:
        problems.append(
            f"the header says that it ends with {header['head']}, and it ends with {head}"
        )
    sealed: Claim | None = header["sealed"]
    every = [*claims, *(each for each in (sealed, kept) if each is not None)]
    problems += contradicted(every, digests, "the file")
    return Checked(
        num_entries=last,
        num_shown=num_shown,
        num_withheld=last - num_shown,
        num_runs=num_runs,
        head=head,
        filter=header["filter"],
        held=kept is not None and digests.get(kept.size) == kept.head,
        problems=tuple(problems),
        sealed=sealed,
        claims=tuple(claims),
        reports=reports,
    )


def head_of(seq: int, digest: str) -> str:
    """How a head is written."""
    return f"{seq}:{digest}"


def _claims(entry: Mapping[str, Any]) -> Iterator[Claim]:
    if entry.get("what") == MADE:
        claim = claim_of(entry["body"], f"the checkpoint of evidence {entry['seq']}")
        if claim is not None:
            yield claim


def _reports(entry: Mapping[str, Any]) -> dict[str, str]:
    if entry.get("what") != SEALED:
        return {}
    body = entry["body"]
    return {str(body.get("report")): f"{body.get('version')}, evidence {entry['seq']}"}


def _broken(entry: Mapping[str, Any], last: int, previous: str, number: int) -> Iterator[str]:
    if entry["seq"] != last + 1:
        yield f"line {number} is entry {entry['seq']}, and {last + 1} should be here"
    if entry["previous"] != previous:
        yield f"entry {entry['seq']} does not follow from the entry before it"


def _is_shown(entry: Mapping[str, Any]) -> bool:
    return entry.keys() != _LINK


def _edited(entry: Mapping[str, Any], number: int) -> Iterator[str]:
    said = entry.keys() - {"facts"}
    if said != {*_SIGNED, "digest"}:
        yield f"line {number} has other fields than an entry has"
        return
    if fingerprint({name: entry[name] for name in _SIGNED}) != entry["digest"]:
        yield f"entry {entry['seq']} ({entry['what']}) was edited after it was written"
    if "facts" in entry and fingerprint(entry["facts"]) != entry["body"].get("facts"):
        yield f"what entry {entry['seq']} has of its run is not what it says"


def _header(line: str) -> Mapping[str, Any]:
    read = _object(line, 1)
    if read is None or not isinstance(read[0].get("audit"), int):
        raise DataError(
            "this is no export of the evidence: its first line is no header",
            remedy="`tunesmith audit export --out FILE` writes one",
        )
    found, problems = read[0], [*read[1]]
    if found["audit"] > FORMAT:
        raise DataError(
            "this export was written by a later version of tunesmith",
            remedy="upgrade tunesmith (`pip install -U tunesmith`)",
        )
    said, shown = found.get("checkpoint"), found.get("filter") or {}
    if not isinstance(shown, dict):
        problems.append("the header's filter is none")
    if not found.keys() <= _OF_HEADER:
        problems.append("the header has other fields than a header has")
    if "digest" in found and found["digest"] != fingerprint(
        {name: value for name, value in found.items() if name != "digest"}
    ):
        problems.append("the header was edited after it was written")
    return {
        "problems": problems,
        "head": str(found.get("head")),
        "filter": shown if isinstance(shown, dict) else {},
        "sealed": claim_of(said, "the header's checkpoint") if isinstance(said, dict) else None,
    }


def _line(line: str, number: int) -> tuple[Mapping[str, Any], Sequence[str]] | None:
    """An entry, or what the chain has of one, and what is wrong with how it is written; None for
    anything else."""
    read = _object(line, number)
    if read is None or not read[0].keys() >= _LINK:
        return None
    found, how_written = read
    texts = (found["previous"], found["digest"])
    body = found.get("body", None if "what" in found else {})
    is_link = type(found["seq"]) is int and all(isinstance(each, str) for each in texts)
    return (found, how_written) if is_link and isinstance(body, dict) else None


def _object(line: str, number: int) -> tuple[dict[str, Any], Sequence[str]] | None:
    """The object of a line, and what is wrong with how it is written; None where it is none.

    Of a key that is there twice one reader takes the first and another the last, so a line is what
    was written, byte for byte, or it is not what was checked.
    """
    try:
        found = parse(line.encode())
        written = canonical_json(found).decode()
    except (TypeError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if line.removesuffix("\n") == written:
        return found, ()
    return found, (
        f"line {number} is not as it was written: it is no canonical JSON, such as where a key is "
        "there twice, or white space was added",
    )


def _names(body: Any, key: str = "") -> Iterator[str]:
    """All that an entry can be asked for by: texts, their parts, and numbers of runs."""
    if isinstance(body, Mapping):
        for name, value in body.items():
            yield from _names(value, name)
    elif isinstance(body, list):
        for value in body:
            yield from _names(value, key)
    elif isinstance(body, str):
        yield body
        yield from re.split(r"[@:/]", body)
    elif key in ("run", "run_id", "runs"):
        yield f"run:{json.dumps(body)}"
