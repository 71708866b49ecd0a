"""Keys and signatures: make a pair, sign a version, verify one or a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.promotion import As, Version, said
from tunesmith.cli.render import HERE, Folder, Json, out, table
from tunesmith.core.errors import NotFound, UsageError
from tunesmith.signing.keys import Curve

if TYPE_CHECKING:
    from tunesmith.project import Project
    from tunesmith.registry.gate_report import Written
    from tunesmith.registry.signing import Verified
    from tunesmith.signing.keys import PrivateKey

Key = Annotated[
    Path | None,
    typer.Option(
        help="File of the private key, outside of the project; the project file's if not given."
    ),
]
PublicKey = Annotated[
    Path | None,
    typer.Option(help="File of the public key; the project file's if not given."),
]
PasswordEnv = Annotated[
    str, typer.Option(help="The environment variable that holds the private key's password.")
]
_VERSION = re.compile(r"[^/@]+@[^/@]+")


def add_to(app: typer.Typer, model: typer.Typer) -> None:
    """Add this file's commands: `tunesmith key ...`, and to `tunesmith model`."""
    key = typer.Typer(help="Keys to sign with.", no_args_is_help=True)
    key.callback()(_keys)
    key.command("new")(key_new)
    app.add_typer(key, name="key")
    model.command("sign")(model_sign)
    model.command("report")(model_report)
    model.command("verify")(model_verify)


def _keys() -> None:
    """Keys to sign with."""


def key_new(
    to: Annotated[
        Path, typer.Option("--out", help="File for the private key; the public one is FILE.pub.")
    ],
    curve: Annotated[Curve, typer.Option(help="P-256 or P-384.")] = "p256",
    password_env: PasswordEnv = "",
    as_json: Json = False,
) -> None:
    """Make a pair of keys; the private one is readable by you alone (mode 0600)."""
    from tunesmith.signing.keys import new_pair

    pair = new_pair(to, curve, _password(password_env))
    lines = [
        f"private: {pair.private} (mode 0600{', encrypted' if pair.is_encrypted else ''}); keep it "
        "out of the project",
        f"public:  {pair.public} (sha256 {pair.id[:12]}); give it to whoever verifies",
    ]
    out(pair, lines, as_json)


