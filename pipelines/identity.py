"""Which case is which, from what is known: fingerprints, pseudonyms, tables of links, and what is published."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from mdfp import arrow
from mdfp.errors import UsageError
from pipelines import fingerprint
from pipelines.console import Console
from pipelines.workspace import Workspace
from schemas.identity import IdentityEdge, IdentityLink, IdentityOverlap, IdentityRow, ImageMatch
from transforms import commit
from transforms.identity import graph as graphs
from transforms.identity import links, overlaps
from transforms.identity.graph import Graph, Node
from transforms.identity.matching import match
from transforms.identity.overlaps import Expected, Named
from transforms.identity.table import FingerprintFile, Fingerprints, key_of
from transforms.plan import identity
from transforms.plan.identity import Known
from transforms.plan.inventory import InventoryTable
from transforms.plan.published import Published
from transforms.publish import parquet_bytes, table_bytes

WHO = ("case_id", "source", "patient", "study")

SERIES = ("case_id", "source", "series")
"""What overlap facts join cases by."""


def known(
    workspace: Workspace, inventory: InventoryTable, published: Published | None, console: Console
) -> Known | None:
    """What a plan may know of which case is which; None where nobody looked and the recipe says nothing of it.

    Raises:
        UsageError: a table that the recipe names is missing or is none, or `never_train` names what is not there.
    """
    recipe = workspace.recipe
    taken = fingerprint.load(workspace.corpus)
    facts = overlaps.expected(workspace.sources)
    asked = recipe.identity.links or recipe.identity.known or recipe.splits.never_train
    if taken is None and not asked and not facts:
        return None
    keys = _keys(inventory)
    files = [taken] if taken else []
    current = [fingerprint.current(taken, keys)] if taken else []
    others = [FingerprintFile(str(p), str(p)) for p in _tables(workspace, recipe.identity.known)]
    prints = Fingerprints([*files, *others], [*current, *(_foreign(f, keys) for f in others)])
    if taken and (missing := len(keys) - len(set(prints.light["case_id"].to_pylist()) & set(keys))):
        console.remark(
            f"{missing} of {len(keys)} cases have no fingerprint of their present files: new or changed since the last "
            f"pass; python -m pipelines fingerprint {workspace.recipe_path} reads them"
        )
    nodes = _nodes(inventory, published, prints)
    edges = (*_links(workspace, nodes, console), *_linked_by_facts(workspace, facts, inventory, published))
    graph = graphs.build(nodes.values(), _matches(workspace, prints, console), edges)
    _check_names(recipe.splits.never_train, nodes)
    return Known(graph, recipe.splits.never_train)


def _keys(inventory: InventoryTable) -> dict[str, str]:
    columns = (inventory.deciding[n].to_pylist() for n in ("case_id", "case_digest", "objects_digest"))
    return {case_id: key_of(*digests) for case_id, *digests in zip(*columns, strict=True)}


def _foreign(file: FingerprintFile, mine: Mapping[str, str]) -> np.ndarray:
    """Rows of another corpus's table; of cases that the inventory has itself, its own count."""
    return np.array([c not in mine for c in file.light["case_id"].to_pylist()], np.bool_)


def _nodes(inventory: InventoryTable, published: Published | None, prints: Fingerprints) -> dict[str, Node]:
    """Every case: of the inventory, of the corpus, and of other tables of fingerprints."""
    images: dict[str, list[tuple[str, str]]] = defaultdict(list)
    elsewhere: dict[str, str] = {}
    light = prints.light.select(["case_id", "source", "content_hash", "image"])
    for case_id, source, content, name in zip(*(c.to_pylist() for c in light.columns), strict=True):
        elsewhere[case_id] = source
        if content is not None:
            images[case_id].append((content, name))
    built = _built_images(published)
    nodes: dict[str, Node] = {}
    for case_id, source, patient, study in _who(inventory, published):
        found = images.get(case_id) or built.get(case_id, ())
        nodes[case_id] = Node(case_id, source, patient, study, tuple(found))
    for case_id, source in elsewhere.items():
        if case_id not in nodes:  # whose patient it is is known to its own corpus only
            nodes[case_id] = Node(case_id, source, f"~{source}/{case_id}", None, tuple(images[case_id]))
    return nodes


def _who(inventory: InventoryTable, published: Published | None) -> Iterable[tuple[str, str, str, str | None]]:
    tables = [*(published.batches(WHO) if published else ()), *(part(WHO) for part in inventory.parts)]
    for table in tables:
        yield from zip(*(table[name].to_pylist() for name in WHO), strict=True)


def _built_images(published: Published | None) -> dict[str, tuple[tuple[str, str], ...]]:
    """Content hashes of the published samples' images, which need no pass."""
    columns = ["case_id", "images.list.element.content_hash", "images.list.element.name"]
    found = {}
    for table in published.batches(columns) if published else ():
        for case_id, images in zip(table["case_id"].to_pylist(), table["images"].to_pylist(), strict=True):
            found[case_id] = tuple((i["content_hash"], i["name"]) for i in images)
    return found


def _matches(workspace: Workspace, prints: Fingerprints, console: Console) -> list[ImageMatch]:
    """The pairs of images that are one; remembered by the set of images."""
    if prints.light.num_rows == 0:
        return []
    path = f"identity/matches-{prints.digest()[:16]}.parquet"
    if not workspace.corpus.exists(path):
        console.remark(f"comparing {prints.light.num_rows} fingerprints")
        found = match(prints.light["content_hash"].to_pylist(), prints.light["code"].to_pylist(), prints.cubes)
        commit.create_bytes(table_bytes(ImageMatch, found.matches), workspace.corpus, path)
    table = pq.read_table(pa.BufferReader(workspace.corpus.read(path)))
    return arrow.from_table(ImageMatch, table)


