"""Statements that are signed: in-toto's Statement v1 as canonical JSON (RFC 8785) in a DSSE v1
envelope (github.com/secure-systems-lab/dsse), and the folder that holds one for others."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.canonical import canonical_json, parse
from tunesmith.core.errors import SignatureError
from tunesmith.signing.keys import PrivateKey, key_id, read_public

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
STATEMENT = "report.json"
"""What is said: the statement as canonical JSON, for people and programs."""
ENVELOPE = "report.dsse.json"
"""The same bytes and their signature."""
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_GET_IT_AGAIN = "do not rely on it; get it again from whoever signed it, or name their public key"


def seal(payload: bytes, key: PrivateKey) -> bytes:
    """The envelope of `payload`, signed with `key`."""
    signature = key.key.sign(_encoded(payload), _how(key.key.curve))
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": key.id, "sig": base64.b64encode(signature).decode()}],
        }
    )


def opened_envelope(envelope: bytes, public_key: Path, where: str) -> bytes:
    """The payload of an envelope, if one of its signatures is by that key.

    Raises:
        SignatureError: none is, or it is no envelope of a statement.
        MissingExtra: signatures cannot be looked at here.
    """
    public = read_public(public_key)
    from cryptography.exceptions import InvalidSignature

    try:
        found = read_envelope(envelope)
        payload = base64.b64decode(found["payload"], validate=True)
        kind = found["payloadType"]
        signatures = [base64.b64decode(each["sig"], validate=True) for each in found["signatures"]]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise SignatureError(f"{where} is no DSSE envelope", remedy=_GET_IT_AGAIN) from error
    if kind != PAYLOAD_TYPE:
        raise SignatureError(f"{where} holds {kind!r}, not a statement", remedy=_GET_IT_AGAIN)
    for signature in signatures:
        try:
            public.verify(signature, _encoded(payload), _how(public.curve))
        except InvalidSignature:
            continue
        return payload
    raise SignatureError(
        f"{where} is not signed with the key of {public_key} (sha256 {key_id(public)[:12]}), or "
        "was altered",
        remedy=_GET_IT_AGAIN,
    )


def read_envelope(envelope: bytes | str) -> Any:
    """The JSON of an envelope, in which no key is there twice: another reader could take the other
    one, and what it says for what was signed.

    Raises:
        ValueError: it is none.
    """
    return json.loads(envelope, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def statement(name: str, digest: str, kind: str, predicate: Any) -> dict[str, Any]:
    """An in-toto statement about what `name` and its SHA-256 stand for."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}}],
        "predicateType": kind,
        "predicate": predicate,
    }


def predicate_of(envelope: str, kind: str, public_key: Path, where: str) -> Mapping[str, Any]:
    """The predicate of a signed statement of that kind.

    Raises:
        SignatureError: it is not signed with that key, or is a statement of another kind.
        MissingExtra: signatures cannot be looked at here.
    """
    payload = opened_envelope(envelope.encode(), public_key, where)
    predicate: Mapping[str, Any] = _of_kind(payload, kind, where)["predicate"]
    return predicate


def _of_kind(payload: bytes, kind: str, where: str) -> Mapping[str, Any]:
    """A signature says who, not what: the same key signs statements of other kinds."""
    found = parse(payload)
    if not isinstance(found, dict) or (found.get("_type"), found.get("predicateType")) != (
        STATEMENT_TYPE,
        kind,
    ):
        raise SignatureError(f"{where} is a statement of another kind", remedy=_GET_IT_AGAIN)
    return found


def write_report(folder: Path, payload: bytes, envelope: bytes | None) -> None:
    """Put a statement, and its envelope if it has one, into an empty folder."""
    (folder / STATEMENT).write_bytes(payload)
    if envelope is not None:
        (folder / ENVELOPE).write_bytes(envelope)


def read_report(folder: Path, kind: str, public_key: Path) -> Any:
    """The statement of that kind of a folder, which holds nothing else, if it is as it was signed.

    Raises:
        SignatureError: it is not, there is more in the folder, or it is a statement of another
            kind.
    """
    names = {path.name for path in folder.iterdir()}
    if names == {STATEMENT}:
        raise SignatureError(
            f"the report in {folder} is not signed",
            remedy="whoever has the store signs it: `tunesmith model report VERSION --key FILE`; "
            "that it is what was sealed there, `tunesmith audit verify --report` shows",
        )
    if names != {STATEMENT, ENVELOPE} or any(path.is_symlink() for path in folder.iterdir()):
        raise SignatureError(
            f"{folder} holds {', '.join(sorted(names)) or 'nothing'}; a report is {STATEMENT} and "
            f"{ENVELOPE}, no links",
            remedy=_GET_IT_AGAIN,
        )
    where = str(folder / ENVELOPE)
    payload = opened_envelope((folder / ENVELOPE).read_bytes(), public_key, where)
    if (folder / STATEMENT).read_bytes() != payload:
        raise SignatureError(
            f"{folder / STATEMENT} is not what was signed; the envelope beside it holds that",
            remedy=_GET_IT_AGAIN,
        )
    return _of_kind(payload, kind, where)


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding of type and payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _how(curve: ec.EllipticCurve) -> ec.ECDSA:
    """ECDSA with the hash that goes with the curve, as model-signing has it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256() if curve.key_size == 256 else hashes.SHA384())
