"""How a function says that its input cannot be used: one exception, with a reason that can be counted."""

from __future__ import annotations

from mdfp.errors import MdfpError
from schemas.reasons import Reason


class Rejected(MdfpError):  # noqa: N818 (it is a verdict on the input, not an error of ours)
    """The input cannot be used, for a permanent reason. A bug in our code is never raised as this.

    Attributes:
        reason: code from the closed list.
        detail: what was expected and what was found, with numbers; no path and nothing else from a header.
    """

    def __init__(self, reason: Reason, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[Rejected], tuple[Reason, str]]:
        return type(self), (self.reason, self.detail)
