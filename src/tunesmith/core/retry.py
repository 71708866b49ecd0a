"""Which failures pass by themselves, so that a step may be tried again."""

from __future__ import annotations

import re

from tunesmith.core.errors import PackageError, WorkerKilled

LONGEST_WAIT_S = 300.0
_NOBODY_ANSWERED = re.compile(
    # pip, of each try that it made itself; npm's codes; what mirrors say when they are busy.
    r"after connection broken by|Read timed out|ReadTimeoutError|Temporary failure in name|"
    r"\b(EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENETDOWN)\b|"
    r"\b(429|502|503|504) (Client|Server) Error\b"
)
"""Words of pip and npm. They are told apart here and not where they are heard: that code is in the
key of every step that reads data, and none of what was read would be another."""


def is_passing(error: BaseException, kind: str) -> bool:
    """Whether a step of `kind` that failed may succeed when nothing but the time has changed.

    A worker that was killed, and a package index that did not answer. What was written wrong, and
    data that cannot be used, are the same a minute later.

    >>> is_passing(PackageError("its hash is not the pinned one"), "fetch@1")
    False
    """
    if isinstance(error, WorkerKilled):
        return True
    is_fetching = kind == "fetch@1" and isinstance(error, PackageError)
    return is_fetching and bool(_NOBODY_ANSWERED.search(str(error)))


def wait_s(num_tries: int, first_s: float) -> float:
    """How long to wait after so many tries: twice as long each time.

    >>> [wait_s(n, 1.0) for n in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 300.0]
    """
    return float(min(first_s * 2 ** (num_tries - 1), LONGEST_WAIT_S))
