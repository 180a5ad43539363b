"""Blueprints: which public data sets make one corpus, by rules, what they add up to, and the recipe that comes of them.

    from catalog import blueprint
    plan = blueprint.make(query)        # see `catalog.blueprint.query`

Pure: reads the catalog in the tree and nothing else. docs/blueprint.md says what each rule means.
"""

from catalog.blueprint.plan import Blueprint, make
from catalog.blueprint.query import BlueprintQuery, load

__all__ = ["Blueprint", "BlueprintQuery", "load", "make"]
