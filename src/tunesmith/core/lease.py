"""Whether a lease is over: of an attempt at a step, or of a slot of a schedule."""

from __future__ import annotations

from datetime import timedelta

from tunesmith.core.db import moment
from tunesmith.core.owner import is_here

PATIENCE = timedelta(minutes=10)
"""How much longer the lease of a process holds that lives on this machine."""


def is_lapsed(owner: str, lease_until: str, now: str) -> bool:
    """Whether a lease is over.

    A process that is seen to live may not have been able to say so: while another holds the write
    lock, nobody can. For one that is stuck for longer, or was when the clock was put forward, the
    lease ends all the same.
    """
    if lease_until >= now:
        return False
    return not is_here(owner) or moment(lease_until) + PATIENCE < moment(now)
