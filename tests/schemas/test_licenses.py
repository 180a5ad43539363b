"""The table of licences against their own names, against SPDX's list, and against itself."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas import licenses

TABLE = licenses.table()
SPDX = [i for i in TABLE if i not in (licenses.OWN_DATA, "LicenseRef-public-domain")]


@pytest.mark.parametrize("license_id", SPDX)
def test_an_id_is_spdx_s(license_id):
    packaging = pytest.importorskip("packaging.licenses", reason="packaging from 24.2 on has the list")
    assert packaging.canonicalize_license_expression(license_id) == license_id
    joined = licenses.join([license_id, "LicenseRef-unstated"])
    assert packaging.canonicalize_license_expression(joined) == joined


@pytest.mark.parametrize("license_id", [i for i in TABLE if i.startswith("CC-BY")])
def test_a_creative_commons_licence_is_what_its_name_says(license_id):
    *elements, version = license_id.removeprefix("CC-").split("-")
    grants = TABLE[license_id]
    assert grants.attribution == ("BY" in elements)
    assert grants.commercial == ("NC" not in elements)
    assert bool(grants.share_alike) == ("SA" in elements)
    expected = "share" if "ND" not in elements else "private" if version == "4.0" else "no"
    assert grants.derivatives == expected
    assert (grants.redistribution, grants.access, grants.research_only) == (True, "open", False)
    assert licenses.pages()[license_id] == (
        f"https://creativecommons.org/licenses/{'-'.join(elements).lower()}/{version}/"
    )


def test_share_alike_names_known_licences_that_demand_no_less():
    for license_id, grants in TABLE.items():
        if not grants.share_alike:
            continue
        assert license_id in grants.share_alike
        for target in grants.share_alike:
            assert TABLE[target].share_alike
            assert target in TABLE[target].share_alike
            assert grants.commercial == TABLE[target].commercial
            assert set(TABLE[target].share_alike) <= set(grants.share_alike) | {"GPL-3.0-only"}


def test_ids_that_recipes_named_are_still_known():
    for license_id in ("CC-BY-2.5", "CC-BY-NC-ND-3.0", "ODC-By-1.0", "PDDL-1.0", "own-data", "LicenseRef-anything"):
        assert licenses.check(license_id) == license_id
    with pytest.raises(UsageError, match=r"did you mean 'CC-BY-4\.0'"):
        licenses.check("cc-by-4.0")
    with pytest.raises(UsageError, match="unknown licence"):
        licenses.check("LicenseRef-a AND CC-BY-4.0")


def test_expressions_come_apart_as_they_were_joined():
    assert licenses.parts(licenses.join(["CC-BY-4.0", "MIT", "CC-BY-4.0"])) == ("CC-BY-4.0", "MIT")
