"""The engine that says again what was said: the test double that ships."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunesmith.lm.engine import Message, Piece, Sampling


class EchoEngine:
    """Answers with the last message, a word at a time."""

    def generate(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Piece]:
        """The words of the last message, at most `sampling.max_tokens` of them."""
        prompt = sum(len(message.content.split()) for message in messages)
        words = messages[-1].content.split()
        kept = words[: sampling.max_tokens]
        for count, word in enumerate(kept, start=1):
            last = count == len(kept)
            reason = ("stop" if len(kept) == len(words) else "length") if last else None
            yield Piece(
                text=word if count == 1 else f" {word}",
                num_prompt_tokens=prompt,
                num_answer_tokens=count,
                finish_reason=reason,  # type: ignore[arg-type]
            )
