"""The planned recipe of CT without labels, run whole on generated trees: a re-release is found, and splits hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mdfp
from catalog import sources
from mdfp.verify import verify
from pipelines.cli import app
from pipelines.plan import read_latest
from pipelines.workspace import open_workspace
from schemas import recipe as recipes
from schemas.reasons import Reason
from tests.catalog import published_tree, tcia_tree

RECIPE = Path(__file__).parents[2] / "examples" / "recipes" / "planned" / "ct-self-supervised" / "recipe.yaml"
UNLABELLED = set(tcia_tree.SOURCES)


def write(root, source, lidc):
    """The tree of a source; returns how many scans it has."""
    if source == "luna16":
        tcia_tree.write_luna16(root, lidc)
        return len(lidc)
    if source in UNLABELLED or source == "lidc-idri":
        return len(tcia_tree.write(root, source))
    expected = published_tree.expected()[source]
    root.mkdir(parents=True)
    published_tree.write(root, expected)
    return len(expected.cases)


def first_scans(source, folder):
    """SeriesInstanceUID -> patient of the first scans of a source: what LUNA16 holds again."""
    found = tcia_tree.write(folder, source)
    return {uid: patient for n, (uid, patient) in enumerate(found.items()) if n < 2}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(The corpus, its folder, scans by source) after inventory, fingerprints, plan, build and publication."""
    folder = tmp_path_factory.mktemp("selfsup")
    taken = recipes.load(RECIPE)
    lidc = first_scans("lidc-idri", folder / "other")
    scans = {use.id: write(folder / "raw" / use.id, use.id, lidc) for use in taken.sources}
    roots = [w for use in taken.sources for w in ("--root", f"{use.id}={folder / 'raw' / use.id}")]
    common = [str(RECIPE), *roots, "--out", str(folder / "out"), "--json", "--quiet", "--workers", "1"]
    for command in ("inventory", "fingerprint", "run"):
        done = CliRunner().invoke(app, [command, *common])
        assert done.exit_code == 0, done.output
    return mdfp.open(str(folder / "out")), folder, scans


def test_it_takes_unlabelled_sources_and_leaves_labels_alone(built):
    corpus, _, scans = built
    assert len(UNLABELLED & set(scans)) == len(UNLABELLED) >= 10
    assert {"lidc-idri", "luna16"} <= set(scans)
    assert recipes.load(RECIPE).labels.image_only
    for s in corpus.samples:
        assert not s.labels
        assert [i.modality for i in s.images] == ["CT"]
    assert verify(corpus) == []


def test_a_scan_of_two_releases_is_one_sample(built):
    corpus, folder, scans = built
    counts = Counter(s.source for s in corpus.samples)
    assert scans["lidc-idri"] == 3
    assert scans["luna16"] == 2
    assert counts["lidc-idri"] + counts["luna16"] == 3
    hashes = Counter(h for s in corpus.samples for i in s.images for h in [i.content_hash])
    assert set(hashes.values()) == {1}
    for source in UNLABELLED:
        assert counts[source] == scans[source], source
    assert sum(counts.values()) == sum(scans.values()) - 2
    # The fingerprints said so before a shard was built.
    roots = [f"{source}={folder / 'raw' / source}" for source in scans]
    left = read_latest(open_workspace(RECIPE, roots, str(folder / "out"))).left_out()
    assert Counter(a.left_out for a in left) == {Reason.DUPLICATE: 2}
    assert {a.source for a in left} <= {"lidc-idri", "luna16"}


def test_patients_and_copies_stay_on_one_side(built):
    corpus, _, _ = built
    groups: dict[str, set[str]] = {}
    for s in corpus.samples:
        groups.setdefault(s.group, set()).add(s.split)
    assert all(len(splits) == 1 for splits in groups.values())
    several = Counter(s.patient for s in corpus.samples)
    assert max(several.values()) >= 2  # people with two scans were there to be torn


def test_terms_go_with_each_sample(built):
    corpus, folder, _ = built
    for s in corpus.samples:
        source = sources.load(s.source)
        own = source.terms.license
        assert own is None or own in s.license.split(" AND ")
        if s.source == "luna16":
            assert "CC-BY-3.0" in s.license
    told = (folder / "out" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    kept = {s.source for s in corpus.samples}
    assert all(c in told for i in kept for c in sources.load(i).terms.citation)
