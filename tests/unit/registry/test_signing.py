"""Versions are signed by whoever has the private key; what is not what was signed goes nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunesmith.core import evidence
from tunesmith.core.errors import (
    BlobCorrupt,
    ConfigError,
    NotFound,
    SignatureError,
    TunesmithError,
    UsageError,
)
from tunesmith.core.ref import Blob, find
from tunesmith.core.verify import verify
from tunesmith.registry.change import approve, promote
from tunesmith.registry.roles import Actor
from tunesmith.registry.signing import (
    model_of,
    sign,
    sign_release,
    signature_of_export,
    signing_key,
    verify_version,
)
from tunesmith.registry.standing import released_version
from tunesmith.signing.keys import PrivateKey, new_pair, read_private
from tunesmith.signing.model_files import SIGNATURE, verify_folder

ANN, BOB = (Actor(name=name, os_user=name) for name in ("ann", "bob"))


@pytest.fixture
def key(tmp_path_factory: pytest.TempPathFactory) -> PrivateKey:
    """Outside of the project."""
    path = tmp_path_factory.mktemp("keys") / "k.pem"
    new_pair(path, "p256", None)
    return read_private(path, None, None)


def public_of(key: PrivateKey) -> Path:
    return key.path.with_name("k.pem.pub")


def damage(desk, blob: Blob) -> None:
    path = desk.project.runner.blobs.path(blob)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def test_a_signed_version_verifies_and_its_evidence_says_who(desk, key) -> None:
    version = desk.release()
    with pytest.raises(SignatureError, match="desk@1 is not signed with the key"):
        verify_version(desk.project, version, public_of(key))
    change = sign(desk.project, version, key, ANN)
    assert (change.what, change.actor, change.why) == ("signed", "ann", f"with key {key.id[:12]}")
    found = verify_version(desk.project, version, public_of(key))
    assert (found.what, found.signed_by, found.key) == (version, "ann", key.id)
    assert set(found.files) == {
        "model.json", "base.zip", "adapter_model.safetensors", "adapter_config.json",
        "certificate.json", "curve.jsonl",
    }  # fmt: skip
    runner = desk.project.runner
    assert verify(runner.database, runner.blobs).problems == ()
    with runner.database.read() as connection:
        said = str([entry.body for entry in evidence.entries(connection)])
    assert str(key.path) not in said
    assert "PRIVATE" not in said


def test_a_byte_of_a_signed_version_that_changed_is_found(desk, key) -> None:
    version = desk.release()
    sign(desk.project, version, key, ANN)
    damage(desk, next(find(model_of(desk.project, version), Blob)))
    with pytest.raises(BlobCorrupt):
        verify_version(desk.project, version, public_of(key))
    with pytest.raises(BlobCorrupt):
        sign(desk.project, version, key, ANN)


def test_a_signature_is_of_one_version_and_one_key(desk, key, tmp_path_factory) -> None:
    first, second = desk.release(), desk.release()
    change = sign(desk.project, first, key, ANN)
    with pytest.raises(SignatureError, match="desk@2 is not signed"):
        verify_version(desk.project, second, public_of(key))
    # Somebody who writes to the store says that the signature is of the other version.
    other = dict(change.body) | {"digest": model_digest(desk, second), "version": second}
    with desk.project.runner.database.write() as connection:
        evidence.append(connection, "model.signed", "eve", other)
    with pytest.raises(SignatureError, match=r"changed: .*model\.json"):
        verify_version(desk.project, second, public_of(key))
    eve = tmp_path_factory.mktemp("eve") / "k.pem"
    new_pair(eve, "p256", None)
    sign(desk.project, first, read_private(eve, None, None), BOB)
    assert verify_version(desk.project, first, public_of(key)).signed_by == "ann"


def model_digest(desk, version: str) -> str:
    from tunesmith.core.canonical import fingerprint

    return fingerprint(model_of(desk.project, version))


def test_a_release_is_signed_once(desk, key) -> None:
    version = desk.release()
    release = released_version(desk.project, version).release
    sign_release(desk.project, release, key)
    sign_release(desk.project, release, key)
    with desk.project.runner.database.read() as connection:
        assert len(list(evidence.entries(connection, "model.signed"))) == 1
    verify_version(desk.project, version, public_of(key))


def with_registry(desk, **settings: str) -> None:
    lines = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
    desk.set("[registry]\n", f"[registry]\n{lines}")


def test_the_project_names_its_key_or_the_variable_that_does(desk, key, monkeypatch) -> None:
    assert signing_key(desk.project) is None
    with_registry(desk, signing_key=str(key.path))
    found = signing_key(desk.project)
    assert found is not None
    assert found.id == key.id
    desk.set(f'signing_key = "{key.path}"', 'signing_key = "$DESK_KEY"')
    with pytest.raises(ConfigError, match="DESK_KEY is not set"):
        signing_key(desk.project)
    monkeypatch.setenv("DESK_KEY", str(key.path))
    assert signing_key(desk.project) is not None
    desk.set('"$DESK_KEY"\n', '"$DESK_KEY"\nsigning_password_env = "DESK_PASSWORD"\n')
    monkeypatch.setenv("DESK_PASSWORD", "x")
    with pytest.raises(SignatureError, match="needs no password"):
        signing_key(desk.project)


def test_a_key_inside_of_the_project_signs_nothing(desk) -> None:
    new_pair(desk.project.folder / "k.pem", "p256", None)
    with_registry(desk, signing_key="k.pem")
    with pytest.raises(SignatureError, match="lies in the project's folder"):
        signing_key(desk.project)


def test_what_is_not_signed_is_not_approved(desk, key) -> None:
    version = desk.release()
    with_registry(desk, public_key=str(public_of(key)), signing_key=str(key.path))
    promote(desk.project, version, "production", ANN, "ready")
    with pytest.raises(SignatureError, match="is not signed"):
        approve(desk.project, version, "production", BOB, "fine")
    sign(desk.project, version, key, ANN)
    approve(desk.project, version, "production", BOB, "fine")
    with desk.project.runner.database.read() as connection:
        (entry,) = evidence.entries(connection, "promotion.approved")
    assert "signing_key" not in entry.body["roles"]


def test_an_export_is_signed_where_there_is_a_key(desk, key, tmp_path) -> None:
    from tunesmith.cli.export import save

    blobs = desk.project.runner.blobs
    files = {"a.bin": blobs.put(b"abc"), "more/b.json": blobs.put(b"{}")}
    digests = {name: blob.sha256 for name, blob in files.items()}
    assert signature_of_export(desk.project, "desk", digests) == ""
    with_registry(desk, signing_key=str(key.path))
    signature = signature_of_export(desk.project, "desk", digests)
    save(files, blobs, tmp_path / "out", {SIGNATURE: signature})
    assert verify_folder(tmp_path / "out", public_of(key)) == digests
    with pytest.raises(SignatureError, match=f"called {SIGNATURE}"):
        signature_of_export(desk.project, "desk", {SIGNATURE: "0" * 64})
    damage(desk, files["a.bin"])
    with pytest.raises(BlobCorrupt):
        save(files, blobs, tmp_path / "again", {SIGNATURE: signature})
    assert not (tmp_path / "again").exists()


def test_the_commands(desk, key, tmp_path) -> None:
    from tunesmith.cli.main import app

    version = desk.release()
    folder, public = str(desk.project.folder), str(public_of(key))

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        if isinstance(done.exception, TunesmithError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return done.output

    made = run("key", "new", "--out", str(tmp_path / "new.pem"), "--curve", "p384")
    assert "mode 0600" in made
    with pytest.raises(UsageError, match="no key to sign with"):
        run("model", "sign", version, "-p", folder)
    assert "signed by" in run("model", "sign", version, "--key", str(key.path), "-p", folder)
    said = run("model", "verify", version, "--public-key", public, "-p", folder)
    assert f"{version} is what was signed with key {key.id[:12]}" in said
    with pytest.raises(ConfigError, match="no key to verify with"):
        run("model", "verify", version, "-p", folder)
    with pytest.raises(NotFound, match="desk@9"):
        run("model", "verify", "desk@9", "--public-key", public, "-p", folder)
    with pytest.raises(NotFound, match="neither a version"):
        run("model", "verify", str(tmp_path / "none"), "--public-key", public)
    with pytest.raises(UsageError, match="a folder is verified with a key"):
        run("model", "verify", str(tmp_path))
    with pytest.raises(UsageError, match="NO_SUCH is not set"):
        run("model", "sign", version, "--key", str(key.path), "--password-env", "NO_SUCH",
            "-p", folder)  # fmt: skip
    assert "signed" in run("model", "show", version, "-p", folder)


def test_an_unsigned_version_leaves_as_no_modelkit_either(desk, key, tmp_path_factory) -> None:
    from tunesmith.interop.kitfile import write_kit

    version = desk.release()
    with_registry(desk, public_key=str(public_of(key)))
    out = tmp_path_factory.mktemp("out") / "kit"
    with pytest.raises(SignatureError, match="is not signed with the key"):
        write_kit(desk.project, version, out)
    assert not out.exists()
