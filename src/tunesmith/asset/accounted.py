"""No row is lost on the way: what came in is what came out, on one side or another."""

from __future__ import annotations

from tunesmith.core.errors import StepStoreError


def require_accounted(num_in: int, *sides: int) -> None:
    """As many rows came in as are on all sides together. Not an `assert`: Python can be told to
    pass over those.

    Raises:
        StepStoreError: rows are missing, or are there twice.
    """
    if num_in != sum(sides):
        counted = " + ".join(map(str, sides))
        raise StepStoreError(
            f"{num_in} rows came in and {counted} = {sum(sides)} are accounted for",
            remedy="nothing was stored; this is a defect of Tunesmith: please report it",
        )
