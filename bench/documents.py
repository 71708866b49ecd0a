"""Do PDF, HTML, EPUB and text of one document say the same?

    apt-get download debian-policy && dpkg-deb -x debian-policy_*.deb policy
    python bench/documents.py policy/usr/share/doc/debian-policy

reads policy.pdf(.gz), policy.html/, policy.epub and policy.txt(.gz) of the folder and prints, for
each format, the share of its sentences and passages that stand in the text version, word for word,
and of the text version's sentences that stand in it.

Compared are words: letters and digits, in lower case. So white space, quotation marks, bullets and
the text version's own marks (`*`, `**`, underlines) do not count; nor do the numbers of footnotes,
of sections and items at the start of a sentence, and the addresses behind links, which each format
writes in its own way. Sentences of fewer than five words do not count either. In a passage (up to
1,000 characters) one footnote that is at the foot of a page here and at the end of a chapter there
makes a difference, so that its share is lower.
"""

from __future__ import annotations

import argparse
import gzip
import io
import re
import time
import unicodedata
from pathlib import Path

from tunesmith.stages.ingest.config import SourceConfig
from tunesmith.stages.ingest.container import File
from tunesmith.stages.ingest.entry import Entry
from tunesmith.stages.ingest.formats import read_file
from tunesmith.text import chunk
from tunesmith.text.normalise import normalise

FORMATS = {".txt": "text", ".pdf": "pdf", ".epub": "epub", ".html": "html"}
MIN_WORDS = 5
_LINK = re.compile(r"[\[(<]https?://[^\])>]*[\])>]")
_NOTE = re.compile(r"\[\d+\]|(?<=[^\W\d_][.,;:)])\d{1,2}(?!\w)")
_WORD = re.compile(r"[^\W_]+")
_MARK = re.compile("[\"*'’`“”]")
_ITEM = re.compile(
    r"\s*(?:[-•*]\s+)?(?:(?:\(?(?:\d{1,2}|[a-z]|[ivx]{1,4})[.)]|\d{1,2}(?:\.\d{1,2})*\.?)\s+)?"
)


def words(text: str) -> str:
    """What is compared, with a space at both ends."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _MARK.sub("", _NOTE.sub(" ", _LINK.sub(" ", text)))
    return f" {' '.join(_WORD.findall(text))} "


def texts(path: Path, format: str) -> list[str]:
    """The texts of a file, or of the files of a folder that are not about the others."""
    files = [path]
    if path.is_dir():
        others = ("search", "genindex", "index")
        files = sorted(file for file in path.glob("*.html") if file.stem not in others)
    source = SourceConfig(origin="file:x", format=format)
    found = []
    for file in files:
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix == ".gz" else data
        for entry in read_file(source, File(name=file.name, stream=io.BytesIO(data))):
            assert isinstance(entry, Entry), entry
            found.append(normalise(entry.text or ""))
    return found


def share(found: list[str], other: str) -> tuple[int, int, list[str]]:
    """(how many of the stretches are in the other version, of how many, those that are not)."""
    counted = [
        (text, said)
        for text in found
        if len((said := words(text[_ITEM.match(text).end() :])).split()) >= MIN_WORDS
    ]
    missing = [text for text, said in counted if said not in other]
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
        for path in (options.folder / f"{options.name}{suffix}{end}" for end in ("", ".gz")):
            if path.exists() and format not in versions:
                start = time.perf_counter()
                versions[format] = texts(path, format)
                seconds = time.perf_counter() - start
                size = sum(map(len, versions[format]))
                print(
                    f"{format:5} {len(versions[format]):3} files, {size:7} characters,"
                    f" {seconds:.1f} s"
                )
    everything = {format: words("\n".join(found)) for format, found in versions.items()}
    print("\nformat  sentences in text  text's in it  passages in text")
    for format, found in versions.items():
        if format == "text":
            continue
        sentences = [span.text for text in found for span in chunk.sentences(text)]
        passages = [span.text for text in found for span in chunk.passages(text)]
        back = [span.text for text in versions["text"] for span in chunk.sentences(text)]
        there, total, missing = share(sentences, everything["text"])
        here, total_back, missing_back = share(back, everything[format])
        whole, total_passages, _ = share(passages, everything["text"])
        print(
            f"{format:6} {there:5}/{total:5} {there / total:6.1%} {here / total_back:13.1%}"
            f" {whole / total_passages:15.1%}"
        )
        for text in missing[: options.missing]:
            print(f"    not in text: {text[:200]!r}")
        for text in missing_back[: options.missing]:
            print(f"    not in {format}: {text[:200]!r}")


if __name__ == "__main__":
    main()