def _tables(workspace: Workspace, names: Iterable[str]) -> list[Path]:
    """Files that the recipe names, beside it.

    Raises:
        UsageError: one is not there.
    """
    folder = workspace.recipe_path.resolve().parent
    paths = [folder / Path(name).expanduser() for name in names]
    if missing := [p for p in paths if not p.is_file()]:
        raise UsageError(f"{workspace.recipe_path}: identity names {missing[0]}, which is not there")
    return paths


def _links(workspace: Workspace, nodes: Mapping[str, Node], console: Console) -> tuple[IdentityEdge, ...]:
    rows = [link for path in _tables(workspace, workspace.recipe.identity.links) for link in read_links(path)]
    resolved = links.resolve(rows, nodes, workspace.keys)
    if resolved.unresolved:
        one = resolved.unresolved[0]
        console.remark(
            f"{len(resolved.unresolved)} of {len(rows)} links name a case that is not there, for example {one.source_a} "
            f"{one.case_a} - {one.source_b} {one.case_b}"
        )
    return resolved.edges


def read_links(path: Path) -> list[IdentityLink]:
    """The rows of a table of links.

    Raises:
        UsageError: it cannot be read, or lacks a column.
    """
    wanted = arrow.arrow_schema(IdentityLink).names
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            texts = pacsv.ConvertOptions(column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False)
            table = pacsv.read_csv(path, convert_options=texts)
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{path}: no table of links: {error}") from error
    if missing := [name for name in wanted if name not in table.column_names]:
        raise UsageError(f"{path}: a table of links has the columns {', '.join(wanted)}; {', '.join(missing)} missing")
    return arrow.from_table(IdentityLink, table.select(wanted))


def _linked_by_facts(
    workspace: Workspace, facts: Sequence[Expected], inventory: InventoryTable, published: Published | None
) -> list[IdentityEdge]:
    """Edges that overlap facts give by the names of cases and series."""
    if not any(f.found_by for f in facts):
        return []
    tables = [*(published.batches(SERIES) if published else ()), *(part(SERIES) for part in inventory.parts)]
    rows = (row for table in tables for row in zip(*(table[n].to_pylist() for n in SERIES), strict=True))
    public = {i: s.public_ids for i, s in workspace.sources.items()}
    return overlaps.links_of(facts, itertools.starmap(Named, rows), public, workspace.keys)


def _check_names(never_train: Iterable[str], nodes: Mapping[str, Node]) -> None:
    there = {n.source for n in nodes.values()} | set(nodes)
    if strange := sorted(set(never_train) - there):
        raise UsageError(
            f"splits.never_train names {strange[0]!r}, of which nothing is known: it is neither a source of the recipe nor a "
            "case, and no table under identity.known holds its fingerprints"
        )


def write(workspace: Workspace, found: Known, published: Published | None, console: Console) -> Graph:
    """Write the tables of who is who and why, and say what was published in vain."""
    members = list(published.members()) if published else []
    decided = identity.decide(found, members)
    graph = found.graph
    splits = {case_id: split for case_id, _, split in members}
    cases = parquet_bytes(arrow.to_table(IdentityRow, identity.rows(graph, decided, splits)))
    edges = parquet_bytes(arrow.to_table(IdentityEdge, graph.edges))
    name = hashlib.sha256(cases + edges).hexdigest()[:16]
    paths = {kind: f"identity/{kind}-{name}.parquet" for kind in ("cases", "edges")}
    commit.create_bytes(cases, workspace.corpus, paths["cases"])
    commit.create_bytes(edges, workspace.corpus, paths["edges"])
    fingerprint.remember(workspace.corpus, **paths, **_write_overlaps(workspace, graph, console))
    for case_id, why in sorted(decided.vain.items()):
        console.remark(
            f"{case_id} is published in {splits[case_id]}, where it must not be: {why}. Take it back with: "
            f"python -m pipelines withdraw {workspace.recipe_path} {case_id}"
        )
    return graph


def _write_overlaps(workspace: Workspace, graph: Graph, console: Console) -> dict[str, str]:
    """Write what was found of what the overlap facts say, and say where it differs; nothing where they say nothing."""
    rows = overlaps.compare(overlaps.expected(workspace.sources), graph)
    if not rows:
        return {}
    table = parquet_bytes(arrow.to_table(IdentityOverlap, rows))
    path = f"identity/overlaps-{hashlib.sha256(table).hexdigest()[:16]}.parquet"
    commit.create_bytes(table, workspace.corpus, path)
    for remark in overlaps.remarks(rows):
        console.remark(remark)
    return {"overlaps": path}


def summary(graph: Graph) -> dict[str, object]:
    """The graph for machines."""
    sizes = Counter(graph.component.values())
    return {
        "cases": len(graph.nodes),
        "components": len(sizes),
        "largest": max(sizes.values(), default=0),
        "edges": {str(kind): count for kind, count in sorted(Counter(e.kind for e in graph.edges).items())},
    }


def line(graph: Graph) -> str:
    """The graph in one line for people."""
    counts = Counter(str(e.kind) for e in graph.edges)
    edges = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{len(graph.nodes)} cases in {len(set(graph.component.values()))} components ({edges or 'no edges'})"
