"""Which module speaks to which store."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

import fsspec

from mdfp.errors import MissingExtraError, UsageError
from mdfp.urls import redacted
from schemas.place import Place
from transforms.stores.backend import Backend
from transforms.stores.remote import Remote

BACKENDS = {
    "s3": ("s3", "S3Backend", "build"),
    "s3a": ("s3", "S3Backend", "build"),
    "gs": ("gcs", "GcsBackend", "gcs"),
    "gcs": ("gcs", "GcsBackend", "gcs"),
    "az": ("azure", "AzureBackend", "azure"),
    "abfs": ("azure", "AzureBackend", "azure"),
    "abfss": ("azure", "AzureBackend", "azure"),
    "http": ("http", "HttpBackend", "build"),
    "https": ("http", "HttpBackend", "build"),
}
"""Protocol → (module of this package, class, extra that installs what it needs)."""


def open_remote(place: Place) -> Remote:
    """A remote store, ready for requests; none is made yet.

    Raises:
        UsageError: no store answers to the URL.
        MissingExtraError: its library is not installed.
    """
    return Remote(_backend(place), place.url, guarded=place.guarded)


def _backend(place: Place) -> Backend:
    if place.protocol not in BACKENDS:
        return _generic(place)
    module, name, extra = BACKENDS[place.protocol]
    try:
        backend = cast("Callable[[Place], Backend]", getattr(import_module(f"transforms.stores.{module}"), name))
    except ImportError as error:
        raise MissingExtraError(
            f"{place.url}: needs a library that is not installed: pip install 'mdfp[{extra}]'"
        ) from error
    return backend(place)


def _generic(place: Place) -> Backend:
    from transforms.stores.generic import GenericBackend

    if place.access.anonymous or place.access.requester_pays:
        raise UsageError(f"{redacted(place.url)}: access: is known for {', '.join(BACKENDS)}; leave it out")
    try:
        return GenericBackend(place)
    except ImportError as error:
        raise MissingExtraError(
            f"{place.url}: its file system needs a library that is not installed: {error}"
        ) from error
    except ValueError as error:
        known = ", ".join(sorted({*BACKENDS, *fsspec.registry}))
        raise UsageError(f"{place.url}: expected a folder or a URL; known are {known}") from error
