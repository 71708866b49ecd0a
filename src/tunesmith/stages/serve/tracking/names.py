"""Which names, paths and locations are taken. What is taken is kept as it was read, and never read
a second time by other rules."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from tunesmith.core.errors import UsageError

RUN_ID = r"^[0-9a-f]{32}$"
LOGGED_ID = r"^m-[0-9a-f]{32}$"
SCHEME = "mlflow-artifacts:/"
MAX_PATH = 1000
MAX_BYTES = 2000
"""... of a path: an entry of a Postgres index is at most 2,704 long, with the owner."""
_RUN_PLACE = re.compile(
    r"(?P<experiment>[0-9]{1,10})/(?P<owner>[0-9a-f]{32})/artifacts(/(?P<path>.*))?"
)
_LOGGED_PLACE = re.compile(
    r"(?P<experiment>[0-9]{1,10})/models/(?P<owner>m-[0-9a-f]{32})/artifacts(/(?P<path>.*))?"
)
_RUNS = re.compile(r"runs:/(?P<owner>[0-9a-f]{32})/(?P<path>.+)")
_MODELS = re.compile(r"models:/(?P<owner>m-[0-9a-f]{32})")
_VERSION = re.compile(r"models:/(?P<name>[^/:\\\x00-\x1f]{1,250})/(?P<number>[1-9][0-9]{0,8})")


def storable(text: str) -> str:
    """`text`, if each database can hold it.

    Raises:
        ValueError: it has a NUL, or half of a character.
    """
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it has a character that cannot be stored")
    return text


def artifact_path(text: str) -> str:
    """`text`, if it is a plain relative path, on every system and however often it is decoded.

    Raises:
        UsageError: it is not; a client that is given it later could write outside its folder.
    """
    last: str | None = None
    decoded = text
    while decoded != last:  # a proxy, or a client, may decode what is decoded already
        last, decoded = decoded, unquote(decoded)
        if not _is_plain(decoded):
            raise UsageError(
                f"{text[:100]!r} is no path of an artefact",
                remedy="name a file below the run, with / between folders and without ..",
            )
    return text


def _is_plain(path: str) -> bool:
    parts = path.split("/")
    return (
        0 < len(path) <= MAX_PATH
        and len(path.encode(errors="surrogatepass")) <= MAX_BYTES
        and not any(part in ("", ".", "..") for part in parts)
        and not any(part.endswith((" ", ".")) or part.startswith(" ") for part in parts)
        and not set(path) & set('\\:*?"<>|#;')
        and not any(unicodedata.category(character) in ("Cc", "Cs", "Cf") for character in path)
    )


def place(text: str) -> tuple[str, str]:
    """Owner and path of "EXPERIMENT/RUN/artifacts/PATH", or of a logged model's; the path may be
    empty.

    Raises:
        UsageError: it is neither.
    """
    found = _RUN_PLACE.fullmatch(text) or _LOGGED_PLACE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text[:100]!r} is no place of artefacts here",
            remedy="use the artifact_uri of a run or a logged model",
        )
    path = (found["path"] or "").removesuffix("/")
    return found["owner"], artifact_path(path) if path else ""


def version_named(uri: str) -> tuple[str, int] | None:
    """The registered model and the number that "models:/NAME/NUMBER" names; None for another
    place."""
    found = _VERSION.fullmatch(uri)
    return (found["name"], int(found["number"])) if found else None


def source(uri: str) -> tuple[str, str]:
    """Owner and path of where a model version lies: in this store, and nowhere else.

    Raises:
        UsageError: it is elsewhere.
    """
    if uri.startswith(SCHEME) and not uri.startswith(f"{SCHEME}/"):
        return place(uri.removeprefix(SCHEME))
    found = _RUNS.fullmatch(uri)
    if found is not None:
        return found["owner"], artifact_path(found["path"])
    found = _MODELS.fullmatch(uri)
    if found is not None:
        return found["owner"], ""
    raise UsageError(
        f"{uri[:100]!r} is no model in this store",
        remedy="log the model here, and register runs:/RUN/PATH, models:/MODEL or "
        "models:/NAME/VERSION",
    )


def location(experiment: int, owner: str, path: str = "") -> str:
    """Where the artefacts of a run or a logged model are, as clients are told."""
    between = "models/" if owner.startswith("m-") else ""
    return f"{SCHEME}{experiment}/{between}{owner}/artifacts" + (f"/{path}" if path else "")
