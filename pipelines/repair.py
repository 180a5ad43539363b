"""Repair: find published shards whose bytes were damaged or lost, and build them again, byte for byte."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from mdfp import manifest as manifests
from mdfp.errors import CorpusError, NoCorpusError, UsageError
from mdfp.manifest import Manifest, ShardEntry, SidecarEntry
from pipelines.build import BuildOptions, scratch_folder
from pipelines.console import Console
from pipelines.workspace import Workspace
from transforms import commit, environment
from transforms.archive_store import open_source
from transforms.build_shards import sample_maker
from transforms.plan import files
from transforms.plan.files import PlanReader, ShardWork
from transforms.plan.published import load as load_published
from transforms.shard import ShardBuilder
from transforms.store import CorpusStore


@dataclass(frozen=True)
class Repaired:
    """What a repair found and did."""

    checked: int
    damaged: tuple[str, ...]
    restored: tuple[str, ...]
    lost: tuple[tuple[str, str], ...]
    """(path, why) of shards that could not be made again."""


def repair(workspace: Workspace, options: BuildOptions, *, deep: bool, console: Console) -> Repaired:
    """Check every published shard and restore the damaged ones from their sources.

    A shard is a function of its plan, so the rebuilt file has the published sha256 or it is not put back.

    Args:
        workspace: the corpus and its sources.
        options: scratch and retries.
        deep: hash every shard; False: compare sizes only.
        console: for progress.

    Raises:
        NoCorpusError: nothing is published.
    """
    published = load_published(workspace.corpus)
    if published is None:
        raise NoCorpusError(
            f"{workspace.corpus.root}: nothing is published, so there is nothing to repair; run build instead"
        )
    shards = published.manifest.shards
    done = 0
    damaged: list[ShardEntry] = []
    with console.progress("check", len(shards), lambda: done):
        for shard in shards:
            if not sound(workspace.corpus, shard, deep=deep):
                damaged.append(shard)
            done += 1
    restored: list[str] = []
    lost: list[tuple[str, str]] = []
    for shard in damaged:
        try:
            _restore(workspace, shard, {s.case_id for s in published.samples if s.shard == shard.path}, options)
            restored.append(shard.path)
        except (CorpusError, UsageError, commit.CommitError) as error:
            lost.append((shard.path, str(error)))
    sidecars = published.manifest.sidecars
    broken = [s for s in sidecars if not sound(workspace.corpus, s, deep=deep)]
    lost += [(s.path, _remedy(s)) for s in broken]
    return Repaired(
        len(shards) + len(sidecars),
        (*(s.path for s in damaged), *(s.path for s in broken)),
        tuple(restored),
        tuple(lost),
    )


def _remedy(sidecar: SidecarEntry) -> str:
    """What to do about a sidecar: its masks are no source of the recipe, so it is not made again from there."""
    return (
        f"a sidecar of the labels {sidecar.layer}, whose masks are no source of the recipe: make it again from them with "
        f"python -m pipelines add-labels RECIPE LABELS --repair, or put a copy back whose sha256 is {sidecar.sha256}"
    )


def sound(corpus: CorpusStore, shard: ShardEntry | SidecarEntry, *, deep: bool) -> bool:
    """Whether a tar is there in full length and, where it is looked at, with the hash that the manifest says."""
    if corpus.size(shard.path) != shard.bytes:
        return False
    return not deep or corpus.sha256(shard.path) == shard.sha256


def _restore(workspace: Workspace, shard: ShardEntry, case_ids: Collection[str], options: BuildOptions) -> None:
    manifest = _manifest_of(workspace.corpus, shard.generation)
    plan = PlanReader(workspace.corpus, files.find(workspace.corpus, manifest.plan_id))
    name = shard.path.removeprefix("shards/").rsplit("-", 1)[0]
    number = next((n for n, s in enumerate(plan.shards) if s.shard == name), None)
    if number is None:
        raise CorpusError(f"plan {manifest.plan_id[:16]} does not have the shard {name}")
    work = only(plan.work(number), case_ids)
    needed = {c.source for c in work.cases}
    if dropped := needed - set(workspace.roots):
        raise CorpusError(
            f"the recipe no longer takes {', '.join(sorted(dropped))}; name it there again, with its root"
        )
    maker = sample_maker(plan)
    roots = {i: open_source(workspace.places[i], maker.sources[i], maker.recipe.limits) for i in needed}
    with tempfile.TemporaryDirectory(prefix="mdfp-repair-", dir=scratch_folder(options)) as folder:
        # A source may have been copied or downloaded again since: what comes out tells whether it is the same.
        builder = ShardBuilder(
            maker, roots, workspace.corpus, Path(folder), attempts=options.attempts, any_version=True
        )
        file = Path(folder) / "shard.tar"
        sha256, holes = builder.write_tar(work, file)
        if gone := [h for h in holes if h.case_id in case_ids]:
            raise CorpusError("; ".join(f"{h.case_id}: {h.reason}: {h.detail}" for h in gone))
        if sha256 != shard.sha256 and (
            different := environment.difference(plan.header["environment"], environment.locked())
        ):
            raise CorpusError(f"it was built in another environment: {different}; install those versions and try again")
        commit.restore_file(file, shard.sha256, workspace.corpus, shard.path)


def only(work: ShardWork, case_ids: Collection[str]) -> ShardWork:
    """The work of the samples that are published: holes leave no bytes, and what was taken back is not made again."""
    return dataclasses.replace(
        work,
        cases=tuple(c for c in work.cases if c.case_id in case_ids),
        objects=tuple(o for o in work.objects if o.case_id in case_ids),
    )


def _manifest_of(corpus: CorpusStore, generation: int) -> Manifest:
    path = manifests.manifest_path(generation)
    return manifests.parse(corpus.read(path), corpus.url(path))
