"""Signatures in the format of model-signing (OpenSSF), by its own code: a manifest of file names
and digests in an in-toto statement, in a DSSE envelope, in a Sigstore bundle. Nothing goes over a
network.

Which files there are, and what is in them, is found here, and not by the library: it leaves out
what a signature says is to be left out, and follows links where a signature says so.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.core.canonical import fingerprint
from tunesmith.core.errors import SignatureError
from tunesmith.records.model import ModelVersion
from tunesmith.signing.keys import PrivateKey, read_public, require_extra

SIGNATURE = "model.sig"
"""The file of a folder that holds its signature, by model-signing's convention."""


def files_of(model: ModelVersion) -> dict[str, str]:
    """What a model version is made of: file name -> SHA-256. `model.json` is its record."""
    return {
        "model.json": fingerprint(model),
        f"base.{'gguf' if model.base.format == 'gguf' else 'zip'}": model.base.weights.sha256,
        "adapter_model.safetensors": model.adapter.sha256,
        "adapter_config.json": model.adapter_config.sha256,
        "certificate.json": model.certificate.sha256,
        "curve.jsonl": model.curve.sha256,
    }


def files_in(folder: Path) -> dict[str, str]:
    """Every file of a folder but its signature: path in it -> SHA-256 of the bytes.

    Raises:
        SignatureError: there is a link, or something else that is no plain file.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or name == SIGNATURE:
            continue
        if not stat.S_ISREG(mode):
            raise SignatureError(
                f"{name} in {folder} is a link, or no plain file: what it leads to can change",
                remedy="put the file itself there, or take it out",
            )
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with open(handle, "rb") as source:
            found[name] = hashlib.file_digest(source, "sha256").hexdigest()
    return found


def sign(files: Mapping[str, str], name: str, key: PrivateKey) -> str:
    """A signature of `files` (name -> SHA-256), as `model.sig` holds it; `name` is for people."""
    require_extra()
    import model_signing.signing

    config = model_signing.signing.Config()
    # The library hands the password on to one who wants bytes.
    config.use_elliptic_key_signer(private_key=key.path, password=key.password)
    config.set_hashing_config(_listed(files, name))
    with tempfile.TemporaryDirectory() as folder:
        config.sign(folder, Path(folder) / SIGNATURE)
        return (Path(folder) / SIGNATURE).read_text()


def verify(signature: str, files: Mapping[str, str], name: str, public_key: Path) -> None:
    """See that `signature` is of exactly these files, by that key.

    Raises:
        SignatureError: it is not.
        MissingExtra: signatures cannot be looked at here.
    """
    read_public(public_key)
    import model_signing.verifying
    from cryptography.exceptions import InvalidSignature

    config = model_signing.verifying.Config()
    config.set_hashing_config(_listed(files, name))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SIGNATURE
        path.write_text(signature)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # the library prints warnings
                config.use_elliptic_key_verifier(public_key=public_key.expanduser())
                config.verify(folder, path)
        except InvalidSignature as error:
            raise _wrong(name, "it was not made with that key, or was altered") from error
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            why = str(error) or type(error).__name__
            if why.startswith("Signature mismatch"):  # it is by that key, but of other files
                why = _differences(signature, files)
            raise _wrong(name, why) from error


def verify_folder(folder: Path, public_key: Path) -> dict[str, str]:
    """The files of a folder (name -> SHA-256), if its `model.sig` is of exactly these.

    Raises:
        SignatureError: it is not, or there is none.
    """
    path = folder / SIGNATURE
    if not path.is_file() or path.is_symlink():
        raise SignatureError(
            f"{folder} has no {SIGNATURE}",
            remedy="export the model with a signing key: signing_key in [registry]",
        )
    files = files_in(folder)
    verify(path.read_text(errors="replace"), files, str(folder), public_key)
    return files


def _differences(signature: str, files: Mapping[str, str]) -> str:
    """How `files` are others than those that a signature, which holds, is of."""
    payload = json.loads(signature)["dsseEnvelope"]["payload"]
    resources = json.loads(base64.b64decode(payload))["predicate"]["resources"]
    signed = {each["name"]: each["digest"] for each in resources}
    both = files.keys() & signed.keys()
    found = {
        "not signed": files.keys() - signed.keys(),
        "missing": signed.keys() - files.keys(),
        "changed": {path for path in both if files[path] != signed[path]},
    }
    return "; ".join(f"{what}: {', '.join(sorted(of))}" for what, of in found.items() if of)


def _wrong(name: str, why: str) -> SignatureError:
    return SignatureError(
        f"the signature of {name} does not fit: {why}",
        remedy="do not use it; get it again from whoever signed it, or name their public key",
    )


def _listed(files: Mapping[str, str], name: str) -> Any:
    """What the library asks for the files: these, whatever a signature says of others."""
    from model_signing import hashing, manifest
    from model_signing._hashing.hashing import Digest

    class Listed(hashing.Config):
        def hash(self, _folder: Any, *, files_to_hash: Any = None) -> manifest.Manifest:
            del files_to_hash
            how = manifest.SerializationType.from_args(
                {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": [SIGNATURE],
                }
            )
            return manifest.Manifest(name, list(_items(manifest, Digest)), how)

        def add_ignored_paths(self, *, model_path: Any, paths: Any) -> None:
            """Nothing is left out."""

    def _items(of: Any, digest: Any) -> Iterator[Any]:
        for path, sha256 in files.items():
            yield of.FileManifestItem(
                path=Path(path), digest=digest("sha256", bytes.fromhex(sha256))
            )

    return Listed()
