"""The planned recipe of chest radiographs, run whole on generated trees in the layouts of its sources."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import mdfp
from catalog import sources
from mdfp.errors import CorpusError
from mdfp.frames import Frames
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.gate import GateError
from pipelines.inventory import take_inventory
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas import recipe as recipes
from tests.catalog import picture_tree
from transforms.plan.planner import Selection

RECIPE = Path(__file__).parents[2] / "examples" / "recipes" / "planned" / "chest-xray" / "recipe.yaml"
EXPECTED = picture_tree.expected()
CASES = {(source, name): case for source, content in EXPECTED.items() for name, case in content["cases"].items()}
PHYSIONET = "LicenseRef-PhysioNet-Credentialed-Health-Data-License-1.5.0"


def run(recipe, folder, out):
    taken = recipes.load(recipe)
    for use in taken.sources:
        if not (folder / use.id).exists():
            picture_tree.write(folder / use.id, EXPECTED[use.id])
    roots = [f"{use.id}={folder / use.id}" for use in taken.sources]
    workspace = open_workspace(recipe, roots, str(out))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.5), Console(quiet=True, as_json=True))
    return mdfp.open(str(out))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chest")


@pytest.fixture(scope="module")
def corpus(folder):
    return run(RECIPE, folder / "raw", folder / "out")


@pytest.fixture(scope="module")
def samples(corpus):
    """(Source, the images that it must have) tell a sample's case: names are not in keys where files came by agreement."""
    found = {}
    for row in corpus.samples:
        sample = corpus.sample(row.key)
        state = frozenset((a.name, a.image or "", a.value or a.state) for a in sample.annotations(kind="class"))
        found.setdefault((row.source, state, row.split), []).append(sample)
    return found


def stated(source, case):
    """What must be stated of a case, as `samples` has it."""
    findings = sources.findings(sources.load(source))
    states = dict.fromkeys(findings, case["rest"]) | case["findings"] if "rest" in case else {}
    level = {"chexpert": "", "mimic-cxr-jpg": "", "open-i": ""}.get(source, "xray")
    classes = {(n.split()[0], n.split()[1], v) for n, v in case.get("classes", {}).items()}
    return frozenset({(n, level, s) for n, s in states.items()} | classes)


def test_every_case_of_every_source_is_a_sample(corpus):
    assert Counter(s.source for s in corpus.samples) == Counter(source for source, _ in CASES)
    assert verify(corpus) == []


def test_states_and_published_splits_come_through(samples):
    free = {("open-i", n) for n in EXPECTED["open-i"]["cases"]}  # no split is published
    for (source, name), case in CASES.items():
        splits = ("train", "val") if (source, name) in free else (case["split"],)
        assert any((source, stated(source, case), split) in samples for split in splits), (source, name)


def test_patients_stay_in_one_split(corpus):
    splits = {}
    for s in corpus.samples:
        splits.setdefault(s.patient, set()).add(s.split)
    assert all(len(of) == 1 for of in splits.values())
    people = {(source, case.get("person", name)) for (source, name), case in CASES.items()}
    assert len(splits) == len(people) < len(CASES)


def test_reports_are_beside_their_pictures(corpus):
    texts = Counter()
    for s in corpus.samples:
        sample = corpus.sample(s.key)
        for name in ("report", "findings", "impression"):
            try:
                texts[name, sample.text(name)] += 1
            except CorpusError:  # it has no such text
                continue
    wanted = Counter((n, t) for case in CASES.values() for n, t in case.get("texts", {}).items())
    assert texts == wanted
    assert sum(wanted.values()) == 8


def test_boxes_lie_where_they_were_drawn(corpus):
    boxes = Counter()
    for s in corpus.samples:
        for a in corpus.sample(s.key).annotations(kind="box"):
            boxes[s.source, a.name, tuple(v + 0.5 for v in (*a.index_xyz[:2], *a.index_xyz[3:5]))] += 1
    wanted = Counter(
        (source, n, tuple(map(float, b))) for (source, _), c in CASES.items() for n, b in c.get("boxes", {}).items()
    )
    assert boxes == wanted


def test_terms_go_with_each_sample(corpus, folder):
    assert {s.source: s.license for s in corpus.samples} == {
        "chexpert": "LicenseRef-CheXpert-Research-Use-Agreement",
        "kermany-chest-xray": "CC-BY-4.0",
        "mimic-cxr-jpg": PHYSIONET,
        "nih-chest-xray14": "LicenseRef-NIH-ChestX-ray14",
        "open-i": "CC-BY-NC-ND-4.0",
        "vindr-cxr": PHYSIONET,
    }
    told = (folder / "out" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for source in {s for s, _ in CASES}:
        for work in sources.load(source).terms.citation:
            assert work in told


def test_names_that_came_by_agreement_are_in_no_key(corpus):
    keys = " ".join(s.key for s in corpus.samples)
    assert not [n for n in ("patient00001", "10000032", "50a418190bc3") if n in keys]
    assert "nih-chest-xray14-00000001_000" in keys


def test_a_batch_for_training_has_findings_of_all_sources(corpus):
    names = ("cardiomegaly", "pleural_effusion", "pneumonia")
    loader = corpus.loader("train", seed=1, batch=4, crops=Frames(16, findings=names, image="xray"))
    batch = next(iter(loader))
    assert batch["findings"].shape == (4, 3)


def test_without_the_policy_reports_stop_at_the_door(tmp_path):
    text = RECIPE.read_text(encoding="utf-8")
    assert "policy:\n  accept: [text]\n" in text
    shy = tmp_path / "recipe.yaml"
    shy.write_text(text.replace("policy:\n  accept: [text]\n", ""), encoding="utf-8")
    for use in recipes.load(shy).sources:
        picture_tree.write(tmp_path / "raw" / use.id, EXPECTED[use.id])
    roots = [f"{use.id}={tmp_path / 'raw' / use.id}" for use in recipes.load(shy).sources]
    workspace = open_workspace(shy, roots, str(tmp_path / "out"))
    with pytest.raises(GateError, match=r"2 of 6 do not hold: cases 0 \(for example mimic-cxr-jpg, open-i\)"):
        take_inventory(workspace, Engine(1), Console(quiet=True))
