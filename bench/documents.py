"""Do PDF, HTML, EPUB and text of one document say the same?

    apt-get download debian-policy && dpkg-deb -x debian-policy_*.deb policy
    python bench/documents.py policy/usr/share/doc/debian-policy
    apt-get download developers-reference && dpkg-deb -x developers-reference_*.deb reference
    python bench/documents.py reference/usr/share/developers-reference --name developers-reference

reads policy.pdf(.gz), policy.epub, policy.txt(.gz) and policy.html/ of the folder, or its own HTML
where it has an index.html, and prints

- for each format, the share of its sentences that stand in the text version, word for word, and of
  the text version's sentences that stand in it;
- for each pair of formats, how many passages of the one are passages of the other ("same"), how
  many stand in it whatever its cuts ("in it"), and of the passages that stand in all formats,
  whatever their cuts, how many are passages of the other ("of those in all");
- for each pair, why the others differ: the passages that documents.toml names, which must differ as
  the formats say something else there, by its reasons; and those that it does not name, which are
  new, of which `--missing N` shows N. A new one, or a named one that no longer differs, ends the
  command with 1.

Compared are words: letters and digits, in lower case. So white space, quotation marks, bullets and
the text version's own marks (`*`, `**`, underlines) do not count; nor do the numbers of footnotes,
of sections and items at the start of a sentence ("CHAPTER TWO" is one), and the addresses behind
links, which each format writes in its own way. Sentences of fewer than five words do not count by
themselves, nor do passages.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
import re
import time
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunesmith.retrieve.store import Document, canonical
from tunesmith.stages.index.select import to_document
from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import File
from tunesmith.stages.ingest.entry import Entry
from tunesmith.stages.ingest.formats import read_file
from tunesmith.text import chunk, layout

FORMATS = {".txt": "text", ".pdf": "pdf", ".epub": "epub", ".html": "html"}
MIN_WORDS = 5
_LINK = re.compile(r"[\[(<](?:https?|ftp):\n?//[^\])>]*[\])>]")
_NOTE = re.compile(r"\[\d+\]|(?<=[^\W\d_][.,;:)])\d{1,2}(?!\w)")
_WORD = re.compile(r"[^\W_]+")
_MARK = re.compile("[\"*'’`“”]")
_ITEM = re.compile(
    r"\s*(?:[-•*]\s+)?(?:(?:\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})[.)]|\d{1,2}(?:\.\d{1,2})*\.?)(?:\s+|$))?"
)
_CHAPTER = re.compile(
    "(?:ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|EIGHT|NINE|TEN|ELEVEN|TWELVE|[A-Z]+TEEN|TWENTY[A-Z]*)"
)
_SEED = 8
"""Words by which a place is found again in another version."""
_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A passage as it is compared."""

    said: str
    lengths: dict[str, int]
    """Of each run of its first sentences, the words -> how many characters they have."""
    ends: str
    """Why it ends: "blank line" (it is half full), "length", or "file"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One format's version: all its words with a space at both ends, and its passages."""

    said: str
    passages: list[Passage]


