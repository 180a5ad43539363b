"""Where files lie, and how their bucket is entered. Credentials and endpoints come from the environment alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mdfp.errors import UsageError
from mdfp.urls import redacted

CONTAINER_AT_ACCOUNT = ("abfs", "abfss", "wasb", "wasbs")
"""Protocols that write `container@account.host` where others write a user: a name, not a secret."""


class Access(BaseModel):
    """How a bucket is entered, beyond what the environment says. It holds no secret and reaches no plan or manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    anonymous: bool = Field(
        False, description="a public bucket: requests are not signed, no credentials are looked for"
    )
    requester_pays: bool = Field(
        False, description="the bucket bills whoever reads it: you agree to pay for the traffic"
    )

    @model_validator(mode="after")
    def _one_who_pays(self) -> Access:
        if self.anonymous and self.requester_pays:
            raise ValueError("requester_pays needs somebody to bill, anonymous names nobody; give one of them")
        return self


class OutAccess(BaseModel):
    """How the bucket of a corpus is entered and relied on. It holds no secret and reaches no plan or manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requester_pays: bool = Field(
        False, description="the bucket bills whoever reads it: you agree to pay for the traffic"
    )
    preconditions: Literal["require", "do_without"] = Field(
        "require",
        description="whether the store must refuse to create what is there; do_without: the last of two writers wins, "
        "which is safe only because equal plans give equal bytes",
    )


@dataclass(frozen=True)
class Place:
    """An address of files, checked, with how to enter it. What is handed to workers in place of a bare URL.

    Attributes:
        url: a folder, or the URL of one in a store; no credentials in it.
        access: how the bucket is entered.
        guarded: whether the store itself refuses to create what is there already. False for one that was found not to
            and was accepted all the same: files are then looked up before they are written, which leaves a gap in which
            the last writer wins.

    Raises:
        UsageError: the URL carries credentials, a query or a fragment, or chains file systems.
    """

    url: str
    access: Access = field(default_factory=Access)
    guarded: bool = True

    def __post_init__(self) -> None:
        _check(self.url)

    def __str__(self) -> str:
        return self.url

    @classmethod
    def of_corpus(cls, url: str, access: OutAccess) -> Place:
        """Where a corpus goes."""
        return cls(url, Access(requester_pays=access.requester_pays), guarded=access.preconditions == "require")

    @property
    def protocol(self) -> str:
        """`s3`, `gs`, `https`, …; `file` for a local path."""
        return self.url.partition("://")[0].lower() if "://" in self.url else "file"


def _check(url: str) -> None:
    if "::" in url.partition("://")[0]:
        raise UsageError(f"{redacted(url)}: chained file systems cannot be built from or to; name the store itself")
    if "://" not in url or url.startswith("file://"):
        return
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    named = parts.scheme.lower() in CONTAINER_AT_ACCOUNT and ":" not in user
    if at and not named:
        raise UsageError(
            f"{redacted(url) if ':' in user else url.replace(user, '***', 1)}: credentials do not belong into a URL, which "
            "is written to logs; give them by the environment or a profile (docs/stores.md)"
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"{redacted(url)}: expected the address of a folder, found a query; signed URLs and tokens do not belong "
            "into recipes, give credentials by the environment (docs/stores.md)"
        )
