"""Every manifest of the catalog against a tree in its published layout: who pairs with whom, and what each value becomes.

Files go the whole way: grouping, headers, fetching, label normalisation. What must come out stands in
`published_layouts.yaml`, which was written apart from the manifests.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from catalog import sources
from mdfp.codecs import VolumeCodec
from mdfp.labels import State
from schemas import ontology
from schemas.plan import Assignment
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from tests.catalog import picture_tree, published_tree, tcia_tree
from transforms import layouts
from transforms.fetch import fetch_case
from transforms.inventory import inventory_case
from transforms.inventory_series import group_key, inventory_series, read_header
from transforms.labels import palette
from transforms.pseudonym import PatientKeys
from transforms.sample import SampleMaker
from transforms.store import SourceStore

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
EXPECTED = published_tree.expected()
WITHOUT_TREE = {
    "lidc-idri": "DICOM and XML; in test_lidc_idri.py",
    **dict.fromkeys(picture_tree.expected(), "pictures; in test_published_pictures.py"),
    **dict.fromkeys(tcia_tree.SOURCES, "DICOM; in test_tcia.py"),
}
RECIPE = Recipe.model_validate(
    {
        "corpus": "c",
        "out": "-",
        "sources": [{"id": "any"}],
        "terms": {"accept": ["own-data"]},
        "geometry": {"orientation": "RAS", "spacing_mm": "native"},
    }
)


def dataset_json(root, expected):
    """The Decathlon's list of its own files."""
    folder = expected.content["folder"]
    training, test, channels = [], [], {}
    for case in expected.cases.values():
        path = next(iter(case["images"].values()))
        channels = {str(n): name for n, name in enumerate(case["images"])}
        image = path.replace(folder, ".", 1)
        if case["split"] == "test":
            test.append(image)
            continue
        label = expected.label(case, "labels")[2].replace(folder, ".", 1)
        training.append({"image": image, "label": label})
    (root / folder / "dataset.json").write_text(
        json.dumps({"modality": channels, "labels": {}, "training": training, "test": test})
    )


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def world(request, tmp_path_factory):
    """A source's tree, grouped, inventoried, and its cases made into samples."""
    root, expected = tmp_path_factory.mktemp(request.param), EXPECTED[request.param]
    tree = published_tree.write(root, expected)
    if "folder" in expected.content:
        dataset_json(root, expected)
    source, store = sources.load(request.param), SourceStore(str(root))
    listing = list(store.list())
    grouped = layouts.group(source, listing, store.read, KEYS)
    found = [inventory_case(c, source, store, KEYS, Limits()) for c in grouped.cases]
    found += of_series(grouped, source, store)
    entries = palette.build(source.annotated())
    maker = SampleMaker(RECIPE, {source.id: source}, entries, 1)
    made = {}
    for f in found:
        if f.case is not None:
            fetched = fetch_case(f.case, f.objects, store, attempts=1)
            assignment = Assignment(f.case.case_id, source.id, "train", None, "g", "train/x-0", 0, None, "")
            made[f.case.case_id.removeprefix(prefix(source))] = (f, maker.make(fetched, assignment))
    return SimpleNamespace(
        name=request.param, expected=expected, tree=tree, source=source, grouped=grouped, found=found, made=made,
        entries=entries, listed={o.path for o in listing},
    )  # fmt: skip


def of_series(grouped, source, store):
    """What the instances of a tree are, and the labels beside them."""
    groups = {}
    for file in grouped.headers:
        read = read_header(file, store)
        groups.setdefault(group_key(read), []).append(read)
    return [found for group in groups.values() for found in inventory_series(group, source, store, KEYS, Limits())]


def prefix(source):
    return f"{source.id.replace('.', '_')}-"


def test_every_source_is_described_twice():
    assert set(EXPECTED) | set(WITHOUT_TREE) == set(sources.ids())


def test_the_cases_are_those_that_were_published(world):
    assert set(world.made) == set(world.expected.cases)
    counts = world.grouped.counts
    assert counts.balanced()
    assert counts.skipped == len(world.tree.skipped)
    rejects = {r.path: str(r.reason) for r in world.grouped.rejects if not r.path.endswith((".raw", ".zraw"))}
    assert rejects == world.expected.rejected
    left_out = {r.case_id.removeprefix(prefix(world.source)): r.reason for f in world.found for r in f.rejects}
    assert left_out == dict.fromkeys(world.expected.excluded, Reason.EXCLUDED)


