"""What was taken into the store from where it can be gone on with."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.core.ref import Blob
from tunesmith.records.data import Package


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed(Package):
    """Objects of a bucket, or rows of a program, with what the next reading of them goes on from.

    It commits with the rows that it belongs to, in one transaction, or not at all.
    """

    memory: Blob
    """JSON. Of objects: by name, what the server said of each, its SHA-256, and how many of its
    records were erased. Of rows: the state that the program gave last, and their versions."""
