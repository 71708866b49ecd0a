"""Keys: P-256 or P-384 in PEM. The private one is read when something is signed, and never kept."""

from __future__ import annotations

import importlib.util
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunesmith.core.canonical import sha256
from tunesmith.core.errors import Conflict, MissingExtra, SignatureError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

Curve = Literal["p256", "p384"]
CURVES = ("secp256r1", "secp384r1")
MAKE = "make a pair with `tunesmith key new --out FILE`"
LARGEST = 1 << 16
"""No key has more bytes."""
MIN_PASSWORD = 12
"""Bytes of a password that a new key is closed with."""


@dataclass(frozen=True, kw_only=True)
class PrivateKey:
    """A private key that may be used: where it is, and what opens it."""

    path: Path
    password: bytes | None = field(default=None, repr=False)
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def id(self) -> str:
        """What its public half is known by."""
        return key_id(self.key.public_key())


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyPair:
    """The files of a new pair of keys."""

    private: str
    public: str
    id: str
    curve: Curve
    is_encrypted: bool


def require_extra() -> None:
    """See that signatures can be made and looked at here.

    Raises:
        MissingExtra: they cannot.
    """
    for module in ("cryptography", "model_signing", "OpenSSL"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(module, "signing")


def read_private(path: Path, password: bytes | None, project: Path | None) -> PrivateKey:
    """The private key in a file, which lies outside of `project` and is its owner's alone.

    Raises:
        SignatureError: it is not there, lies in the project, may be read by others, is of another
            kind, or the password does not open it.
        MissingExtra: signatures cannot be made here.
    """
    require_extra()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    where = f"the signing key {path}"
    real = Path(os.path.realpath(path.expanduser()))
    if project is not None and real.is_relative_to(os.path.realpath(project)):
        raise SignatureError(
            f"{where} lies in the project's folder",
            remedy="keep it elsewhere: a project's folder is copied, published and backed up",
        )
    data, mode = _read(real, where, MAKE)
    if stat.S_IMODE(mode) & 0o177:
        raise SignatureError(
            f"{where} has mode {stat.S_IMODE(mode):04o}: others than its owner could use it",
            remedy=f"chmod 600 {real}; if others could read it until now, make a new pair",
        )
    try:
        key = serialization.load_pem_private_key(data, password)
    except TypeError as error:  # one has a password, and the other not
        needs = "needs no password" if password else "needs its password"
        raise SignatureError(
            f"{where} {needs}",
            remedy="name the environment variable that holds it, only if there is one: "
            "--password-env VARIABLE, or signing_password_env in [registry]",
        ) from error
    except ValueError as error:
        raise SignatureError(
            f"{where} cannot be read: no private key in PEM, or another password", remedy=MAKE
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise _refused(where)
    return PrivateKey(path=real, password=password, key=key)


def read_public(path: Path) -> ec.EllipticCurvePublicKey:
    """The public key in a file.

    Raises:
        SignatureError: it is not there, or of another kind.
        MissingExtra: signatures cannot be looked at here.
    """
    require_extra()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    where = f"the public key {path}"
    remedy = "name the file that ends with .pub beside the private key"
    data, _ = _read(Path(os.path.realpath(path.expanduser())), where, remedy)
    try:
        key = serialization.load_pem_public_key(data)
    except ValueError as error:
        raise SignatureError(f"{where} is no public key in PEM", remedy=remedy) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise _refused(where)
    return key


def key_id(public: ec.EllipticCurvePublicKey) -> str:
    """The SHA-256 of a public key's PEM: what model-signing calls its hint."""
    return sha256(public_pem(public))


def public_pem(public: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as a file holds it."""
    from cryptography.hazmat.primitives import serialization

    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def new_pair(out: Path, curve: Curve, password: bytes | None) -> KeyPair:
    """Write a private key to `out`, mode 0600, and its public half beside it, to `out`.pub.

    Raises:
        UsageError: the password is shorter than `MIN_PASSWORD`.
        Conflict: one of them is there.
        SignatureError: the folder cannot be written to.
        MissingExtra: signatures cannot be made here.
    """
    require_extra()
    if password is not None and len(password) < MIN_PASSWORD:
        raise UsageError(
            f"the password has {len(password)} bytes",
            remedy=f"take one of {MIN_PASSWORD} or more: whoever has the file can try as many as "
            "the years allow",
        )
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1() if curve == "p256" else ec.SECP384R1())
    closed: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        closed = serialization.BestAvailableEncryption(password)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, closed
    )
    public = out.with_name(f"{out.name}.pub")
    for path in (public, out):
        if os.path.lexists(path):
            raise Conflict(f"{path} is there already", remedy="name another file with --out")
    _write(out, private, 0o600)
    _write(public, public_pem(key.public_key()), 0o644)
    return KeyPair(
        private=str(out),
        public=str(public),
        id=key_id(key.public_key()),
        curve=curve,
        is_encrypted=bool(password),
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(handle, "wb") as target:
            os.fchmod(handle, mode)  # whatever the umask is
            target.write(data)
    except FileExistsError as error:
        raise Conflict(f"{path} is there already", remedy="name another with --out") from error
    except OSError as error:
        raise SignatureError(
            f"{path} cannot be written: {error.strerror}", remedy="name another with --out"
        ) from error


def _read(path: Path, where: str, remedy: str) -> tuple[bytes, int]:
    """The bytes of a plain file, and the mode of the file that they were read from."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb") as source:
            mode = os.fstat(handle).st_mode
            data = source.read(LARGEST) if stat.S_ISREG(mode) else None
    except OSError as error:
        raise SignatureError(f"{where} cannot be read: {error.strerror}", remedy=remedy) from error
    if data is None:
        raise SignatureError(f"{where} is no plain file", remedy=remedy)
    return data, mode


def _refused(where: str) -> SignatureError:
    return SignatureError(f"{where} is of another kind than {' and '.join(CURVES)}", remedy=MAKE)
