"""Which licences a text is or names, and what says that it is somebody else's."""

from __future__ import annotations

import hashlib

import pytest

from tunesmith.text.licence_texts import (
    NUM_HASHES,
    _sketches,
    hashes_of,
    licences_in,
    name_of,
    sentences,
    standard_texts,
)
from tunesmith.text.licences import LICENCES, licence_of
from tunesmith.text.others import RESERVED, signs_of_others

MIT = """The MIT License (MIT)

Copyright (c) 2026 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
BSD_2 = """Copyright (c) 2026, The Team. All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted
provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions
and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions
and the following disclaimer in the documentation and/or other materials provided with the
distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR
IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND
FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE TEAM OR CONTRIBUTORS BE
LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES
(INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR
PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN
CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF
THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""
THIRD_CLAUSE = """3. Neither the name of the copyright holder nor the names of its contributors may
be used to endorse or promote products derived from this software without specific prior written
permission.

"""


def test_a_standard_text_is_known_whoever_holds_it() -> None:
    assert standard_texts(MIT) == ["MIT"]
    assert standard_texts(MIT.replace("Software", "Data").replace("Somebody", "A & B")) == []
    assert standard_texts(BSD_2) == ["BSD-2-Clause"]
    with_third = BSD_2.replace("THIS SOFTWARE IS", THIRD_CLAUSE + "THIS SOFTWARE IS", 1)
    assert standard_texts(with_third) == ["BSD-3-Clause"]
    assert standard_texts(MIT + BSD_2) == ["BSD-2-Clause", "MIT"]
    assert standard_texts(MIT[: len(MIT) // 2]) == []
    assert standard_texts("") == []


def test_hashes_are_those_of_runs_of_five_words() -> None:
    runs = ("a b c d e", "b c d e f")
    expected = {int(hashlib.blake2b(run.encode(), digest_size=4).hexdigest(), 16) for run in runs}
    assert hashes_of("A, b; c -- d E f!") == expected
    assert hashes_of("a b c d") == frozenset()


def test_every_sketch_is_of_a_licence_in_the_table() -> None:
    sketches = _sketches()
    assert len(sketches) == len({sketch.name for sketch in sketches}) >= 60
    for sketch in sketches:
        assert licence_of(sketch.name).family != "unknown", sketch.name
        assert len(sketch.hashes) == min(NUM_HASHES, sketch.num_runs)
    named = {name for sketch in sketches for name in sketch.name.split(" OR ")}
    without = {name for name in LICENCES if not any(each.startswith(name) for each in named)}
    assert not without


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# SPDX-License-Identifier: MIT OR Apache-2.0\n", [(1, "MIT OR Apache-2.0")]),
        ("It is\nfree.\n\nThe code is licensed under the Apache License, Version 2.0.",
         [(4, "Apache-2.0")]),
        ("Data are released under CC BY-SA 4.0.", [(1, "CC-BY-SA-4.0")]),
        ("Distributed under the Creative Commons Attribution-NonCommercial 4.0 licence.",
         [(1, "CC-BY-NC-4.0")]),
        ("See http://creativecommons.org/licenses/by-nd/3.0/ for more.", [(1, "CC-BY-ND-3.0")]),
        ("https://creativecommons.org/publicdomain/zero/1.0/", [(1, "CC0-1.0")]),
        ("License: BSD 3-Clause", [(1, "BSD-3-Clause")]),
        ("This is licensed under [the MIT License](LICENSE).", [(1, "MIT")]),
        ("This is not licensed under the MIT License.", []),
        ("We wrote to MIT about it.", []),
        ("He was licensed as a pilot under the old rules.", []),
    ],
)  # fmt: skip
def test_names_are_seen_where_they_say_what_the_licence_is(
    text: str, found: list[tuple[int, str]]
) -> None:
    assert list(licences_in(text)) == found


def test_what_a_licence_says_of_others_does_not_count() -> None:
    text = MIT + "\nParts were released under the GPL version 2.\n"
    assert list(licences_in(text, is_licence=True)) == [(1, "MIT")]
    assert [each for _, each in licences_in(text)] == ["MIT", "GPL-2.0-or-later"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("GNU General Public License v3 (GPLv3)", "GPL-3.0-or-later"),
        ("GNU Lesser General Public License v2.1", "LGPL-2.1-or-later"),
        ("GNU Affero General Public License v3", "AGPL-3.0-or-later"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
        ("Apache Software License", "Apache-2.0"),
        ("BSD License", "BSD-2-Clause OR BSD-3-Clause"),
        ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
        ("MIT-0", "MIT-0"),
        ("Other/Proprietary License", ""),
    ],
)
def test_people_write_names_in_many_ways(words: str, name: str) -> None:
    assert name_of(words) == name


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("- lyrics of songs from the charts", "song lyrics"),
        ("Transcripts of a well-known TV show.",
         "transcripts or subtitles of films or shows"),
        ("All of it was scraped last summer.", "texts that were taken from web sites"),
        ("We found these somewhere on the internet.", "texts that were taken from web sites"),
        ("Trademarks belong to their respective owners.", "content of its respective owners"),
        ("Printed by permission of the publisher.", "the permission of another rights holder"),
        ("We think that this is fair use.", "fair use"),
        ("For research and educational use only.", "one use alone"),
        ("Please don't use it commercially.", "no commercial use"),
        ("Copyright 2020 A. All rights reserved.", RESERVED),
    ],
)  # fmt: skip
def test_signs_that_content_is_somebody_elses(text: str, what: str) -> None:
    assert list(signs_of_others(f"Some words.\n\n{text}\n")) == [(3, what)]


@pytest.mark.parametrize(
    "text",
    [
        "Transcripts of our own calls.",
        "A tool that scrapes nothing and runs scripts in series.",
        "Free for commercial use.",
        "Permission is hereby granted, free of charge, to any person.",
        "Used in research and in schools.",
    ],
)
def test_other_words_are_no_signs(text: str) -> None:
    assert list(signs_of_others(text)) == []


def test_sentences_know_their_lines() -> None:
    text = "# Title\n\nOne that goes\non. Two\n\n- item one\n- item\n  two\nA. B!\n"
    assert list(sentences(text)) == [
        (1, "# Title"), (3, "One that goes on."), (4, "Two"), (6, "- item one"),
        (7, "- item two A."), (9, "B!"),
    ]  # fmt: skip
