"""Layout kinds by name. Each is one function in one file; a kind has one owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from mdfp.errors import UsageError
from schemas.source import Source
from schemas.suggest import nearest
from transforms.layouts.case_files import Found
from transforms.store import ListedObject

Read = Callable[[str], bytes]
"""Gives the bytes of a small side file, such as dataset.json."""


class Layout(Protocol):
    """Turns a listing into cases by what paths and side files say. Pure: the same listing in any order, the same cases.

    Every object of the listing must come back in exactly one of the fields of `Found`, once.

    Raises:
        UsageError: the manifest does not fit the data set as a whole (no dataset.json, ambiguous patterns).
    """

    def __call__(self, source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
        """Group `listing`, from which skipped and side files were taken out."""


_LAYOUTS: dict[str, Layout] = {}

Function = TypeVar("Function", bound=Layout)


def register(kind: str) -> Callable[[Function], Function]:
    """Decorator: the function is the layout of this kind.

    Raises:
        ValueError: the kind has an owner already.
    """

    def add(layout: Function) -> Function:
        if kind in _LAYOUTS:
            raise ValueError(f"layout kind {kind!r} is already registered by {_where(_LAYOUTS[kind])}")
        _LAYOUTS[kind] = layout
        return layout

    return add


def kinds() -> tuple[str, ...]:
    """Kinds that can be read, sorted."""
    return tuple(sorted(_LAYOUTS))


def get(kind: str) -> Layout:
    """The layout of this kind.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if kind not in _LAYOUTS:
        raise UsageError(f"unknown layout kind {kind!r}{nearest(kind, kinds())} (valid: {', '.join(kinds())})")
    return _LAYOUTS[kind]


def _where(layout: Layout) -> str:
    return f"{getattr(layout, '__module__', '?')}.{getattr(layout, '__qualname__', '?')}"