def test_images_and_labels_pair_as_published(world):
    for name, case in world.expected.cases.items():
        found, _ = world.made[name]
        paths = {}
        for o in found.objects:
            if not o.path.endswith(".raw"):
                paths.setdefault(o.array, set()).add(o.path)
        images = {f"image:{n}": set(published_tree.files([path])) for n, path in case["images"].items()}
        labels = {}
        for label in case.get("labels", {}):
            path = world.expected.label(case, label)[2]
            unknown = set(case.get("unknown", ()))
            masks = {path.format(mask=m) for m, s in world.expected.masks.items() if s not in unknown}
            labels[f"label:{label}"] = masks or set(published_tree.files([path]))
        assert paths == images | labels, name
        assert {i.header.name: i.modality for i in found.case.images} == {
            n: world.expected.modality(n) for n in case["images"]
        }
        assert {x.header.name: (x.table, x.image) for x in found.case.labels} == {
            n: world.expected.label(case, n)[:2] for n in case.get("labels", {})
        }


def test_people_and_splits(world):
    for name, case in world.expected.cases.items():
        found, _ = world.made[name]
        assert found.case.patient == KEYS.patient(*case["person"].split("/", 1)), name
        assert found.case.split == case.get("split"), name


def test_every_channel_is_its_own_image_in_its_place(world):
    for name, case in world.expected.cases.items():
        _, made = world.made[name]
        paths = list(case["images"].values())
        for number, (image, path) in enumerate(case["images"].items()):
            volume = case.get("frame", number if paths.count(path) > 1 else None)
            record = next(i for i in made.record.images if i.name == image)
            assert record.stored_intensity.mean == pytest.approx(world.tree.means[path, volume], rel=1e-6), (
                name,
                image,
            )
            assert record.native.spacing_xyz_mm == pytest.approx((2.0, 1.5, 2.5))
            assert record.native.orientation == "LPS"


def test_every_value_becomes_its_structure_where_it_was_drawn(world):
    known = ontology.load()
    for name, case in world.expected.cases.items():
        _, made = world.made[name]
        masks = {p.array: VolumeCodec().decode(p.data) for p in made.payloads if p.kind == "label"}
        drawn = {}
        for label in case.get("labels", {}):
            drawn = world.tree.drawn[world.expected.label(case, label)[2], case.get("frame")]
        seen = {}
        affine = np.array(made.record.images[0].stored.affine_ras).reshape(4, 4)
        for entry in world.entries:
            where = {
                published_tree.world(index[::-1], affine)
                for m in masks.values()
                for index in np.argwhere(m == entry.value)
            }
            if where:
                seen[entry.structure] = where
        assert seen == {s: set(w) for s, w in drawn.items()}, name
        for structure, where in seen.items():
            side = known[structure].side
            assert side is None or {x < 0 for x, _, _ in where} == {side == "left"}, (name, structure)


def test_states_follow_what_was_looked_for(world):
    for name, case in world.expected.cases.items():
        _, made = world.made[name]
        states = {s.structure: s.state for s in made.record.structures}
        absent, unknown = set(case.get("absent", ())), set(case.get("unknown", ()))
        labelled = bool(case.get("labels")) and not case.get("nothing")
        if world.expected.content.get("only_some"):
            assert {s for s, state in states.items() if state == State.ABSENT} >= absent
            assert {s for s in world.expected.masks.values() if states[s] != State.PRESENT} == absent
            continue
        wanted = {}
        for structure in states:
            if not labelled or structure in unknown:
                wanted[structure] = State.UNKNOWN
            else:
                wanted[structure] = State.ABSENT if structure in absent else State.PRESENT
        assert states == wanted, name


def test_tables_name_what_the_facts_name_and_nothing_else(world):
    if world.expected.content.get("only_some"):
        written = {n: world.source.labels["labels"].structures.get(n) for n in world.expected.masks}
        assert written == world.expected.masks
        return
    for name, table in world.source.labels.items():
        assert {v: s for v, s in table.values.items() if v} == world.expected.tables[name]
        assert table.structures == world.expected.masks
    assert set(world.source.labels) == set(world.expected.tables)


def test_people_of_two_releases_meet():
    def people(source):
        return {c["person"] for c in EXPECTED[source].cases.values()}

    for first, second in (
        ("lits", "msd-task03-liver"),
        ("lits", "ct-org"),
        ("kits19", "kits23"),
        ("abdomenatlas-1.0-mini", "abdomenatlas-1.1-mini"),
        ("totalsegmentator-ct-v1", "totalsegmentator-ct-v2"),
    ):
        assert people(first) & people(second), (first, second)
    assert sources.load("ct-org").patient.namespace != "lits"
    assert "lits/liver_131" not in people("ct-org")
