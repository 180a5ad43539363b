"""Fields of a model that are left out where they say nothing."""

from __future__ import annotations

from typing import Any


def without(content: dict[str, Any], *fields: str) -> dict[str, Any]:
    """Fields left out where they say nothing: plans of manifests without them read as they did."""
    return {k: v for k, v in content.items() if k not in fields or v}
