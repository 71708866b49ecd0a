"""Reports of gates that the store keeps, and whether they are still what was sealed and signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core import evidence, lifecycle
from tunesmith.core.canonical import parse
from tunesmith.core.db import Transaction
from tunesmith.core.errors import SignatureError, StoreError
from tunesmith.core.ref import Blob
from tunesmith.project import Project
from tunesmith.signing.envelope import opened_envelope
from tunesmith.signing.keys import key_id, read_public

_ASK = "`tunesmith verify` says what does not hold; do not rely on it before somebody has looked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """A report that the store keeps."""

    version: str
    run: int
    """The run of the gate that it is of."""
    verdict: str
    at: str
    seq: int
    """Of the evidence entry that says that it was sealed."""
    report: Blob
    signatures: Mapping[str, Blob]
    """Digest of a key -> the envelope that was signed with it, in their order."""


def sealed_of(connection: Transaction, version: str) -> list[Sealed]:
    """Every report of a version that the store keeps, oldest first."""
    signed: dict[str, dict[str, Blob]] = {}
    found = []
    for entry in evidence.entries(connection, lifecycle.SEALED, lifecycle.REPORTED):
        if entry.body["version"] != version:
            continue
        blobs = list(lifecycle.kept_blobs(entry))
        if entry.what == lifecycle.SEALED:
            found.append((entry, blobs[0]))
        elif blobs:
            signed.setdefault(entry.body["report"], {}).setdefault(entry.body["key"], blobs[0])
    return [
        Sealed(
            version=version,
            run=entry.body["run"],
            verdict=entry.body["verdict"],
            at=entry.at,
            seq=entry.seq,
            report=blob,
            signatures=signed.get(blob.sha256, {}),
        )
        for entry, blob in found
    ]


def verified_reports(
    project: Project, version: str, digest: str, public_key: Path
) -> tuple[str, ...]:
    """See that the reports of a version, whose record has that digest, are as they were sealed, and
    as they were signed where they were with that key; a sentence about each.

    Raises:
        StoreError: one is not whole.
        SignatureError: a signature does not fit, or the report is of another version.
    """
    wanted = key_id(read_public(public_key))
    with project.runner.database.read() as connection:
        found = sealed_of(connection, version)
    said = []
    for each in found:
        payload = bytes_of(project, each.report, each)
        where = f"the report of {version} (evidence {each.seq})"
        if parse(payload)["subject"] != [{"name": version, "digest": {"sha256": digest}}]:
            raise SignatureError(f"{where} is of another version", remedy=_ASK)
        if wanted in each.signatures:
            envelope = bytes_of(project, each.signatures[wanted], each)
            if opened_envelope(envelope, public_key, f"the signature of {where}") != payload:
                raise SignatureError(f"{where} is not what was signed", remedy=_ASK)
        how = "signed with that key" if wanted in each.signatures else "NOT signed with that key"
        said.append(
            f"report of run {each.run}, {each.verdict}, sealed {each.at} (evidence {each.seq}), "
            f"sha256 {each.report.sha256[:12]}: {how}"
        )
    return tuple(said)


def bytes_of(project: Project, blob: Blob, of: Sealed) -> bytes:
    """The bytes of a report, or of a signature of it.

    Raises:
        StoreError: the store has not got them whole.
    """
    try:
        return project.runner.blobs.get(blob)
    except StoreError as error:
        raise StoreError(
            f"the report of {of.version} that evidence {of.seq} speaks of is not whole: "
            f"{error.message}",
            remedy="it is not made again, as it is of its moment; have it back from a backup: "
            "`tunesmith verify --repair --from DEST`",
        ) from error
