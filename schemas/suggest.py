"""The nearest valid name for a misspelt one: "did you mean …?"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


def nearest(word: str, known: Iterable[str] | Mapping[str, str]) -> str:
    """`; did you mean 'kidney_left'?`, or nothing when no known word is near.

    Args:
        word: what was written.
        known: valid words, or a map from words people write to the valid one.
    """
    names = dict(known) if isinstance(known, Mapping) else {k: k for k in known}
    close = difflib.get_close_matches(str(word).lower(), names, n=3, cutoff=0.6)
    found = list(dict.fromkeys(names[c] for c in close))
    return f"; did you mean {' or '.join(repr(f) for f in found)}?" if found else ""
