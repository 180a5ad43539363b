"""Objects that a listing shows and nobody can read: a version that says why, which grouping turns into a reject.

A listing is what all workers see of a source, so a refusal travels in it.
"""

from __future__ import annotations

from schemas.reasons import Reason
from transforms.rejected import Rejected
from transforms.stores.backend import ListedObject

_REFUSED = "refused!"
_REASONS = {r.value: r for r in Reason}


def refused(path: str, size: int, verdict: Rejected) -> ListedObject:
    """What a listing says of an object that cannot be read."""
    return ListedObject(path, size, f"{_REFUSED}{verdict.reason}!{verdict.detail}")


def refusal_of(listed: ListedObject) -> Rejected | None:
    """Why a listed object cannot be read; None for one that can."""
    if not listed.version.startswith(_REFUSED):
        return None
    reason, _, detail = listed.version.removeprefix(_REFUSED).partition("!")
    return Rejected(_REASONS[reason], detail)


def readable_name(listed: ListedObject) -> ListedObject:
    """The object itself where its path is text; where its bytes are none (of a local file), a refusal under an escaped path.

    Such a path fits in no record.
    """
    if listed.path.isascii():
        return listed
    try:
        listed.path.encode()
    except UnicodeEncodeError:
        escaped = listed.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return refused(escaped, listed.bytes, Rejected(Reason.UNSUPPORTED, "the file's name is not UTF-8; rename it"))
    return listed
