"""The gate of terms: nothing goes in whose licence the recipe does not accept. Fails closed."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.reasons import Reason
from schemas.recipe import TermsGate


def gate(license_id: str | None, terms: TermsGate) -> tuple[Reason, str] | None:
    """None when a case under this licence may go in, else why not, as (reason, detail).

    Args:
        license_id: SPDX id, LicenseRef-…, own-data, or None when the source states none.
        terms: what the recipe accepts.
    """
    if license_id is None:
        if terms.unknown == "accept":
            return None
        return (
            Reason.TERMS_UNKNOWN,
            (
                "the source manifest states no licence; find it out and write it there (terms: license:), "
                "or set terms: unknown: accept in the recipe"
            ),
        )
    if license_id in terms.accept:
        return None
    return Reason.TERMS_REFUSED, f"licence {license_id}; the recipe accepts {', '.join(terms.accept) or 'none'}"


def risk_gate(risks: Sequence[str], terms: TermsGate) -> tuple[Reason, str] | None:
    """None when data with these risks may go in, else why not, as (reason, detail). Nothing is taken out of pixels or text.

    Args:
        risks: what the source states.
        terms: what the recipe accepts.
    """
    if refused := [r for r in risks if r not in terms.risks]:
        return (
            Reason.RISK_REFUSED,
            f"the source states {', '.join(refused)}; accept it with terms: risks: in the recipe",
        )
    return None


UNSTATED = "LicenseRef-unstated"
"""What a sample's licence reads when its source states none and the recipe accepted that."""