def words(text: str) -> str:
    """What is compared, with a space at both ends."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _MARK.sub("", _NOTE.sub(" ", _LINK.sub(" ", text)))
    return f" {' '.join(_WORD.findall(text))} "


def texts(path: Path, format: str, name: str = "") -> list[Document]:
    """The text of a file, or those of the files of a folder that are not about the others, nor the
    whole of `name` on one page, as an index is given them."""
    files = [path]
    if path.is_dir():
        others = ("search", "genindex", name)
        files = sorted(file for file in path.glob("*.html") if file.stem not in others)
    source = SourceConfig(origin="file:x", format=format)
    found = []
    for file in files:
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix == ".gz" else data
        for entry in read_file(source, File(name=file.name, stream=io.BytesIO(data))):
            assert isinstance(entry, Entry), entry
            row = {
                "pointer": file.name,
                "label": "",
                "text": entry.text or "",
                "attributes": json.dumps(entry.fields),
            }
            found.append(canonical(to_document(row)))
    return found


def sentence_words(sentence: str) -> str:
    """What is compared of a sentence: its words without its number, a space between them."""
    if _CHAPTER.fullmatch(sentence):
        return ""
    return words(_ITEM.sub("", sentence, count=1)).strip()


def version(documents: list[Document]) -> Version:
    """The words and passages of the files of a version."""
    everything: list[str] = []
    passages: list[Passage] = []
    for document in documents:
        text = document.text
        sentences = [(span, sentence_words(span.text)) for span in layout.sentences(text)]
        everything += (said for _, said in sentences if said)
        spans = layout.passages(text, sections=document.sections)
        for span, after in zip(spans, [*spans[1:], None], strict=True):
            lengths: dict[str, int] = {}
            said = ""
            for sentence, its in sentences:
                if span.start <= sentence.start and sentence.end <= span.end and its:
                    said = f"{said} {its}".strip()
                    lengths[said] = sentence.end - span.start
            half = 2 * (span.end - span.start) >= chunk.MAX_CHARS
            blank = after is not None and text[span.end : after.start].count("\n") > 1
            ends = "file" if after is None else "blank line" if half and blank else "length"
            if len(said.split()) >= MIN_WORDS:
                passages.append(Passage(said=said, lengths=lengths, ends=ends))
    return Version(said=f" {' '.join(everything)} ", passages=passages)


def differences(one: Version, other: Version) -> Iterator[tuple[str, str, str]]:
    """(the passage, why, an example) for each passage of `one` that is none of `other`."""
    left = Counter(passage.said for passage in other.passages)
    begun = {_seed(passage.said): passage for passage in other.passages}
    for passage in one.passages:
        if left[passage.said]:
            left[passage.said] -= 1
        elif f" {passage.said} " not in other.said:
            yield passage.said, *_difference(passage.said, one, other)
        elif (twin := begun.get(_seed(passage.said))) is None:
            yield passage.said, "same words, begins elsewhere", passage.said[:80]
        else:
            why = f"same words, ends elsewhere: {_end(passage, twin)}"
            yield passage.said, why, passage.said[-80:]


def _seed(said: str) -> str:
    return " ".join(said.split()[:_SEED])


def _end(one: Passage, other: Passage) -> str:
    """Why one of two passages that begin alike ends before the other does."""
    first, second = sorted((one, other), key=lambda passage: len(passage.said))
    if first.ends == "file":
        return "a file ends there"
    if first.said not in second.lengths:
        return "another sentence"
    if first.ends == "length" or 2 * second.lengths[first.said] < chunk.MAX_CHARS:
        return "marks and quotes make it longer"
    return "blank line or not"


def _difference(said: str, one: Version, other: Version) -> tuple[str, str]:
    """What follows the longest start of a passage that the other version has, too."""
    here = said.split()
    low, high = 0, len(here)
    while low < high:
        middle = (low + high + 1) // 2
        if f" {' '.join(here[:middle])} " in other.said:
            low = middle
        else:
            high = middle - 1
    start = f" {' '.join(here[:low])} "
    at = other.said.find(start) + len(start) if low else 0
    there = other.said[at : at + 200].split()[:_SHOWN]
    rest = " ".join(here[max(0, low - 4) : low + _SHOWN])
    example = f"{rest} <> {' '.join(there)}"
    glued = "".join(here[low : low + 3]), "".join(there[:3])
    if low and glued[0][:8] == glued[1][:8]:
        return "a hyphen or a space", example
    here_there = f" {' '.join(here[low : low + 4])} " in other.said
    there_here = f" {' '.join(there[:4])} " in one.said
    if here_there and there_here:
        return "another order", example
    return ("left out here" if here_there else "not in the other"), example


def share(found: list[str], other: str) -> tuple[int, int, list[str]]:
    """(how many of the stretches are in the other version, of how many, those that are not)."""
    counted = [
        (text, said) for text in found if len((said := sentence_words(text)).split()) >= MIN_WORDS
    ]
    missing = [text for text, said in counted if f" {said} " not in other]
    return len(counted) - len(missing), len(counted), missing


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the versions of the document are")
    parser.add_argument("--name", default="policy", help="what its files are called")
    parser.add_argument("--missing", type=int, default=0, help="how many missing ones to show")
    options = parser.parse_args()
    versions = {}
    for suffix, format in FORMATS.items():
        places = [options.folder / f"{options.name}{suffix}{end}" for end in ("", ".gz")]
        if format == "html" and (options.folder / "index.html").exists():
            places = [options.folder]
        for path in places:
            if path.exists() and format not in versions:
                start = time.perf_counter()
                versions[format] = texts(path, format, options.name)
                seconds = time.perf_counter() - start
                size = sum(len(found.text) for found in versions[format])
                print(
                    f"{format:5} {len(versions[format]):3} files, {size:7} characters,"
                    f" {seconds:.1f} s"
                )
    whole = {format: version(found) for format, found in versions.items()}
    print("\nformat  sentences in text  text's in it")
    for format, found in versions.items():
        if format == "text":
            continue
        sentences = [span.text for of in found for span in layout.sentences(of.text)]
        back = [span.text for of in versions["text"] for span in layout.sentences(of.text)]
        there, total, missing = share(sentences, whole["text"].said)
        here, total_back, missing_back = share(back, whole[format].said)
        print(f"{format:6} {there:5}/{total:5} {there / total:6.1%} {here / total_back:13.1%}")
        for text in missing[: options.missing]:
            print(f"    not in text: {text[:200]!r}")
        for text in missing_back[: options.missing]:
            print(f"    not in {format}: {text[:200]!r}")
    print("\npassages of, in      all   same         in it        of those in all")
    known = expected(options.name)
    seen: Counter[tuple[str, str, str]] = Counter()
    num_new = 0
    for one, other in itertools.permutations(whole, 2):
        passages = whole[one].passages
        others = list(differences(whole[one], whole[other]))
        same = len(passages) - len(others)
        within = same + sum(why.startswith("same words") for _, why, _ in others)
        said = Counter(passage.said for passage in whole[other].passages)
        common = [
            passage.said
            for passage in passages
            if all(f" {passage.said} " in version.said for version in whole.values())
        ]
        alike = sum((Counter(common) & said).values())
        print(
            f"{one:5} {other:5} {len(passages):11} {same:6} {same / len(passages):6.1%}"
            f" {within:5} {within / len(passages):6.1%}"
            f" {alike:6}/{len(common):4} {alike / max(1, len(common)):6.1%}"
        )
        reasons: Counter[str] = Counter()
        new = []
        for found, why, example in others:
            starts = known.get((one, other), {})
            start = next((start for start in starts if found.startswith(start)), None)
            if start is None:
                new.append((why, example))
            else:
                reasons[starts[start]] += 1
                seen[one, other, start] += 1
        for reason, count in reasons.most_common():
            print(f"    {count:4} as expected: {reason}")
        for why, count in Counter(why for why, _ in new).most_common():
            print(f"    {count:4} new: {why}")
            for example in [example for reason, example in new if reason == why][: options.missing]:
                print(f"             {example}")
        num_new += len(new)
    gone = [
        f"{one} {other} {start}"
        for (one, other), starts in known.items()
        for start in starts
        if not seen[one, other, start]
    ]
    for each in gone:
        print(f"no longer differs: {each}")
    print(f"\n{sum(seen.values())} as expected, {num_new} new, {len(gone)} gone")
    raise SystemExit(1 if num_new or gone else 0)


def expected(name: str) -> dict[tuple[str, str], dict[str, str]]:
    """Of each pair of formats, the starts of passages that must differ, and why."""
    named = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    found: dict[tuple[str, str], dict[str, str]] = {}
    for each in named.get(name, []):
        for one, other in itertools.product(each["of"], each["not_in"]):
            if one != other:
                found.setdefault((one, other), {}).update(dict.fromkeys(each["begin"], each["why"]))
    return found


if __name__ == "__main__":
    main()
