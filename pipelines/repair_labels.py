"""Repair sidecars: build those of one set of labels that were damaged or lost again from its masks, byte for byte."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from mdfp import arrow
from mdfp.errors import CorpusError, NoCorpusError
from mdfp.manifest import Manifest, SidecarEntry
from mdfp.sample import Sample
from pipelines.add_labels import published_rows
from pipelines.build import BuildOptions, scratch_folder
from pipelines.repair import Repaired, sound
from pipelines.workspace import Workspace
from schemas.added_labels import AddedLabels
from schemas.place import Place
from transforms import commit
from transforms.build_shards import recipe_of
from transforms.label_files import match
from transforms.labels.added import Adding
from transforms.plan.published import load as load_published
from transforms.plan.published import read_columns
from transforms.sidecar import SidecarBuilder
from transforms.store import CorpusStore, SourceStore


def repair_labels(workspace: Workspace, spec: AddedLabels, root: Place, options: BuildOptions) -> Repaired:
    """Check every published sidecar of a layer and restore the damaged ones from the masks.

    A sidecar is a function of its masks, so the rebuilt file has the published sha256 or it is not put back.

    Args:
        workspace: the corpus.
        spec: what the masks are.
        root: where they lie.
        options: scratch and retries.

    Raises:
        NoCorpusError: nothing is published.
    """
    published = load_published(workspace.corpus)
    if published is None:
        raise NoCorpusError(f"{workspace.corpus.root}: nothing is published, so there is nothing to repair")
    corpus, manifest = workspace.corpus, published.manifest
    mine = [s for s in manifest.sidecars if s.layer == spec.layer]
    damaged = [s for s in mine if not sound(corpus, s, deep=True)]
    restored: list[str] = []
    lost: list[tuple[str, str]] = []
    if damaged:
        rows, index_of = published_rows(corpus, manifest)
        rows = [r._replace(layers=[n for n in r.layers if not n.startswith(spec.layer)]) for r in rows]
        files = match(SourceStore(root).list(), rows, spec, workspace.keys).files
        adding = Adding(spec, recipe_of(json.loads(manifest.recipe)), manifest.palette)
        for sidecar in damaged:
            records = _records(corpus, manifest, sidecar, index_of[sidecar.shard])
            held = {(r.key, m.array) for r in records for m in r.members if m.shard == sidecar.path}
            wanted = [f for f in files if (f.key, spec.layer_of(f.image)) in held]
            with tempfile.TemporaryDirectory(prefix="mdfp-repair-", dir=scratch_folder(options)) as folder:
                builder = SidecarBuilder(adding, SourceStore(root), corpus, Path(folder), options.attempts)
                tar = Path(folder) / "sidecar.tar"
                builder.write_tar(tar, wanted, records)
                try:
                    commit.restore_file(tar, sidecar.sha256, corpus, sidecar.path)
                    restored.append(sidecar.path)
                except commit.CommitError as error:
                    lost.append((sidecar.path, f"{error}; the masks are not those that it was made from"))
    return Repaired(len(mine), tuple(s.path for s in damaged), tuple(restored), tuple(lost))


def _records(corpus: CorpusStore, manifest: Manifest, sidecar: SidecarEntry, index: str) -> list[Sample]:
    """The samples that have members in a sidecar, in order.

    Raises:
        CorpusError: the index names none, though the manifest says that there are some.
    """
    records = arrow.from_table(Sample, read_columns(corpus, index, None))
    found = [r for r in records if any(m.shard == sidecar.path for m in r.members)]
    if len(found) != sidecar.samples:
        raise CorpusError(
            f"{corpus.url(index)}: {len(found)} samples have members in {sidecar.path}, manifest {manifest.number} says "
            f"{sidecar.samples}"
        )
    return found
