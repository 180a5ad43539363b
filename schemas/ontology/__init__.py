"""The structures that labels may name, and how they relate; the data is in `structures.csv`."""

from schemas.ontology.structures import Ontology, Structure, load

__all__ = ["Ontology", "Structure", "load"]
