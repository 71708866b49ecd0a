"""Days and moments, as people write them and as the evidence does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def moment(text: str, option: str) -> str:
    """A day (its beginning, in UTC) or a moment as the evidence writes times; empty stays empty.

    Raises:
        UsageError: it is neither.
    """
    return _written(_read(text, option)) if text else ""


def day_or_moment(text: str, option: str) -> tuple[str, str]:
    """From when until before when that is; the same twice for a moment.

    Raises:
        UsageError: it is neither.
    """
    start = _read(text, option)
    is_day = len(text) <= len("2026-11-26")
    return _written(start), _written(start + timedelta(days=1) if is_day else start)


def _read(text: str, option: str) -> datetime:
    from tunesmith.core.errors import UsageError

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is no day and no moment",
            remedy="write it as 2026-11-26 or 2026-11-26T18:00:00+01:00",
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _written(time: datetime) -> str:
    from tunesmith.core.db import text_of

    return text_of(time)
