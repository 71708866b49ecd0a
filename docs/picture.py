"""Render what a command really printed as a picture of a terminal.

tunesmith run | python docs/picture.py "tunesmith run" docs/demo.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100


def draw(title: str, text: str) -> str:
    """An SVG of a terminal that shows `text`."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {title}", style="bold green"))
    console.print(Text(text.strip("\n")), highlight=False)
    drawn = console.export_svg(title=title, unique_id="terminal")
    # The fonts would come from the network; any monospaced one will do.
    drawn = drawn.replace("<svg ", '<svg xml:space="preserve" ', 1)  # indentation is meant
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(sys.argv[1], sys.stdin.read()), encoding="utf-8")
