"""Sealed statements: securesystemslib reads them too; what is not what was sealed is refused."""

from __future__ import annotations

import base64
import json

import pytest

from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import SignatureError
from tunesmith.signing.envelope import (
    ENVELOPE,
    STATEMENT,
    opened_envelope,
    read_report,
    seal,
    statement,
    write_report,
)
from tunesmith.signing.keys import new_pair, read_private, read_public

KIND = "urn:tests:report:v1"


@pytest.fixture
def report(tmp_path, key):
    made = tmp_path / "report"
    made.mkdir()
    said = statement("desk@1", "0" * 64, KIND, {"b": 1.5, "a": ["é", True]})
    payload = canonical_json(said)
    write_report(made, payload, seal(payload, key))
    return made


@pytest.mark.parametrize("curve", ["p256", "p384"])
def test_securesystemslib_opens_what_we_sealed_and_we_what_it_did(tmp_path, curve) -> None:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

    pair = new_pair(tmp_path / "k.pem", curve, None)
    key = read_private(tmp_path / "k.pem", None, None)
    public = SSlibKey.from_crypto(read_public(tmp_path / "k.pem.pub"), keyid=pair.id)
    theirs = Envelope.from_dict(json.loads(seal(b'{"a":1}', key)))
    assert theirs.payload == b'{"a":1}'
    assert set(theirs.verify([public], 1)) == {pair.id}

    made = Envelope(b"{}", "application/vnd.in-toto+json", {})
    made.sign(CryptoSigner(key.key, public))
    envelope = json.dumps(made.to_dict()).encode()
    assert opened_envelope(envelope, tmp_path / "k.pem.pub", "theirs") == b"{}"


def test_a_report_is_canonical_json_and_is_read_again(report, public) -> None:
    said = (report / STATEMENT).read_text()
    assert said.startswith('{"_type":"https://in-toto.io/Statement/v1","predicate":{"a":["é",true]')
    assert read_report(report, KIND, public) == json.loads(said)


def changed(path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


DAMAGE = {
    "statement": (lambda at: (at / STATEMENT).write_text("{}"), "is not what was signed"),
    "payload": (lambda at: changed(at / ENVELOPE, payload=b64("{}")), "or was altered"),
    "type": (lambda at: changed(at / ENVELOPE, payloadType="text/plain"), "not a statement"),
    "unsigned": (lambda at: changed(at / ENVELOPE, signatures=[]), "is not signed"),
    "no JSON": (lambda at: (at / ENVELOPE).write_text("{"), "no DSSE envelope"),
    "no base64": (lambda at: changed(at / ENVELOPE, payload="é"), "no DSSE envelope"),
    "no list": (lambda at: changed(at / ENVELOPE, signatures=[1]), "no DSSE envelope"),
    "a key twice": (
        lambda at: (at / ENVELOPE).write_text(
            f'{{"payload":"{b64("{}")}",{(at / ENVELOPE).read_text()[1:]}'
        ),
        "no DSSE envelope",
    ),
    "more": (lambda at: (at / "note.txt").write_text("approved!"), "holds note.txt"),
    "no envelope": (lambda at: (at / ENVELOPE).unlink(), "is not signed"),
    "less": (lambda at: (at / STATEMENT).unlink(), "a report is"),
    "a link": (
        lambda at: (at / STATEMENT).symlink_to((at / STATEMENT).rename(at.parent / "s")),
        "no links",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_not_what_was_sealed_is_refused(report, public, name) -> None:
    damage, says = DAMAGE[name]
    damage(report)
    with pytest.raises(SignatureError, match=says):
        read_report(report, KIND, public)


def test_another_key_opens_nothing(report, tmp_path) -> None:
    new_pair(tmp_path / "eve.pem", "p384", None)
    with pytest.raises(SignatureError, match="is not signed with the key of"):
        read_report(report, KIND, tmp_path / "eve.pem.pub")


@pytest.mark.parametrize(
    "payload",
    [
        statement("desk@1", "0" * 64, "urn:tests:other:v1", {"made_at": "now"}),
        statement("desk@1", "0" * 64, KIND, {}) | {"_type": "https://in-toto.io/Statement/v0"},
        ["a"],
    ],
)
def test_a_statement_of_another_kind_is_no_report(tmp_path, key, public, payload) -> None:
    """The same key signs models, moves of aliases and heads of the evidence."""
    made = tmp_path / "other"
    made.mkdir()
    write_report(made, canonical_json(payload), seal(canonical_json(payload), key))
    with pytest.raises(SignatureError, match="a statement of another kind"):
        read_report(made, KIND, public)
