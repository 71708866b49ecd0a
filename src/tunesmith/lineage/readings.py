"""How a piece of text may be read: as it stands, as JSON or YAML escapes it, as XML or HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_STEP = 1 << 12
"""Where something is no text, no more than this is lost before it."""
_CONTROLS = bytes({*range(32), 127} - {*b"\t\n\v\f\r\x1b"})
"""What is in no text, by and large."""
_ESCAPED = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\x([0-9a-fA-F]{2})"
    r"|\\(\r?\n[ \t]*)|\\(.)"
)
"""A character that JSON or YAML writes by its number or its letter."""
_OF_A_CELL = re.compile(r"_x([0-9a-fA-F]{4})_")
"""The same of a workbook."""
_LETTERS = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "e": "\x1b", "N": "\x85",
    "_": "\xa0", "L": "\u2028", "P": "\u2029", "a": "\a", "v": "\v",
}  # fmt: skip
_ODD = re.compile(rb'\\(?:u[0-9a-fA-F]{4}|[^"\\nrtbfu])')
"""What may be written in another way than those that are looked for."""
_ENTITY = re.compile(rb"&(?:#[0-9xX]|[A-Za-z][A-Za-z0-9]{1,30};)")
_BLANKS = tuple(each.encode() for each in "\x85\xa0\u2028\u2029\u202f\u3000")
_UNSEEN = tuple(each.encode() for each in "\xad\u200b\u200c\u200d\u2060\ufeff")
"""What nobody sees within a word: where it may be hyphenated, for one."""
_LETTERS_OF = {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl"}
_LIGATURES = tuple((each.encode(), letters.encode()) for each, letters in _LETTERS_OF.items())
_TAG = re.compile(r"<[^<>]*>")
_BLOCK = re.compile(
    r"</?(?:\w+:)?(?:p|h\d?|div|li|td|th|tr|dt|dd|br|cr|tab|s|line-break|sp|t[cr]|si|row|c|title|"
    r"section|article|blockquote|pre|option|body|head)(?:[\s/][^<>]*)?>",
    re.IGNORECASE,
)
"""What ends a text. Other tags, as of a run of characters, stand within one."""
_SET_OUT = re.compile(r">[^\S\n]*+\n\s*+<")
"""Lines that were broken between tags, so that people can read them."""


def readings(data: bytes) -> Iterator[bytes]:
    """What a piece of text says to those who read it as it stands, as JSON or YAML, as JSON within
    JSON, or as XML: each `squashed`. Of what is no text, nothing.

    JSON with none but the short escapes is not decoded: it is looked for as it is escaped.
    """
    if b"\0" in data:
        data = _text_in(data)
    yield squashed(data)
    texts = [data.decode("utf-8", "replace")]
    if "\ufffd" in texts[0]:  # perhaps it is no UTF-8
        texts.append(data.decode("cp1252", "replace"))
        yield squashed(texts[1].encode())
    for text in texts:
        told = text
        for _ in range(2 if _ODD.search(data) else 0):
            told = _ESCAPED.sub(_character, told)
            yield _squashed(told)
        if "</" in text or _ENTITY.search(data):
            for plain in _without_tags(text):
                said = html.unescape(plain)
                yield _squashed(_OF_A_CELL.sub(lambda match: chr(int(match[1], 16)), said))


def _without_tags(text: str) -> Iterator[str]:
    """A text of XML or HTML with its tags, for what stands in them; and without: as runs of one
    text, as texts beside each other, and as runs within texts."""
    yield text
    for between in ("", " "):
        yield _TAG.sub(between, text)
    for one in dict.fromkeys((text, _SET_OUT.sub("><", text))):
        yield _TAG.sub("", _BLOCK.sub(" ", one))


def _text_in(data: bytes) -> bytes:
    """What is text in some bytes that have NULs, with a blank for each of them."""
    blocks = (data[at : at + _STEP] for at in range(0, len(data), _STEP))
    return b"".join(b" " if _is_binary(block) else block.replace(b"\0", b" ") for block in blocks)


def _is_binary(block: bytes) -> bool:
    """Whether one in 32 bytes that are no NULs is a control character; of weights of a model in
    bfloat16 it is one in 19."""
    num_others = len(block) - block.count(0)
    return 32 * (num_others - len(block.translate(None, _CONTROLS))) > num_others


def squashed(text: bytes) -> bytes:
    """A text in UTF-8 with one space wherever it has white space, and nothing that is not seen."""
    for blank in _BLANKS:
        text = text.replace(blank, b" ")
    for unseen in _UNSEEN:
        text = text.replace(unseen, b"")
    for ligature, letters in _LIGATURES:
        text = text.replace(ligature, letters)
    return b" ".join(text.split())


def _squashed(text: str) -> bytes:
    return squashed(text.encode("utf-8", "replace"))


def _character(match: re.Match[str]) -> str:
    high, low, *numbers, folded, letter = match.groups()
    if high:
        return chr(0x10000 + (int(high, 16) - 0xD800 << 10) + int(low, 16) - 0xDC00)
    if number := next((each for each in numbers if each), None):
        code = int(number, 16)
        return chr(code) if code < 0x110000 else match[0]
    if folded:
        return ""
    return _LETTERS.get(letter, letter)
