"""From ids to text as they come: never half a character, never part of a stop string."""

from __future__ import annotations

from tunesmith.lm.tokenizer import Tokenizer

REPLACEMENT = "\ufffd"
"""What an incomplete character is decoded as."""


class Detokeniser:
    """The text of one answer. What it returns, joined, is the whole text up to a stop string.

    The text of a token can depend on the one before it, so the tokens of the last piece are decoded
    again with the new ones and cut off (as vLLM and TGI do).
    """

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(word for word in stop if word)
        self._ids: list[int] = []
        self._previous = 0
        self._read = 0
        self._held = ""
        self.stopped = False
        """A stop string has come; nothing more is to be added."""

    def add(self, token: int) -> str:
        """The text that is certain now that `token` has come; often, but not always, its own."""
        self._ids.append(token)
        text = self._new_text()
        if not text or text.endswith(REPLACEMENT):
            return ""
        self._previous, self._read = self._read, len(self._ids)
        return self._release(text)

    def finish(self) -> str:
        """What was held back, now that no token will come."""
        rest = self._release(self._new_text())
        if not self.stopped:
            rest, self._held = rest + self._held, ""
        return rest

    def _new_text(self) -> str:
        known = self._tokenizer.decode(self._ids[self._previous : self._read])
        return self._tokenizer.decode(self._ids[self._previous :])[len(known) :]

    def _release(self, text: str) -> str:
        self._held += text
        found = [at for word in self._stop if (at := self._held.find(word)) >= 0]
        if found:
            self.stopped = True
            return self._held[: min(found)]
        held = max((_overlap(self._held, word) for word in self._stop), default=0)
        cut = len(self._held) - held
        released, self._held = self._held[:cut], self._held[cut:]
        return released


def _overlap(text: str, word: str) -> int:
    """Length of the longest end of `text` that `word` begins with."""
    for length in range(min(len(text), len(word) - 1), 0, -1):
        if text.endswith(word[:length]):
            return length
    return 0
