"""Keys: what is made is read again, and what anybody could have is refused."""

from __future__ import annotations

import os

import pytest

from tunesmith.core.errors import Conflict, SignatureError, UsageError
from tunesmith.signing.keys import key_id, new_pair, read_private, read_public


@pytest.mark.parametrize("curve", ["p256", "p384"])
@pytest.mark.parametrize("password", [None, b"a horse on a hill"])
def test_a_new_pair_is_its_owners_and_fits(tmp_path, curve, password) -> None:
    path = tmp_path / "k.pem"
    umask = os.umask(0)
    try:
        pair = new_pair(path, curve, password)
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (b"ENCRYPTED" in path.read_bytes()) is bool(password)
    key = read_private(path, password, None)
    assert key.id == pair.id == key_id(read_public(tmp_path / "k.pem.pub"))
    assert "horse" not in repr(key)
    with pytest.raises(Conflict, match="there already"):
        new_pair(path, curve, password)


def test_no_key_is_written_over_nor_through_a_link(tmp_path) -> None:
    (tmp_path / "k.pem.pub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict):
        new_pair(tmp_path / "k.pem", "p256", None)
    assert not (tmp_path / "k.pem").exists()
    with pytest.raises(SignatureError, match="cannot be written"):
        new_pair(tmp_path / "none" / "k.pem", "p256", None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622, 0o700])
def test_a_key_that_others_could_use_is_refused(key, mode) -> None:
    key.path.chmod(mode)
    with pytest.raises(SignatureError, match=f"mode {mode:04o}"):
        read_private(key.path, None, None)


def test_a_key_in_the_project_is_refused_by_a_link_too(key, tmp_path) -> None:
    with pytest.raises(SignatureError, match="lies in the project's folder"):
        read_private(key.path, None, key.path.parent)
    link = tmp_path / "link.pem"
    link.symlink_to(key.path)
    with pytest.raises(SignatureError, match="lies in the project's folder"):
        read_private(link, None, key.path.parent)


def test_a_short_password_is_refused_and_nothing_is_written(tmp_path) -> None:
    with pytest.raises(UsageError, match="the password has 11 bytes"):
        new_pair(tmp_path / "key", "p256", b"eleven byte")
    assert list(tmp_path.iterdir()) == []


def test_passwords_are_asked_for_where_there_is_one(key, tmp_path) -> None:
    with pytest.raises(SignatureError, match="needs no password"):
        read_private(key.path, b"x", None)
    new_pair(tmp_path / "closed.pem", "p256", b"right and long")
    with pytest.raises(SignatureError, match="needs its password"):
        read_private(tmp_path / "closed.pem", None, None)
    with pytest.raises(SignatureError, match="another password") as caught:
        read_private(tmp_path / "closed.pem", b"wrong", None)
    assert "wrong" not in str(caught.value)


def test_what_is_no_such_key_is_refused(tmp_path, public) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    def written(name, key) -> None:
        data = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)

    written("other.pem", ed25519.Ed25519PrivateKey.generate())
    written("curve.pem", ec.generate_private_key(ec.SECP521R1()))
    (tmp_path / "text.pem").write_text("no key")
    (tmp_path / "text.pem").chmod(0o600)
    os.mkfifo(tmp_path / "pipe.pem", 0o600)
    for name, says in {
        "other.pem": "another kind",
        "curve.pem": "another kind",
        "text.pem": "no private key",
        "pipe.pem": "no plain file",
        "none.pem": "No such file",
    }.items():
        with pytest.raises(SignatureError, match=says):
            read_private(tmp_path / name, None, None)
    for name in ("text.pem", "other.pem"):
        with pytest.raises(SignatureError, match="no public key"):
            read_public(tmp_path / name)
    public.chmod(0o600)
    with pytest.raises(SignatureError, match="no private key"):
        read_private(public, None, None)
