"""The manifest with labels that were added to published samples: pure assembly, nothing is read or written here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from mdfp import manifest as manifests
from mdfp.fusion import Annotation, Fusion, How
from mdfp.manifest import (
    AddedLayer,
    IndexEntry,
    Manifest,
    OriginTerms,
    PaletteEntry,
    SidecarEntry,
    SourceTerms,
)
from schemas import ontology
from schemas.added_labels import AddedLabels
from schemas.label_work import LabelMarker
from schemas.licenses import UNSTATED
from schemas.source import Source
from transforms.fusion.space import ALL, left_out
from transforms.labels import palette as palettes
from transforms.labels.joined import Includes


def with_labels(
    manifest: Manifest,
    spec: AddedLabels,
    markers: Sequence[LabelMarker],
    sources: Iterable[str],
    palette: tuple[PaletteEntry, ...],
    indexes: Mapping[str, IndexEntry],
) -> Manifest:
    """The next manifest: the same shards, and sidecars beside them.

    It keeps the plan id of its parent: no sample was built. The default label space stays what it was.

    Args:
        manifest: the newest.
        spec: what was added.
        markers: of the shards whose samples were looked at.
        sources: of the samples that have the labels now.
        palette: the manifest's, with the structures that the labels add.
        indexes: what stands in for an index file, by its path.
    """
    number = manifest.number + 1
    sidecars = [
        SidecarEntry(m.path, m.bytes, m.sha256, m.samples, m.shard, spec.layer, number)
        for m in markers
        if m.path is not None and m.sha256 is not None
    ]
    before = next((a for a in manifest.added if a.layer == spec.layer), None)
    layer = AddedLayer(
        layer=spec.layer,
        title=spec.title,
        origin=spec.labels.origin,
        structures=tuple(sorted({*spec.labels.annotated(), *(before.structures if before else ())})),
        sources=tuple(sorted({*sources, *(before.sources if before else ())})),
        license=spec.terms.license or UNSTATED,
        url=spec.terms.url,
        citation=spec.terms.citation,
    )
    added = tuple(sorted((*(a for a in manifest.added if a.layer != spec.layer), layer), key=lambda a: a.layer))
    return dataclasses.replace(
        manifest,
        schema_version=manifests.SIDECAR_VERSION,
        number=number,
        parent=manifest.number,
        palette=palette,
        relations=palettes.relations(palette),
        indexes=tuple(indexes.get(i.path, i) for i in manifest.indexes),
        terms=terms_with(manifest.terms, added),
        fusion=fusion_with(manifest.fusion, added),
        sidecars=sorted_sidecars((*manifest.sidecars, *sidecars)),
        added=added,
    )


def sorted_sidecars(sidecars: Iterable[SidecarEntry]) -> tuple[SidecarEntry, ...]:
    """Sidecars in the order of a manifest, each once."""
    return tuple(sorted(dict.fromkeys(sidecars), key=lambda s: s.path))


def terms_with(terms: Iterable[SourceTerms], added: Sequence[AddedLayer]) -> tuple[SourceTerms, ...]:
    """Terms of the sources, with each added layer as an origin of those whose samples have it."""
    return tuple(_with_origins(t, [a for a in added if t.source in a.sources]) for t in terms)


def _with_origins(terms: SourceTerms, added: Sequence[AddedLayer]) -> SourceTerms:
    new = [OriginTerms(a.layer, a.title, "labels", a.license, a.url, a.citation) for a in added]
    kept = [o for o in terms.origins if o.origin not in {a.layer for a in added}]
    return dataclasses.replace(terms, origins=(*kept, *new))


def fusion_with(fusion: Fusion | None, added: Sequence[AddedLayer]) -> Fusion | None:
    """How the label space came about, with what added layers annotate: in some samples of their sources.

    Classes stay: a reader who asks for none gets what it got before, or the whole palette where no space was asked for.
    """
    if fusion is None or not added:
        return fusion
    have = {(a.structure, a.source) for a in fusion.annotations}
    new: dict[tuple[str, str], list[str]] = {}
    for layer in added:
        for pair in ((s, source) for s in layer.structures for source in layer.sources):
            if pair not in have:
                new.setdefault(pair, []).append(layer.origin)
    annotations = [Annotation(s, i, How.PER_CASE, None, "+".join(dict.fromkeys(o))) for (s, i), o in new.items()]
    structures = sorted({s for s, _ in new} - set(fusion.space) - {gone.structure for gone in fusion.left_out})
    space, gone = fusion.space, fusion.left_out
    if fusion.policy == ALL:
        space = tuple(sorted({*space, *structures}))
    else:
        gone = (*gone, *left_out(structures, fusion.space, ontology.load()))
    labelled = {source for layer in added for source in layer.sources}
    return dataclasses.replace(
        fusion,
        space=space,
        left_out=tuple(sorted(gone, key=lambda one: one.structure)),
        annotations=tuple(sorted((*fusion.annotations, *annotations), key=lambda a: (a.structure, a.source))),
        unlabelled=tuple(s for s in fusion.unlabelled if s not in labelled),
    )


def includes_of(source: Source) -> Includes:
    """What the label tables of a source say that their masks hold, by origin and structure.

    Records do not say which table drew them: a fact counts where all tables of an origin that draw the structure state it.
    """
    result: dict[str, dict[str, tuple[str, ...]]] = {}
    for origin in {t.origin for t in source.labels.values()}:
        tables = [t for t in source.labels.values() if t.origin == origin]
        for structure in sorted({s for t in tables for s in t.includes}):
            stated = [set(t.includes.get(structure, ())) for t in tables if structure in t.annotated()]
            if held := set.intersection(*stated):
                result.setdefault(str(origin), {})[structure] = tuple(sorted(held))
    return result
