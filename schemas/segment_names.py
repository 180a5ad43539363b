"""Names that people gave to what they drew: `Liver`, `GTV_Mass_CT`, `Lt Kidney`; looked up in a manifest's table.

Upper and lower case are equal, and so are runs of spaces. A key of the table may hold `*` (any text) and `?` (one
character). A key without them wins over patterns; of several patterns that fit, the one with the most text wins, then
the one that stands first, names to ignore last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from schemas.ontology.structures import BACKGROUND

_WILD = re.compile(r"[*?]")


def look_up(name: str, structures: Mapping[str, str], ignored: Sequence[str] = ()) -> str | None:
    """The structure that a name means: an id, `background` for a name to look past, or None where the table is silent.

    Args:
        name: as it stands in the object.
        structures: names or patterns -> structure ids.
        ignored: names or patterns to look past.
    """
    plain = _plain(name)
    table = [*structures.items(), *((key, BACKGROUND) for key in ignored)]
    patterns = []
    for key, structure in table:
        if not _WILD.search(key):
            if _plain(key) == plain:
                return structure
        elif _matches(_plain(key), plain):
            patterns.append((len(_WILD.sub("", _plain(key))), structure))
    return max(patterns, key=lambda p: p[0])[1] if patterns else None


def check(structures: Mapping[str, str], ignored: Sequence[str] = ()) -> None:
    """Refuse a table in which one name has two meanings.

    Raises:
        ValueError: with the name.
    """
    meanings: dict[str, str] = {}
    for key, structure in [*structures.items(), *((key, "ignored") for key in ignored)]:
        before = meanings.setdefault(_plain(key), structure)
        if before != structure:
            raise ValueError(
                f"the name {key!r} is both {before} and {structure}: upper and lower case are equal in names"
            )


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _matches(pattern: str, text: str) -> bool:
    expression = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None
