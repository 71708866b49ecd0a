"""Sealed statements: securesystemslib reads them too; what is not what was sealed is refused."""

from __future__ import annotations

import base64
import json

import pytest

from tunesmith.core.errors import SignatureError
from tunesmith.signing.envelope import (
    ENVELOPE,
    STATEMENT,
    opened_envelope,
    read_report,
    seal,
    write_report,
)
from tunesmith.signing.keys import new_pair, read_private, read_public


@pytest.fixture
def report(tmp_path, key):
    made = tmp_path / "report"
    made.mkdir()
    write_report(made, {"b": 1.5, "a": ["é", True, None]}, key)
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
    assert (report / STATEMENT).read_text() == '{"a":["é",true,null],"b":1.5}'
    assert read_report(report, public) == {"a": ["é", True, None], "b": 1.5}


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
    "more": (lambda at: (at / "note.txt").write_text("approved!"), "holds note.txt"),
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
        read_report(report, public)


def test_another_key_opens_nothing(report, tmp_path) -> None:
    new_pair(tmp_path / "eve.pem", "p384", None)
    with pytest.raises(SignatureError, match="is not signed with the key of"):
        read_report(report, tmp_path / "eve.pem.pub")
