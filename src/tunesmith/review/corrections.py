"""Rows as people corrected them. Each is a blob: the evidence, from which nothing can be erased,
has its digest, and a number that nobody can guess is in the blob, so that the digest tells nothing
of what it said once it is erased."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator

from tunesmith.core.blobs import Blobs
from tunesmith.core.canonical import canonical_json
from tunesmith.core.errors import UsageError
from tunesmith.core.ref import Blob
from tunesmith.records.rows import Content, Tagged
from tunesmith.review.log import Log, Saying
from tunesmith.stages.curate.content import NotInFormat
from tunesmith.stages.curate.verdicts import (
    CORRECTED,
    VERDICTS,
    correctable,
    corrected,
    read_correction,
)

Put = Callable[[Content], Blob]


@contextlib.contextmanager
def keeping(blobs: Blobs) -> Iterator[Put]:
    """What puts corrections into the store; if what is done with it fails, they are removed."""
    put: list[Blob] = []

    def keep(content: Content) -> Blob:
        data = canonical_json({"content": content, "salt": secrets.token_hex(16)})
        put.append(blobs.put(data, "application/json"))
        return put[-1]

    try:
        yield keep
    except BaseException:
        for blob in put:
            blobs.remove(blob.sha256)
        raise


def can_correct(format: str) -> bool:
    """Whether a correction may be said of rows of a format."""
    return CORRECTED in VERDICTS.get(format, ())


def made(content: Content, text: str, tags: tuple[str, ...], where: str = "") -> Content:
    """The row with `text` in place of what is to be corrected; `tags` are those of the dataset.

    Raises:
        UsageError: there is no such row, or it says so already.
    """
    try:
        changed = corrected(content, text)
    except NotInFormat as error:
        raise UsageError(
            f"{where}that is no correction: {error}",
            remedy="write the whole answer as it should be; of tags a JSON list, one for each word",
        ) from error
    if text_of(changed) == text_of(content):
        raise UsageError(
            f"{where}the correction says what stands there already", remedy="accept the row"
        )
    if isinstance(changed, Tagged) and (unknown := sorted({*changed.tags} - {*tags})):
        raise UsageError(
            f"{where}{unknown[0]!r} is no tag of the dataset", remedy=f"there is: {', '.join(tags)}"
        )
    return changed


def text_of(content: Content) -> str:
    """What a correction says, but for white space: two who say the same agree."""
    return " ".join(correctable(content).split())


def form_of(blobs: Blobs, log: Log, row: str, content: Content) -> int:
    """Which of the different corrections of a row `content` is, counted from 1 as they were given.
    The numbers of those that were erased are not given again.

    Raises:
        StoreError: an earlier one is not there, or not whole.
    """
    forms = {
        text_of(read_correction(blobs, each.correction, type(content))): each.form
        for each in log.all_of(row)
        if each.correction is not None
    }
    erased = (each.form for each in log.lost if each.row == row)
    return forms.get(text_of(content), max((*forms.values(), *erased), default=0) + 1)


def text_in(blobs: Blobs, blob: Blob | None, like: Content) -> str:
    """What a correction of a row says; empty without one.

    Raises:
        StoreError: it is not there, or not whole.
    """
    return correctable(read_correction(blobs, blob, type(like))) if blob is not None else ""


def require_text(saying: Saying, text: str, format: str) -> None:
    """Raise UsageError unless a text is given with a correction, and with nothing else."""
    corrects = can_correct(format) and saying.label == CORRECTED
    if corrects != bool(text.strip()):
        raise UsageError(
            f"{saying.where}{saying.label!r} is said {'without' if corrects else 'with'} a text",
            remedy="say what a row should be with it, and nothing else: --label corrected --text "
            "TEXT"
            if can_correct(format)
            else f"leave the text out: rows of format {format!r} are not corrected here",
        )
