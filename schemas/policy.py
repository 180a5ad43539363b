"""What may hold a person's name or face in its content itself, and passes only where a recipe says so.

Headers are taken by an allow-list, so nothing of them can leak. Pixels and free text cannot be filtered that way, and this
project does not deface pictures or look for names in them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Risk = Literal["text", "ultrasound", "photographs", "burned_in", "faces"]
"""`text`: reports and captions. `ultrasound`: machines write names into the picture. `photographs`: light, and what stood
before the lens. `burned_in`: secondary captures, and objects that say so themselves. `faces`: a face can be seen or made
from the data."""

PHOTOGRAPHS = frozenset({"XC", "ES", "OP", "DMS", "GM", "SM", "IO"})
"""DICOM modalities of pictures taken with light."""

BURNED_IN: Literal["burned_in"] = "burned_in"
"""Code of the finding that a header itself warns of names in the picture."""

_WORDS = {
    "text": "report text may name people",
    "ultrasound": "ultrasound pictures may hold burned-in names",
    "photographs": "photographs may show people or labels",
    "burned_in": "the picture may hold burned-in names",
    "faces": "the data may show faces",
}


class Policy(BaseModel):
    """Which risks the corpus accepts, because somebody looked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accept: tuple[Risk, ...] = Field((), description="text, ultrasound, photographs, burned_in, faces")

    def refused(self, risks: frozenset[Risk]) -> str | None:
        """Why a case with these risks may not pass, with the line to add; None when it may."""
        open_ = sorted(risks - set(self.accept))
        if not open_:
            return None
        why = " and ".join(_WORDS[risk] for risk in open_)
        wanted = ", ".join(sorted({*self.accept, *open_}))
        return f"{why}; where that was looked at, add this line to the recipe: policy: {{accept: [{wanted}]}}"


NOTHING = Policy()
"""Accepts none of the risks."""


def risks_of(modality: str) -> frozenset[Risk]:
    """What an image of this modality may hold."""
    if modality in ("US", "IVUS"):
        return frozenset({"ultrasound"})
    return frozenset({"photographs"}) if modality in PHOTOGRAPHS else frozenset()
