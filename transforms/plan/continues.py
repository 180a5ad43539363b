"""Whether a recipe may go on with a corpus that is published."""

from __future__ import annotations

import json
from typing import Any

from mdfp import canonical
from mdfp.errors import UsageError
from schemas.recipe import Recipe
from transforms.plan.published import Published

PIXEL_SECTIONS = ("geometry", "intensity", "labels", "limits", "slices")
"""Parts of a recipe that reach voxels; they cannot change between generations of one corpus."""

VIEW = ("space", "resolve")
"""Parts of `labels:` that are a view: they never rewrite pixels."""


def require(recipe: Recipe, patient_key: str, published: Published | None) -> None:
    """Nothing, where the recipe may add to what is published.

    Args:
        recipe: what is to be built.
        patient_key: fingerprint of the secret behind the pseudonyms.
        published: the corpus as it is; None where there is none.

    Raises:
        UsageError: another corpus, another key, or samples that would be made in another way.
    """
    if published is None:
        return
    manifest = published.manifest
    if manifest.corpus != recipe.corpus:
        raise UsageError(
            f"out: {recipe.out} holds the corpus {manifest.corpus!r}, the recipe builds {recipe.corpus!r}; "
            "choose another out:, or the corpus's own name"
        )
    if manifest.patient_key != patient_key:
        raise UsageError(
            "the corpus was built with another patient key, so its patients cannot be recognised (fingerprint "
            f"{manifest.patient_key}, yours {patient_key}); set MDFP_PATIENT_KEY to the key it was built with"
        )
    before = canonical.plain(_parsed(manifest.recipe))
    now = canonical.plain(recipe.without_locations())
    if changed := [k for k in PIXEL_SECTIONS if _voxel_part(before, k) != _voxel_part(now, k)]:
        raise UsageError(
            f"the recipe's {', '.join(changed)} changed since manifest {manifest.number}: samples of one corpus are made "
            "alike. Build into another out:, or restore it"
        )


def _voxel_part(recipe: dict[str, Any], section: str) -> Any:
    content = recipe.get(section)
    if section == "labels" and isinstance(content, dict):
        return {k: v for k, v in content.items() if k not in VIEW}
    return content


def _parsed(text: str) -> dict[str, Any]:
    return dict(json.loads(text))
