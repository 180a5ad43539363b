"""Which file of a source a row of its table names: by its path, or by its name in folders of which the manifest knows the form."""

from __future__ import annotations

import posixpath
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
        folders = wanted.split("/")
        found = [o for o in self._by_name.get(folders[-1], ()) if _fits(o.path.split("/"), folders)]
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


def _fits(path: Sequence[str], form: Sequence[str]) -> bool:
    """Whether a path has a form, both in segments. No expression is compiled: there is a form for each row."""
    if not form:
        return not path
    if form[0] == _DEEP:
        return any(_fits(path[n:], form[1:]) for n in range(len(path) + 1))
    if not path or not _segment_fits(path[0], form[0]):
        return False
    return _fits(path[1:], form[1:])


def _segment_fits(text: str, form: str) -> bool:
    """Whether a segment has a form, in which `_STAR` stands for any text."""
    first, *rest = form.replace(_DEEP, _STAR).split(_STAR)
    if not rest:
        return text == first
    if not text.startswith(first):
        return False
    *middle, last = rest
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - len(last) >= at and text.endswith(last)
