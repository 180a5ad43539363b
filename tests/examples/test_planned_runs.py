"""Planned recipes of labelled volumes, run whole: every case becomes a sample with the states that its data set gives it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import mdfp
from catalog import sources
from mdfp.labels import State
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas import ontology
from schemas import recipe as recipes
from tests.catalog import published_tree
from tests.examples.test_planned import FOLDER, write
from transforms.plan.planner import Selection

LABELLED = ("abdominal-ct", "brain-tumour-mr", "universal")


@pytest.fixture(scope="module", params=LABELLED)
def built(request, tmp_path_factory):
    """(Recipe, folder of the corpus, the corpus), published from trees of all its sources."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    file = FOLDER / request.param / "recipe.yaml"
    taken = recipes.load(file)
    for use in taken.sources:
        write(folder / "raw" / use.id, use.id)
    roots = [f"{use.id}={folder / 'raw' / use.id}" for use in taken.sources]
    workspace = open_workspace(file, roots, str(folder / "out"))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.0), Console(quiet=True, as_json=True))
    return taken, folder / "out", mdfp.open(str(folder / "out"))


def case_of(sample):
    name = sample.case_id.removeprefix(f"{sample.source.replace('.', '_')}-")
    return published_tree.expected()[sample.source], published_tree.expected()[sample.source].cases[name]


def test_every_case_is_a_sample(built):
    taken, _, corpus = built
    expected = published_tree.expected()
    assert Counter(s.source for s in corpus.samples) == {u.id: len(expected[u.id].cases) for u in taken.sources}
    assert verify(corpus) == []


def test_states_are_those_of_its_own_data_set(built):
    _, _, corpus = built
    seen, known = Counter(), ontology.load()
    for s in corpus.samples:
        expected, case = case_of(s)
        own = set(sources.load(s.source).annotated())
        absent, unknown = set(case.get("absent", ())), set(case.get("unknown", ()))
        labelled = bool(case.get("labels")) and not case.get("nothing") and not expected.content.get("only_some")
        for x in s.structures:
            seen[x.state] += 1
            if x.structure not in own:
                narrower = own & set(known.descendants(x.structure))
                wider = {o for o in own if x.structure in known.descendants(o)}
                # The kidney of whoever drew its sides is there; what is in nothing that was there is absent; else nobody looked.
                assert x.state != State.PRESENT or narrower, (s.key, x.structure)
                assert x.state != State.ABSENT or narrower or wider & absent, (s.key, x.structure)
            elif labelled:
                wanted = State.ABSENT if x.structure in absent else State.PRESENT
                assert x.state == (State.UNKNOWN if x.structure in unknown else wanted), (s.key, x.structure)
    assert seen[State.PRESENT] > 0
    assert seen[State.ABSENT] > 0
    assert seen[State.UNKNOWN] > 0


def test_published_splits_and_people_hold(built):
    _, _, corpus = built
    split_of = {}
    for s in corpus.samples:
        _, case = case_of(s)
        assert split_of.setdefault(s.patient, s.split) == s.split
        if case.get("split") == "test":
            assert s.split == "test"
    people = {case_of(s)[1]["person"] for s in corpus.samples}
    assert len(split_of) == len(people)  # also those of two data sets


def test_terms_go_along(built):
    _, out, corpus = built
    told = (out / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for s in corpus.samples:
        own = sources.load(s.source).terms
        assert own.license is None or own.license in s.license.split(" AND ")
        assert all(work in told for work in own.citation)
