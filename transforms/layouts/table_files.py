"""Which file of a source a row of its table names: by its path, or by its name in folders of which the manifest knows the form."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from mdfp.errors import UsageError
from schemas.table_layout import columns_of, fill
from transforms.store import ListedObject

_DEEP, _STAR = "\0", "\1"
"""Stand for `**` and `*` of a template while a row's cells are put in: cells are text, never wildcards."""


class Files:
    """The files of a source, by path and by name.

    Args:
        listing: all objects.
    """

    def __init__(self, listing: Sequence[ListedObject]):
        self._by_path = {o.path: o for o in listing}
        self._by_name: dict[str, list[ListedObject]] = {}
        for o in listing:
            self._by_name.setdefault(o.path.rsplit("/", 1)[-1], []).append(o)

    def find(self, template: str, row: Mapping[str, str]) -> ListedObject | None:
        """The file that a row names; None where there is none.

        Raises:
            UsageError: a template with wildcards finds several.
        """
        if "*" not in template:
            return self._by_path.get(path_of(template, row))
        guarded = template.replace("**", _DEEP).replace("*", _STAR)
        wanted = _normal(fill(guarded, dict(row)))
        form = _form(wanted)
        found = [o for o in self._by_name.get(wanted.rsplit("/", 1)[-1], ()) if form.fullmatch(o.path)]
        if len(found) > 1:
            raise UsageError(
                f"layout: the template {template!r} finds {len(found)} files for one row; name more of their folders"
            )
        return found[0] if found else None


def path_of(template: str, row: Mapping[str, str]) -> str:
    """A template with a row's cells, as a path below the root; wildcards stay as they are."""
    return _normal(fill(template, dict(row)))


def named(template: str, row: Mapping[str, str]) -> bool:
    """Whether every column of a template has text in this row."""
    return all(row[c] for c in columns_of(template))


def _normal(text: str) -> str:
    return posixpath.normpath(text.replace("\\", "/")).removeprefix("./").lstrip("/")


def _form(wanted: str) -> re.Pattern[str]:
    parts = re.split(f"({_DEEP}/|{_DEEP}|{_STAR})", wanted)
    known = {f"{_DEEP}/": "(?:.*/)?", _DEEP: ".*", _STAR: "[^/]*"}
    return re.compile("".join(known.get(p, re.escape(p)) for p in parts))
