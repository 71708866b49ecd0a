"""Every bar of the data side in one run, one part after the other.

    python bench/data.py [--quick] [--policy FOLDER]

ingest: loading tables beside dlt. dedup: near duplicates, leaks, true size. pii: recall and speed
of tier 0. versions: diff of a million rows, size of lineage, plan of an erasure. `--quick` runs one
round without dlt. `--policy` adds documents: one document in four formats (`bench/documents.py`
says where it is from). A part that fails does not keep the others from running.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run the parts; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--policy", type=Path, help="the folder of debian-policy's documents")
    given = parser.parse_args()
    parts = [
        ["ingest.py", *(["--rounds", "1", "--sides", "ours"] if given.quick else [])],
        ["dedup.py"],
        ["pii.py"],
        ["versions.py"],
        *([["documents.py", str(given.policy)]] if given.policy else []),
    ]
    failed = []
    for name, *arguments in parts:
        print(f"\n== {name.removesuffix('.py')}", flush=True)
        command = [sys.executable, str(HERE / name), *arguments]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
