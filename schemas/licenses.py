"""Names of terms that a source may state and a recipe may accept."""

from __future__ import annotations

from mdfp.errors import UsageError
from schemas.suggest import nearest

OWN_DATA = "own-data"
"""Terms of a folder of one's own: nobody else's rights are involved, says its owner."""

SPDX_IDS = (
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0",
    "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-2.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0",
    "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "GPL-3.0-only", "MIT",
    "ODC-By-1.0", "ODbL-1.0", "PDDL-1.0",
)  # fmt: skip
"""SPDX identifiers that public imaging data sets use."""

KNOWN = (*SPDX_IDS, OWN_DATA)


def check(license_id: str) -> str:
    """`license_id` when it is known or of the form `LicenseRef-…` (SPDX's way to name terms that are not in its list).

    Raises:
        UsageError: neither.
    """
    if license_id in KNOWN or license_id.startswith("LicenseRef-"):
        return license_id
    raise UsageError(
        f"unknown licence {license_id!r}{nearest(license_id, {k.lower(): k for k in KNOWN})}; "
        "use an SPDX id, 'own-data', or LicenseRef-<name> for custom terms"
    )
