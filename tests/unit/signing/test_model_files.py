"""What was signed is known again, by us and by model-signing itself; and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tunesmith.core.errors import SignatureError
from tunesmith.signing.keys import new_pair, read_private
from tunesmith.signing.model_files import SIGNATURE, files_in, sign, verify, verify_folder


@pytest.fixture
def signed(folder, key):
    (folder / SIGNATURE).write_text(sign(files_in(folder), "desk", key))
    return folder


def model_signing(*words) -> subprocess.CompletedProcess[str]:
    """The real command line."""
    command = [sys.executable, "-m", "model_signing", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_what_we_sign_verifies(signed, public) -> None:
    assert set(verify_folder(signed, public)) == {"weights.bin", "more/config.json"}


def test_model_signing_verifies_what_we_signed(signed, public) -> None:
    words = ("--signature", signed / SIGNATURE, "--public_key", public, signed)
    done = model_signing("verify", "key", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (signed / "weights.bin").write_bytes(b"other")
    assert model_signing("verify", "key", *words).returncode != 0


@pytest.mark.parametrize("curve", ["p256", "p384"])
def test_we_verify_what_model_signing_signed(folder, tmp_path, curve) -> None:
    new_pair(tmp_path / "k.pem", curve, None)
    at = ("--signature", folder / SIGNATURE, "--private_key", tmp_path / "k.pem")
    done = model_signing("sign", "key", *at, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    public = tmp_path / "k.pem.pub"
    assert len(verify_folder(folder, public)) == 2
    # The library says in its signature that this file is to be left out; here it is not.
    (folder / ".gitignore").write_text("weights.bin")
    with pytest.raises(SignatureError, match=r"not signed: \.gitignore"):
        verify_folder(folder, public)


def test_a_key_with_a_password_signs(folder, tmp_path) -> None:
    new_pair(tmp_path / "k.pem", "p384", b"a horse on a hill")
    key = read_private(tmp_path / "k.pem", b"a horse on a hill", None)
    files = files_in(folder)
    verify(sign(files, "desk", key), files, "desk", tmp_path / "k.pem.pub")


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "one byte": (lambda at: flip(at / "weights.bin"), "changed: weights.bin"),
    "one more": (lambda at: (at / "more" / "x").write_text(""), "not signed: more/x"),
    "one hidden": (lambda at: (at / ".gitattributes").write_text(""), "not signed: .gitattributes"),
    "one less": (lambda at: (at / "more" / "config.json").unlink(), "missing: more/config.json"),
    "renamed": (
        lambda at: (at / "weights.bin").rename(at / "w"),
        "not signed: w; missing: weights.bin",
    ),
    "a link": (lambda at: (at / "l").symlink_to(at / "weights.bin"), "is a link"),
    "a linked folder": (lambda at: (at / "l").symlink_to(at / "more"), "is a link"),
    "no signature": (lambda at: (at / SIGNATURE).unlink(), "has no model.sig"),
    "a linked signature": (
        lambda at: (at / SIGNATURE).symlink_to((at / SIGNATURE).rename(at.parent / "s")),
        "has no model.sig",
    ),
    "no JSON": (lambda at: (at / SIGNATURE).write_text("{"), "does not fit"),
    "a list": (lambda at: (at / SIGNATURE).write_text("[]"), "does not fit"),
    "an empty one": (lambda at: (at / SIGNATURE).write_text("{}"), "does not fit"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_not_what_was_signed_is_refused(signed, public, name) -> None:
    damage, says = DAMAGE[name]
    damage(signed)
    with pytest.raises(SignatureError, match=says):
        verify_folder(signed, public)


def test_another_key_is_refused_also_where_its_hint_is_forged(signed, public, tmp_path) -> None:
    pair = new_pair(tmp_path / "eve.pem", "p256", None)
    eve = tmp_path / "eve.pem.pub"
    with pytest.raises(SignatureError, match="Key mismatch"):
        verify_folder(signed, eve)
    bundle = json.loads((signed / SIGNATURE).read_text())
    bundle["verificationMaterial"]["publicKey"]["hint"] = pair.id
    (signed / SIGNATURE).write_text(json.dumps(bundle))
    with pytest.raises(SignatureError, match="not made with that key"):
        verify_folder(signed, eve)
    with pytest.raises(SignatureError, match="Key mismatch"):
        verify_folder(signed, public)


def test_an_altered_statement_is_refused(signed, public) -> None:
    import base64

    bundle = json.loads((signed / SIGNATURE).read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["subject"][0]["name"] = "another"
    altered = base64.b64encode(json.dumps(statement).encode()).decode()
    bundle["dsseEnvelope"]["payload"] = altered
    (signed / SIGNATURE).write_text(json.dumps(bundle))
    with pytest.raises(SignatureError, match="was altered"):
        verify_folder(signed, public)


def test_a_signature_without_a_hint_is_looked_at_and_nothing_is_printed(
    signed, public, capsys
) -> None:
    bundle = json.loads((signed / SIGNATURE).read_text())
    del bundle["verificationMaterial"]["publicKey"]["hint"]
    (signed / SIGNATURE).write_text(json.dumps(bundle))
    verify_folder(signed, public)
    assert capsys.readouterr().out == ""
