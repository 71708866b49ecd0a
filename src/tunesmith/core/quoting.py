"""Names and texts as they stand in SQL, whatever they hold."""

from __future__ import annotations


def sql_name(name: str) -> str:
    """A name of a table or column.

    >>> sql_name('the "best" one')
    '"the ""best"" one"'
    """
    return '"' + name.replace('"', '""') + '"'


def sql_text(value: str) -> str:
    """A text.

    >>> sql_text("O'Brien")
    "'O''Brien'"
    """
    return "'" + value.replace("'", "''") + "'"
