"""The structures of a corpus and how they relate, as its manifest tells: wider, narrower, located in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from mdfp.manifest import PaletteEntry, Relation

TISSUE = ("is_a", "part_of")
"""Relations in which every voxel of the child is one of the parent."""

PLACE = "located_in"
"""A lesion lies in its organ: it counts as the organ's region, unless the lesion itself is asked for."""

WHOLES: Mapping[str, tuple[str, ...]] = {
    "lung_left": ("lung_upper_lobe_left", "lung_lower_lobe_left"),
    "lung_right": ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
}
"""Structures that nothing but these parts make up (Gray's Anatomy, lungs), so that who looked for all parts has looked
for the whole. `part_of` alone does not say so: the chambers are not all of a heart."""


class Hierarchy:
    """Look-ups over the palette and the relations of a manifest."""

    def __init__(self, palette: Iterable[PaletteEntry], relations: Iterable[Relation]):
        self.palette = {e.structure: e for e in palette}
        self._parents: dict[str, dict[str, list[str]]] = {}
        self._children: dict[str, dict[str, list[str]]] = {}
        edges = {(r.child, r.relation, r.parent) for r in relations}
        for e in self.palette.values():
            for relation in (*TISSUE, PLACE):
                edges.update((e.structure, relation, parent) for parent in getattr(e, relation))
        for child, relation, parent in sorted(edges):
            self._parents.setdefault(child, {}).setdefault(relation, []).append(parent)
            self._children.setdefault(parent, {}).setdefault(relation, []).append(child)
        self._walked: dict[tuple[str, bool, tuple[str, ...]], frozenset[str]] = {}
        self.structures = frozenset(self.palette) | frozenset(self._parents) | frozenset(self._children)
        """All ids: drawn ones, and those that relations name."""

    def tissue(self, structure: str) -> frozenset[str]:
        """The structure and everything wider by `is_a` and `part_of`: its voxels are voxels of each."""
        return self._up(structure, TISSUE)

    def wider(self, structure: str) -> frozenset[str]:
        """The structure and everything wider, organs of lesions included."""
        return self._up(structure, (*TISSUE, PLACE))

    def narrower(self, structure: str) -> frozenset[str]:
        """The structure and everything narrower, lesions in it included."""
        return self._walk(structure, self._children, (*TISSUE, PLACE))

    def narrower_tissue(self, structure: str) -> frozenset[str]:
        """The structure and everything narrower by `is_a` and `part_of`."""
        return self._walk(structure, self._children, TISSUE)

    def hosts(self, structure: str) -> frozenset[str]:
        """Where it lies by `located_in`, of itself or of what it is; empty when nothing says."""
        return frozenset(h for s in self.tissue(structure) for h in self._parents.get(s, {}).get(PLACE, ()))

    def related(self, a: str, b: str) -> bool:
        """Whether something narrower (or equal) is common to both: a voxel of one may be a voxel of the other."""
        return not self.narrower(a).isdisjoint(self.narrower(b))

    def counts_as(self, structure: str, asked: Collection[str]) -> frozenset[str]:
        """What a voxel of the structure counts as when these are asked for.

        Everything wider; but where the structure, or a kind it is of, is itself asked for, it does not count as the
        organ it lies in.
        """
        tissue = self.tissue(structure)
        if any(s in asked and self.is_lesion(s) for s in tissue):
            return tissue
        return frozenset(w for s in tissue for w in (s, *(u for h in self._place(s) for u in self.counts_as(h, asked))))

    def is_lesion(self, structure: str) -> bool:
        """Whether it is a lesion or a device, something that lies in anatomy without being it."""
        if structure in self.palette:
            return self.palette[structure].kind != "anatomy"
        return bool(self._place(structure)) or any(
            self.palette[s].kind != "anatomy" for s in self.narrower_tissue(structure) if s in self.palette
        )

    def covers(self, structure: str) -> tuple[tuple[str, ...], ...]:
        """Sets of narrower structures that together are all of it: its left and right, or its parts (`WHOLES`)."""
        children = self._children.get(structure, {}).get("is_a", [])
        pair = (f"{structure}_left", f"{structure}_right")
        found = [pair] if set(pair) <= set(children) else []
        return tuple(found + ([WHOLES[structure]] if structure in WHOLES else []))

    def _place(self, structure: str) -> list[str]:
        return self._parents.get(structure, {}).get(PLACE, [])

    def _up(self, structure: str, relations: tuple[str, ...]) -> frozenset[str]:
        return self._walk(structure, self._parents, relations)

    def _walk(self, start: str, edges: dict[str, dict[str, list[str]]], relations: tuple[str, ...]) -> frozenset[str]:
        key = (start, edges is self._parents, relations)
        if key not in self._walked:
            seen, queue = {start}, [start]
            while queue:
                current = queue.pop()
                for relation in relations:
                    for other in edges.get(current, {}).get(relation, ()):
                        if other not in seen:
                            seen.add(other)
                            queue.append(other)
            self._walked[key] = frozenset(seen)
        return self._walked[key]
