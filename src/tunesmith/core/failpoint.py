"""Named points at which a test can end the process, as a power cut would."""

from __future__ import annotations

import os
import signal

_hits: dict[str, int] = {}


def failpoint(name: str) -> None:
    """End this process by SIGKILL if `TUNESMITH_FAILPOINT` is `name`, or `name:k` at its k-th hit.

    Does nothing, at the cost of one dictionary look-up, when the variable is not set.
    """
    wanted = os.environ.get("TUNESMITH_FAILPOINT")
    if wanted is None:
        return
    wanted_name, _, count = wanted.partition(":")
    if wanted_name == name:
        _hits[name] = _hits.get(name, 0) + 1
        if _hits[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
