"""What a search could not read, and where: that it found nothing there says nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

Tell = Callable[[str], None]
DAMAGED = "damaged: read up to there, at the most"


def _nobody(_said: str) -> None:
    return


@dataclass(frozen=True, kw_only=True, slots=True)
class At:
    """Where in a file something stands that is looked at."""

    path: str = ""
    """Of members within members, e.g. "letters.zip/3.pdf"; empty at the top."""
    depth: int = 0
    """How deep it is packed."""
    tell: Tell = _nobody
    """Is told what cannot be read. Nothing that stands in it is said, but names of members."""

    def within(self, name: str) -> At:
        """The place of a member of what is here."""
        return replace(self.part(name), depth=self.depth + 1)

    def part(self, name: str) -> At:
        """The place of a part of what is here, that is no deeper."""
        return replace(self, path=f"{self.path}/{name}" if self.path else name)

    def unread(self, why: str) -> None:
        """What is here could not be read."""
        self.tell(f"{self.path}: {why}" if self.path else why)


HERE = At()
"""The top of what is looked at; nobody is told."""
