"""Bytes of text in the encoding that they say they are in."""

from __future__ import annotations

import codecs
import re

from tunesmith.stages.ingest.entry import Unreadable

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_KNOWN = re.compile(
    r"utf-?8|utf-?16(-?[lb]e)?|us-ascii|ascii|latin-?1|iso-?8859-?\d{1,2}|(windows|cp)-?125\d|"
    r"koi8-[ru]|macintosh|mac-?roman|shift[-_]jis|s-?jis|euc-(jp|kr)|iso-2022-jp|gb2312|gbk|gb18030|"
    r"big5(-hkscs)?|tis-620"
)
"""Of text. Python has other codecs by name, which are no encodings of text."""
_SAME = {"iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "us-ascii": "cp1252",
         "ascii": "cp1252", "macintosh": "mac-roman"}  # fmt: skip
"""What browsers take these for (WHATWG, Encoding Standard, 4.2)."""


def decoded(data: bytes, declared: str = "") -> str:
    """The text in `data`: by its mark, else as `declared`, else UTF-8.

    Raises:
        Unreadable: the encoding is unknown, or the bytes are not in it.
    """
    name = declared.strip().strip("\"'").lower() or "utf-8"
    for mark, marked in _MARKS:
        if data.startswith(mark):
            data, name = data[len(mark) :], marked
    if not _KNOWN.fullmatch(name):
        raise Unreadable("not-text", f"its encoding {name[:40]!r} is not known", repr(data[:80]))
    try:
        text = data.decode(_SAME.get(name, name))
    except LookupError:
        raise Unreadable("not-text", f"its encoding {name!r} is not known", "") from None
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        near = repr(data[max(0, start - 20) : start + 20])
        raise Unreadable("not-text", f"not {name} at byte {start}", near) from None
    if "\0" in text:
        raise Unreadable("not-text", "has a NUL character", repr(text[:40]))
    return text
