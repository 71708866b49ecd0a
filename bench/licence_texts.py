"""Make the sketches of the standard texts of licences anew (src/tunesmith/text/licence_texts.json).

    npm pack spdx-license-list@6.12.0 && tar xzf spdx-license-list-6.12.0.tgz
    python bench/licence_texts.py package/spdx-full.json

The texts are SPDX's (the package is CC0-1.0); what is kept of each are 128 hashes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tunesmith.text
from tunesmith.text.licence_texts import ALIKE, NUM_HASHES, hashes_of
from tunesmith.text.licences import LICENCES

TARGET = Path(tunesmith.text.__file__).with_name("licence_texts.json")


def main(path: str) -> None:
    """Write the sketches of the texts in SPDX's list at `path`."""
    texts = json.loads(Path(path).read_text(encoding="utf-8"))
    found = []
    for name in sorted(LICENCES):
        both = [f"{name}-only", f"{name}-or-later"]
        expression = name if name in texts else " OR ".join(each for each in both if each in texts)
        source = texts.get(name) or texts.get(both[0])
        if source is None:
            print(f"no text: {name}")
            continue
        if f"{name}-only" in texts:
            expression = " OR ".join(both)
        found.append((expression, hashes_of(source["licenseText"])))
    kinds: list[int] = []
    for at, (_, runs) in enumerate(found):
        alike = (
            kinds[other]
            for other in range(at)
            if len(runs & found[other][1]) >= ALIKE * len(runs | found[other][1])
        )
        kinds.append(next(alike, at))
    lines = [
        json.dumps(
            [name, len(runs), kind, "".join(f"{each:08x}" for each in sorted(runs)[:NUM_HASHES])]
        )
        for (name, runs), kind in zip(found, kinds, strict=True)
    ]
    TARGET.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(lines)} texts, {TARGET.stat().st_size} bytes: {TARGET}")


if __name__ == "__main__":
    main(sys.argv[1])
