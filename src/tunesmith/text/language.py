"""Which language a text is in: py3langid's naive Bayes on bytes (Lui and Baldwin 2012)."""

from __future__ import annotations

import functools
from typing import Any

UNTOLD = "und"
"""The code for a text of which it cannot be told (ISO 639-2)."""
LEAST_CONFIDENCE = 0.3
"""Below this it cannot be told. Sentences have 0.9 and more, three words half of that; what says
nothing (a number, one short word) has less than a tenth."""
MAX_CHARS = 2000
"""More of a text would not change what is said of it."""


def language(text: str) -> tuple[str, float]:
    """The language's code (ISO 639-1; "zxx" for what is no language), and the confidence in [0, 1].

    `UNTOLD` where the confidence is below `LEAST_CONFIDENCE`.
    """
    code, confidence = _identifier().classify(text[:MAX_CHARS])
    return str(code), float(confidence)


def known_languages() -> frozenset[str]:
    """Every code that `language` can return."""
    return frozenset(_identifier().labels) | {UNTOLD}


@functools.cache
def _identifier() -> Any:
    """py3langid's model, out of its wheel; half a second, once a process."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(
        MODEL_FILE, norm_probs=True, min_confidence=LEAST_CONFIDENCE
    )
