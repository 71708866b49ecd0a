"""Regular expressions that Python's `re` and DuckDB's RE2 understand alike."""

from __future__ import annotations

import re

from tunesmith.core.errors import UsageError

_SPACE = r"\t-\r\x1c-\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
SPACES = f"[{_SPACE}]*"
"""What Python's `\\s*` matches."""
_CLASSES = {"d": r"\p{Nd}", "s": _SPACE}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_TOKEN = re.compile(
    r"""(?P<quantifier>[*+?]\??|\{[0-9]+(?:,[0-9]*)?\}\??)
      | (?P<group>\(\?:|\(|\)|\|)
      | (?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])
      | (?P<escape>\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.))
      | (?P<dot>\.)
      | (?P<anchor>[\^$])
      | (?P<literal>[^\\*+?{}()|\[\]^$.])""",
    re.VERBOSE | re.DOTALL,
)
_ITEM = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|[^\\]", re.DOTALL)


def for_duckdb(pattern: str) -> str:
    """The expression of RE2 that matches the whole of just those strings that `pattern` does in
    Python.

    Raises:
        UsageError: it has something that only one of the two knows: what looks ahead or back, `\\w`
            and `\\b`, which differ beyond ASCII, flags, references.
    """
    parts: list[str] = []
    at, after = 0, None
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        if token is None or (token.group().startswith("(?") and token.group() != "(?:"):
            raise _no_sql(pattern, pattern[at : at + 10])
        if token.group() == "(" and pattern[at + 1 : at + 2] == "?":
            raise _no_sql(pattern, pattern[at : at + 4])
        if token.lastgroup == "quantifier" and after == "quantifier":
            raise _no_sql(pattern, pattern[at - 1 : token.end()])
        parts.append(_said(pattern, token))
        at, after = token.end(), token.lastgroup
    return "".join(parts)


def _said(pattern: str, token: re.Match[str]) -> str:
    text = token.group()
    match token.lastgroup:
        case "quantifier" | "group":
            if any(int(number) > 1000 for number in re.findall("[0-9]+", text)):
                raise _no_sql(pattern, text)
            return text
        case "dot":
            return "[^\\n]"
        case "anchor":  # the whole is matched: an anchor at its end says nothing, others much
            if (text == "^" and token.start() == 0) or (
                text == "$" and token.end() == len(pattern)
            ):
                return ""
            raise _no_sql(pattern, text)
        case "class":
            return _class(pattern, text)
        case "escape" if text[1] in "dDsS":
            inverted = "^" if text[1].isupper() else ""
            return f"[{inverted}{_CLASSES[text[1].lower()]}]"
    return _literal(_character(pattern, text))


def _class(pattern: str, text: str) -> str:
    inverted = text.startswith("[^")
    inside = text[2:-1] if inverted else text[1:-1]
    items = _ITEM.findall(inside)
    if not items or any(pair in inside for pair in ("--", "&&", "||", "~~")):
        raise _no_sql(pattern, text)
    parts = []
    while items:
        item = items.pop(0)
        if item[0] == "\\" and item[1] in "ds":
            parts.append(_CLASSES[item[1]])
        elif len(items) >= 2 and items[0] == "-":
            parts.append(f"{_literal(_character(pattern, item))}-")
            items.pop(0)
            parts.append(_literal(_character(pattern, items.pop(0))))
        else:
            parts.append(_literal(_character(pattern, item)))
    return f"[{'^' if inverted else ''}{''.join(parts)}]"


def _character(pattern: str, item: str) -> str:
    """The character that a piece of an expression stands for."""
    if item[0] != "\\":
        return item
    if len(item) > 2:
        return chr(int(item[2:], 16))
    if item[1] in _CONTROLS:
        return _CONTROLS[item[1]]
    if item[1].isalnum() or item[1] == "_":
        raise _no_sql(pattern, item)
    return item[1]


def _literal(character: str) -> str:
    plain = character.isascii() and character.isalnum()
    return character if plain else f"\\x{{{ord(character):x}}}"


def _no_sql(pattern: str, what: str) -> UsageError:
    return UsageError(
        f"the pattern {pattern!r} has {what!r}, which SQL does not understand as Python does",
        remedy="say it with characters, classes such as [A-Z0-9], \\d and \\s, groups, | and "
        "repetitions",
    )