def model_sign(
    version: Version,
    key: Key = None,
    password_env: PasswordEnv = "",
    alias: Annotated[
        str, typer.Option(help="Sign that this alias points at it, and not what it is made of.")
    ] = "",
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Sign all that a version is made of, every byte; the signature goes into the evidence."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.roles import acting
    from tunesmith.registry.signing import sign, sign_alias
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        version = numbered(project, version)
        used = the_key(project, key, password_env)
        who = acting(project, actor)
        if alias:
            change = sign_alias(project, version, alias, used, who)
        else:
            change = sign(project, version, used, who)
    more = [] if alias else [f"to verify it: tunesmith model verify {version} --public-key FILE"]
    said(change, more, as_json)


def model_report(
    to: Annotated[Path, typer.Option("--out", help="Folder to write to; a new or an empty one.")],
    version: Annotated[
        str,
        typer.Argument(help="A model version, such as desk@2; every one that has a report if not."),
    ] = "",
    key: Annotated[
        Path | None,
        typer.Option(
            help="File of the private key to sign it with, outside of the project; if not given, "
            "as it was signed, or by the project file's key."
        ),
    ] = None,
    password_env: PasswordEnv = "",
    folder: Folder = HERE,
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Write out the report that was sealed when a version's gate judged: what it rests on, what was
    asked, and found. It is always the same bytes.

    `tunesmith model verify FOLDER` reads it without the project."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.gate_report import write_every_report, write_gate_report
    from tunesmith.registry.roles import acting
    from tunesmith.registry.standing import numbered

    with opened(folder) as (project, _):
        if not version:
            if key is not None:
                raise UsageError(
                    "a key signs the report of one version",
                    remedy="name it: tunesmith model report desk@2 --key FILE --out FOLDER",
                )
            every = write_every_report(project, to)
            lines = [line for each in every for line in _report_lines(each)]
            out(every, lines or ["no gate has judged anything yet"], as_json)
            return
        used = the_key(project, key, password_env) if key is not None else None
        version = numbered(project, version)
        made = write_gate_report(project, version, to, used, acting(project, actor))
    out(made, _report_lines(made), as_json)


def _report_lines(made: Written) -> list[str]:
    signed = f"signed with key {made.key[:12]}" if made.key else "NOT signed: --key FILE signs it"
    return [
        f"report of {made.version}, {made.verdict}, {made.made_at}, in {made.folder}",
        f"sha256 {made.sha256[:12]}, sealed (evidence {made.seq}); {signed}",
    ]


def model_verify(
    what: Annotated[
        str,
        typer.Argument(
            help="A model version, such as desk@2, or the folder of an export or a report."
        ),
    ],
    public_key: PublicKey = None,
    folder: Folder = HERE,
    as_json: Json = False,
) -> None:
    """See that every byte of a version, of an export or of a report is what was signed."""
    from tunesmith.cli.opening import opened
    from tunesmith.registry.signing import verify_version
    from tunesmith.registry.standing import numbered

    if _VERSION.fullmatch(what):
        with opened(folder) as (project, _):
            found = verify_version(project, numbered(project, what), public_key)
    else:
        found = _verified_folder(Path(what), public_key)
    out(found, _lines(found), as_json)


def _verified_folder(path: Path, public_key: Path | None) -> Verified:
    from tunesmith.registry.gate_report import PREDICATE
    from tunesmith.registry.signing import Verified
    from tunesmith.signing.envelope import ENVELOPE, STATEMENT, read_report
    from tunesmith.signing.keys import key_id, read_public
    from tunesmith.signing.model_files import files_in, verify_folder

    if not path.is_dir():
        raise NotFound(
            f"{path} is neither a version such as desk@2 nor a folder",
            remedy="see `tunesmith model list`, or name the folder of an export",
        )
    if public_key is None:
        raise UsageError("a folder is verified with a key", remedy="name it: --public-key FILE")
    if (path / ENVELOPE).exists() or (path / STATEMENT).exists():
        said = read_report(path, PREDICATE, public_key)
        return Verified(
            what=f"{path}, the report of {said['subject'][0]['name']}",
            key=key_id(read_public(public_key)),
            files=files_in(path),
            signed_at=said["predicate"]["made_at"],
            signed_by=said["predicate"]["made_by"]["name"],
        )
    files = verify_folder(path, public_key)
    return Verified(what=str(path), key=key_id(read_public(public_key)), files=files)


def _lines(found: Verified) -> list[str]:
    when = f", {found.signed_at} by {found.signed_by}" if found.signed_at else ""
    rows = [[name, digest[:12]] for name, digest in found.files.items()]
    return [
        f"{found.what} is what was signed with key {found.key[:12]}{when}",
        *table(rows, ["file", "sha256"]),
        *found.reports,
    ]


def the_key(project: Project, key: Path | None, password_env: str) -> PrivateKey:
    """The key of the command, or else the project's."""
    from tunesmith.registry.signing import signing_key
    from tunesmith.signing.keys import read_private

    if key is not None:
        return read_private(key, _password(password_env), project.folder)
    found = signing_key(project)
    if found is None:
        raise UsageError(
            "there is no key to sign with",
            remedy="name one with --key FILE, or set signing_key in [registry]; "
            "`tunesmith key new --out FILE` makes one",
        )
    return found


def _password(variable: str) -> bytes | None:
    if not variable:
        return None
    if not os.environ.get(variable):
        raise UsageError(
            f"the environment variable {variable} is not set",
            remedy=f"export {variable}=...; a password is never typed on a command line",
        )
    return os.environ[variable].encode()
