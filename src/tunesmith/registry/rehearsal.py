"""The way back, tried before it is needed: the version that a rollback would lead to is read,
loaded and asked, as serving would do it.

Whoever rolls back is in a hurry, and moves one row; that nothing is wrong with where it leads is
found here, at promotion, when there is time to do something about it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tunesmith.core.blobs import Blobs
from tunesmith.core.errors import DataError, GateFailed, TunesmithError
from tunesmith.core.lifecycle import Change
from tunesmith.core.ref import Blob, find
from tunesmith.lm.engine import Message, Sampling
from tunesmith.project import Project
from tunesmith.records.model import TASKS, ModelVersion
from tunesmith.registry.standing import Released
from tunesmith.signing.at_load import as_signed

if TYPE_CHECKING:
    from tunesmith.lm.load import LoadedHead, LoadedModel

PROMPT = "What are you for?"
"""What the version is asked. It is ours: a row of the data could be somebody's, and what is put on
record is never erased. For the same reason the answer is not kept."""
MAX_TOKENS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsed:
    """What came of trying the version that a rollback would lead to."""

    version: str = ""
    """Empty: there is none."""
    read_ms: float = 0.0
    """To read every byte of it."""
    load_ms: float = 0.0
    answer_ms: float = 0.0
    signed: bool = False
    """Whether its signature was looked at, as the project file has a public key."""
    lost: str = ""
    """Why it cannot be gone back to; empty: it can."""
    waiver: str = ""
    """Why that is accepted."""

    @property
    def said(self) -> str:
        """For people, and the evidence."""
        if not self.version:
            return "none: there is no version before"
        if self.lost:
            return f"waived: {self.version} cannot be gone back to ({self.lost}): {self.waiver}"
        signed = ", its signature verified" if self.signed else ""
        return f"rehearsed, to {self.version}; read, every byte{signed}; loaded, and it answered"

    def body(self) -> dict[str, Any]:
        """What the evidence of an approval says of it."""
        if not self.version:
            return {"way_back": self.said}
        tried: dict[str, Any] = {"version": self.version}
        if self.lost:
            tried |= {"lost": self.lost, "waiver": self.waiver}
        else:
            tried |= {
                "read_ms": self.read_ms,
                "load_ms": self.load_ms,
                "answer_ms": self.answer_ms,
                "signed": self.signed,
                "asked": PROMPT,
            }
        return {"way_back": self.said, "way_back_tried": tried}


def rehearse(project: Project, back: Released | None, waiver: str) -> Rehearsed:
    """Try `back`, to which a rollback would lead.

    With a `waiver`, the reason why it may be lost, an approval goes on without it.

    Raises:
        GateFailed: it cannot be read whole, is not as it was signed where the project file names a
            public key, cannot be loaded, or does not answer; and nobody accepts that.
    """
    if back is None:
        return Rehearsed()
    try:
        return _tried(project, back)
    except Exception as error:  # whatever it is, it would be met in the emergency
        lost = _why(project, back, error)
        if not waiver:
            raise GateFailed(
                f"{back.version} cannot be gone back to: {lost}; so nothing could be done if the "
                "new version turned out to be bad",
                remedy="put it back from a backup (`tunesmith store restore`); or, where that "
                "cannot be or it must not come back, approve with --without-way-back and the "
                f"reason, and then retire it: `tunesmith model retire {back.version}`",
            ) from error
    return Rehearsed(version=back.version, lost=lost, waiver=waiver)


def known_lost(changes: Iterable[Change], version: str) -> str:
    """That a version could not be gone back to when one after it was approved; empty if it could.
    Looked up, not tried: whoever rolls back does not wait."""
    tried = [change.body.get("way_back_tried", {}) for change in changes]
    found = [each for each in tried if each.get("version") == version]
    if not found or "lost" not in found[-1]:
        return ""
    return (
        f"{version} could not be loaded when the version after it was approved "
        f"({found[-1]['lost']}): see that it serves"
    )


def _tried(project: Project, back: Released) -> Rehearsed:
    blobs, model = project.runner.blobs, back.release.model
    started = time.monotonic()
    for blob in find(back.release, Blob):
        blobs.check(blob, deep=True)
    read = time.monotonic()
    with as_signed(
        [(model, back.version)], blobs, project.runner.database, project.public_key
    ) as copies:
        answer = _loaded(model, copies)
    loaded = time.monotonic()
    answer()
    return Rehearsed(
        version=back.version,
        read_ms=_ms(started, read),
        load_ms=_ms(read, loaded),
        answer_ms=_ms(loaded, time.monotonic()),
        signed=project.public_key is not None,
    )


def _loaded(model: ModelVersion, blobs: Blobs) -> Callable[[], None]:
    """What asks the model, which is in memory now.

    Raises:
        DataError: what was tuned is not of its base model, or cannot be read here.
    """
    # Torch: seconds, which nobody waits for who approves a first version, or goes back.
    if model.objective in TASKS:
        from tunesmith.lm.load import load_tuned_head

        return partial(_read_by, load_tuned_head(model, blobs), model.instruction)
    from tunesmith.lm.attach import load_version

    return partial(_answered_by, load_version(model, blobs), model)


def _answered_by(loaded: LoadedModel, model: ModelVersion) -> None:
    """Ask a model that goes on with a text: as a service does, or, where its base model has no
    template for conversations, so that nothing can serve it, by the prompt itself."""
    from tunesmith.lm.generate import TorchEngine, continuation
    from tunesmith.lm.lessons import beginning

    if loaded.tokenizer.chat_template:
        engine = TorchEngine(loaded, model.instruction, model.labels)
        asked = (Message(role="user", content=PROMPT),)
        pieces = list(engine.generate(asked, Sampling(max_tokens=MAX_TOKENS)))
        _require_said(pieces[-1].finish_reason is not None)
        return
    ids = (*beginning(loaded.tokenizer), *loaded.tokenizer.encode(PROMPT))
    tokens = continuation(loaded.model, ids, lambda logits: int(logits.argmax()))
    _require_said(len(list(itertools.islice(tokens, MAX_TOKENS))) == MAX_TOKENS)


def _require_said(is_said: bool) -> None:
    """Not an `assert`: Python can be told to pass over those, and then nothing would be asked."""
    if not is_said:
        raise DataError(
            "it was loaded, and does not answer", remedy="see what `tunesmith serve` says"
        )


def _read_by(loaded: LoadedHead, instruction: str) -> None:
    """Ask a model that says something of a text."""
    from tunesmith.lm import classify, embed, rerank

    match loaded.task:
        case "classify":
            classify.class_log_probabilities(loaded, [PROMPT])
        case "tag":
            classify.tag_log_probabilities(loaded, [PROMPT.split()])
        case "reward":
            rerank.answer_rewards(loaded, [(PROMPT, PROMPT)], instruction)
        case "rerank":
            rerank.passage_scores(loaded, [(PROMPT, PROMPT)])
        case "embed":
            embed.vectors(loaded, [PROMPT])


def _why(project: Project, back: Released, error: Exception) -> str:
    """Why a version is lost, for people; of erased bytes that they will not come back."""
    erased = {blob.sha256 for blob in find(back.release, Blob)} & project.purged
    if erased:
        return "a part of it was erased when somebody was forgotten, for good"
    if isinstance(error, TunesmithError):
        return error.message
    return f"{type(error).__name__}: {error}"


def _ms(since: float, until: float) -> float:
    return round(1000 * (until - since), 3)
