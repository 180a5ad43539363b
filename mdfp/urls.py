"""URLs as people may see them: without credentials."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?<=://)[^/@\s\"']*:[^/@\s\"']*@")
_QUERY = re.compile(r"(?<=\w)(://[^\s?#\"']+)[?#][^\s\"']*")


def redacted(text: str) -> str:
    """`text` with `user:password@`, query and fragment of every URL in it replaced by stars.

    Queries of object stores are signatures and tokens more often than not.

    Example:
        >>> redacted("GET https://me:secret@host/a?sig=abc failed")
        'GET https://***@host/a?*** failed'
    """
    return _QUERY.sub(r"\1?***", _USERINFO.sub("***@", text))
