"""How an origin is written: where a source or a base model comes from."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from tunesmith.core.project_folder import STORE
from tunesmith.core.section import HIDDEN
from tunesmith.stages.ingest.reach import place_of

_PACKAGE = (
    r"pypi:[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?"
    r"==[0-9]([A-Za-z0-9.!+_-]{0,62}[A-Za-z0-9])?"
)
NPM = "npm:"
_NPM_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}"
_NPM_PACKAGE = rf"npm:(@{_NPM_NAME}/)?{_NPM_NAME}@[0-9]{{1,9}}(\.[0-9A-Za-z+-]{{1,40}}){{2,8}}"
Origin = Annotated[str, StringConstraints(pattern=f"^({_PACKAGE}|{_NPM_PACKAGE})$")]
"""pypi:NAME==VERSION or npm:NAME@VERSION. Strict, because it becomes an argument of pip or npm."""

LOCAL, SQLITE, POSTGRES, WEB = "file:", "sqlite:", "postgresql://", ("https:", "http:")
OBJECTS, SINGER, DLT = "s3://", "singer:", "dlt:"
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_SERVER = r"[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?(:[0-9]{1,5})?/[A-Za-z0-9_-]{1,63}"
_RESOURCE = r"[A-Za-z_][A-Za-z0-9_]{0,99}(\.[A-Za-z_][A-Za-z0-9_]{0,99})?"
_EXAMPLES = {
    "file": "file:data/rows.jsonl",
    "sqlite": "sqlite:data/crm.db",
    "dlt": "dlt:pipelines/crm.py:tickets",
}
_SECRET = re.compile(
    r"token|secret|passw|pwd|api[-_]?key|signature|credential|(^|[-_])(auth|key|sig)$",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a setting of that name holds what nobody else should know."""
    return bool(_SECRET.search(name))


def _checked_origin(origin: str) -> str:
    """A package, an API, a database of a server, or a path that cannot lead out of the project's
    folder, nor into its store."""
    if re.fullmatch(f"{_PACKAGE}|{_NPM_PACKAGE}", origin):
        return origin
    if origin.startswith(WEB):
        return _checked_address(origin)
    if origin.startswith(POSTGRES):
        if not re.fullmatch(_SERVER, origin.removeprefix(POSTGRES)):
            raise ValueError(
                "write postgresql://HOST:PORT/DATABASE, without user and password: those are taken "
                "from PGUSER and PGPASSWORD, or from the password file, as psql does"
            )
        return origin
    if origin.startswith(OBJECTS):
        return _checked_prefix(origin)
    if origin == SINGER:
        return origin
    if not origin.startswith((LOCAL, SQLITE, DLT)):
        raise ValueError(
            "write pypi:NAME==VERSION, file:PATH or sqlite:PATH with a path inside the project, "
            "npm:NAME@VERSION, postgresql://HOST:PORT/DATABASE, https://HOST/PATH, "
            "s3://BUCKET/PREFIX, singer: (with tap and stream), or dlt:PATH.py:RESOURCE"
        )
    kind, _, path = origin.partition(":")
    if origin.startswith(DLT):
        path, _, resource = path.rpartition(":")
        if not path.endswith(".py") or not re.fullmatch(_RESOURCE, resource):
            raise ValueError(
                "write dlt:PATH.py:RESOURCE, or dlt:PATH.py:SOURCE.RESOURCE for one of a source"
            )
    parts = path.removesuffix("/").split("/")
    if re.search(r"[\\\x00-\x1f\x7f:]", path) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            f"the path after {kind}: must be plain and inside the project's folder, as in "
            f"{_EXAMPLES[kind]}"
        )
    if parts[0] == STORE:
        raise ValueError("the store is no source")
    return origin


def _checked_prefix(origin: str) -> str:
    """A bucket, and where in it; the keys that are found there are checked when they are listed."""
    bucket, _, prefix = origin.removeprefix(OBJECTS).partition("/")
    parts = prefix.removesuffix("/").split("/") if prefix else []
    if (
        not re.fullmatch(_BUCKET, bucket)
        or re.search(r"[\\\x00-\x1f\x7f]", prefix)
        or any(part in ("", ".", "..") for part in parts)
    ):
        raise ValueError(
            "write s3://BUCKET/PREFIX, with a plain prefix as in s3://mail/2026/letters; the "
            "server, if it is not Amazon's, is the setting endpoint, and whose credentials are "
            "used is said by the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE)"
        )
    return origin


def _checked_address(origin: str) -> str:
    """The address of an API, with nothing in it that is nobody's business."""
    names = [pair.partition("=")[0] for pair in origin.partition("?")[2].split("&")]
    if "@" in origin.partition("?")[0] or any(_SECRET.search(name) for name in names):
        raise PydanticCustomError(
            HIDDEN,
            "the address has a user, a password or a token in it, which the project file must not "
            "have: put the token into an environment variable, and name that in token_env",
        )
    place_of(origin)
    if "#" in origin:
        raise ValueError("leave out what follows the #: no server is told it")
    return origin


SourceOrigin = Annotated[str, AfterValidator(_checked_origin)]
"""pypi:NAME==VERSION, npm:NAME@VERSION, file:PATH, sqlite:PATH, postgresql://HOST:PORT/DATABASE, https://HOST/PATH,
s3://BUCKET/PREFIX, singer:, dlt:PATH.py:RESOURCE."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
