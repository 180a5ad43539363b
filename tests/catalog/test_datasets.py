"""The catalog in the tree: its counts, its links, and a message for everything that may be wrong with a row."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter

import pytest
import yaml

from catalog import datasets, sources, tidy
from mdfp.errors import UsageError
from schemas import jsonl_file, licenses, ontology
from schemas.dataset import DataSet

NOT_OF_THE_SURVEY = {"atlas-v2", "mimic-cxr-jpg", "open-i", "spider", "toothfairy2"}
"""Sources whose data set the survey does not list."""

LICENCES_DIFFER = {"abdomenatlas", "cptac-luad", "nih-chest-x-ray-14"}
"""The survey and the data set's own page state different licences; `catalog show` says so."""


@pytest.fixture(scope="module")
def catalog():
    return datasets.load()


def values(catalog, field):
    return Counter(v for d in catalog.datasets for v in getattr(d, field))


# The counts are those that the facts state of themselves.


def test_it_has_972_data_sets_and_149_links(catalog):
    assert len(catalog) == len(set(catalog)) == 972
    assert len(catalog.overlaps) == 149
    assert [*catalog] == sorted(catalog)


@pytest.mark.parametrize(
    ("field", "counts"),
    [
        ("modalities", {"MR": 318, "CT": 289, "SM": 120, "ES": 92, "PT": 74, "OP": 72, "XR": 68, "GM": 52, "US": 46}),
        ("modalities", {"OPT": 30, "DMS": 16, "CR": 8, "XA": 7, "IR": 7}),
        ("dimensions", {"3d": 526, "2d": 440, "video": 80, "text": 2, "4d": 1}),
        ("tasks", {"segmentation": 457, "classification": 405, "detection": 81, "registration": 32, "reconstruction": 25}),
        ("tasks", {"registration-or-regression": 22, "tracking": 19, "localization": 18, "regression": 16, "prediction": 12}),
        ("anatomies", {"brain": 200, "eye": 111, "lung": 109, "breast": 63, "colorectum": 42, "chest": 40, "liver": 33}),
        ("anatomies", {"prostate": 33, "abdomen": 30, "head-and-neck": 28, "heart": 28, "kidney": 28, "skin": 24, "cell": 22}),
    ],
)  # fmt: skip
def test_counts_of_lists(catalog, field, counts):
    found = values(catalog, field)
    assert {k: found[k] for k in counts} == counts


def test_counts_of_single_values(catalog):
    assert Counter(d.access for d in catalog.datasets) == {
        "registration": 365,
        "open": 355,
        "unknown": 248,
        "agreement": 4,
    }
    assert Counter(d.label for d in catalog.datasets) == {"labeled": 811, "unlabeled": 156, "mixed": 5}
    labelled = [
        d for d in catalog.datasets if d.label != "unlabeled" and "3d" in d.dimensions and "segmentation" in d.tasks
    ]
    assert sum(bool({"CT", "MR"} & set(d.modalities)) for d in labelled) == 262


@pytest.mark.parametrize(
    ("rows", "lacks"),
    [
        (794, lambda d: d.license is None),
        (521, lambda d: not d.license_raw),
        (795, lambda d: not d.image_formats),
        (819, lambda d: d.paper_url is None),
        (485, lambda d: not d.organizations),
        (485, lambda d: d.splits is None),
        (839, lambda d: d.n_classes is None),
        (248, lambda d: d.access == "unknown"),
        (69, lambda d: not d.anatomies),
        (31, lambda d: not d.tasks),
        (25, lambda d: d.year is None),
        (4, lambda d: not d.modalities),
    ],
)
def test_what_is_missing_stays_missing(catalog, rows, lacks):
    assert sum(map(lacks, catalog.datasets)) == rows


def test_every_doubt_is_kept(catalog):
    codes = Counter(i.partition(":")[0] for d in catalog.datasets for i in d.issues)
    assert codes == {
        "access_conflict": 3, "access_low_confidence": 40, "anatomy_dropped": 2, "anatomy_missing": 69, "anatomy_unmapped": 1,
        "count_conflict": 1, "count_missing": 21, "count_zero_in_source": 23, "disease_shifted_in_source": 3,
        "label_conflict": 5, "license_missing": 794, "merged_rows": 111, "modality_from_section": 14, "modality_missing": 4,
        "modality_uncertain": 2, "modality_unspecified": 4, "supervised_task_but_unlabeled": 111, "task_missing": 31,
        "task_reg_ambiguous": 22, "task_suspect": 2, "unescaped-pipe-column-shift": 1, "url_missing": 2, "year_conflict": 4,
        "year_missing": 25,
    }  # fmt: skip
    others = sum(any(i != "license_missing" for i in d.issues) for d in catalog.datasets)
    assert others == 344


def test_the_vocabularies_have_the_words_that_are_in_use(catalog):
    words = catalog.vocabularies
    assert len(words.modalities) == 25
    assert len(words.tasks) == 21
    assert len(words.anatomies) == 62
    assert {i.partition(":")[0] for d in catalog.datasets for i in d.issues} == set(words.issues)
    assert {o.relation for o in catalog.overlaps} == set(words.relations)
    assert sum(bool(a.structures) for a in words.anatomies) == 36
    assert {"liver", "liver_tumour", "hepatic_vessel"} == set(
        next(a.structures for a in words.anatomies if a.id == "liver")
    )


def test_links_name_both_sides(catalog):
    assert sum(o.container is not None and o.part is not None for o in catalog.overlaps) == 120
    kits = catalog.overlaps_of("kits19")
    assert {o.container for o in kits} >= {"abdomenatlas", "abdomenct-1k", "kits21"}
    assert next(o.n_shared for o in kits if o.container == "abdomenct-1k") == 300


# Sources in the tree


@pytest.mark.parametrize("source_id", sources.ids())
def test_every_source_is_linked_to_its_data_set(catalog, source_id):
    source = sources.load(source_id)
    if source_id in NOT_OF_THE_SURVEY:
        assert source.catalog is None
        return
    found = catalog[source.catalog]  # there, or a KeyError
    assert source_id in datasets.manifests()[found.id]
    assert set(source.annotated()) <= set(found.structures)
    shown = {i.modality for i in getattr(source.layout, "channels", ())}
    assert shown <= set(found.modalities)
    if source.terms.license and found.license and found.id not in LICENCES_DIFFER:
        assert source.terms.license == found.license


def test_names_of_data_sets_are_found(catalog):
    assert catalog.find("KiTS23").id == catalog.find(" kits23 ").id == "kits23"
    with pytest.raises(UsageError, match="no data set 'kits32' in the catalog; did you mean 'kits"):
        catalog.find("kits32")


def test_every_licence_and_structure_is_known(catalog):
    for d in catalog.datasets:
        assert d.license is None or licenses.check(d.license) == d.license
        assert set(d.structures) <= set(ontology.load())


def test_the_table_has_a_row_a_data_set(catalog):
    table = catalog.table()
    assert table.num_rows == 972
    kits = next(r for r in table.to_pylist() if r["id"] == "kits23")
    assert kits["sources"] == ["kits23"]
    assert kits["structures"] == list(catalog["kits23"].structures)
    assert catalog.overlaps_table().num_rows == 149


# Loading is one pass: work in proportion to the rows, whatever machine runs it.


def test_every_line_is_read_and_validated_once(monkeypatch):
    seen = Counter()
    adapter = jsonl_file._adapter

    def counting(record):
        class Counted:
            def validate_json(self, line):
                seen[record.__name__, line] += 1
                return adapter(record).validate_json(line)

        return Counted()

    monkeypatch.setattr(jsonl_file, "_adapter", counting)
    datasets.load_from(datasets.FOLDER)
    assert len(seen) == 972 + 149
    assert set(seen.values()) == {1}


def test_a_second_load_reads_nothing(monkeypatch, catalog):
    monkeypatch.setattr(jsonl_file, "read", None)
    assert datasets.load() is catalog


# What may be wrong


@pytest.fixture
def folder(tmp_path):
    """A copy of the catalog, and ways to spoil it."""
    for name in (datasets.DATASETS, datasets.OVERLAPS, datasets.VOCABULARIES):
        shutil.copy(datasets.FOLDER / name, tmp_path / name)
    return tmp_path


def line_of(folder, name, number):
    return (folder / name).read_text(encoding="utf-8").split("\n")[number - 1]


def replace_line(folder, name, number, text):
    lines = (folder / name).read_text(encoding="utf-8").split("\n")
    lines[number - 1] = text
    (folder / name).write_text("\n".join(lines), encoding="utf-8")


def number_of(folder, dataset):
    lines = (folder / datasets.DATASETS).read_text(encoding="utf-8").split("\n")
    return next(n for n, line in enumerate(lines, start=1) if line.startswith(f'{{"id": "{dataset}",'))


def canonical(content):
    """The row as the file writes it, whatever it says."""
    order = [*DataSet.__dataclass_fields__]
    return json.dumps(
        dict(sorted(content.items(), key=lambda i: order.index(i[0]) if i[0] in order else 99)), ensure_ascii=False
    )


SPOILED = {
    "modality": ({"modalities": ["CTT"]}, "modalities: unknown word 'CTT'; did you mean 'CT'"),
    "subtype": ({"modality_subtypes": ["t1ww"]}, "modality_subtypes: unknown word 't1ww'; did you mean 't1w'"),
    "aux": ({"aux_objects": ["RTSTRUKT"]}, "aux_objects: unknown word 'RTSTRUKT'; did you mean 'RTSTRUCT'"),
    "dimension": ({"dimensions": ["3D"]}, "dimensions: unknown word '3D'; did you mean '3d'"),
    "task": ({"tasks": ["segmentaton"]}, "tasks: unknown word 'segmentaton'; did you mean 'segmentation'"),
    "anatomy": ({"anatomies": ["kidnei"]}, "anatomies: unknown word 'kidnei'; did you mean 'kidney'"),
    "structure": ({"structures": ["kidneys_left"]}, "unknown structure 'kidneys_left'; did you mean 'kidney_left'"),
    "family": ({"family": "kitz"}, "family: unknown word 'kitz'; did you mean 'kits'"),
    "label": ({"label": "labelled"}, "label: unknown word 'labelled'; did you mean 'labeled'"),
    "access": ({"access": "opened"}, "access: unknown word 'opened'; did you mean 'open'"),
    "basis": ({"access_basis": "hostrule"}, "access_basis: unknown word 'hostrule'; did you mean 'host-rule'"),
    "license": ({"license": "CC-BY-5.0", "license_status": "stated"}, "license: unknown licence 'CC-BY-5.0'; did you mean"),
    "status": ({"license_status": "stated"}, "license_status: expected stated with a license and only then"),
    "status word": ({"license_status": "unknwon"}, "license_status: unknown word 'unknwon'; did you mean 'unknown'"),
    "format": ({"image_formats": ["nifti"]}, "image_formats: unknown word 'nifti'"),
    "section": ({"source_categories": ["3D CT Dataset"]}, "source_categories: unknown word '3D CT Dataset'; did you mean"),
    "count section": ({"n_raw": [{"section": "3D CT", "value": "5"}]}, "n_raw: unknown word '3D CT'"),
    "issue": ({"issues": ["license_mising"]}, "issues: unknown word 'license_mising'; did you mean 'license_missing'"),
    "doubt left out": ({"issues": None}, "issues: expected 'license_missing' when there is no license and only then, found a row without"),
    "doubt too many": ({"issues": ["license_missing", "year_missing"]}, "issues: expected 'year_missing' when there is no year"),
    "doubt of labels": ({"issues": ["license_missing", "supervised_task_but_unlabeled"]}, "is for unlabeled rows with tasks"),
    "same url": ({"same_url_ids": ["kits191"]}, "same_url_ids: expected an id of the catalog, found 'kits191'; did you mean 'kits19"),
    "same url one way": ({"same_url_ids": ["lits"]}, "same_url_ids: expected 'lits' to name 'kits23' too"),
    "same url itself": ({"same_url_ids": ["kits23"]}, "same_url_ids: names the data set itself"),
    "url": ({"urls": ["kits-challenge.org"]}, "urls: expected an address with http"),
    "twice": ({"modalities": ["CT", "CT"]}, "modalities: 'CT' is written twice"),
    "key": ({"licence": "MIT"}, "unknown key 'licence'; did you mean 'license'"),
    "missing": ({"access": None}, "the key 'access' is missing"),
    "type": ({"year": "2023"}, "year: expected a valid integer, found '2023'"),
    "year": ({"year": 1066}, "year: expected greater than or equal to 1980, found 1066"),
    "negative": ({"n_volumes": -1}, "n_volumes: expected greater than or equal to 0, found -1"),
    "list": ({"tasks": "segmentation"}, "tasks: expected a valid array, found 'segmentation'"),
    "inner key": ({"splits": {"trian": 3}}, "unknown key 'splits.trian'; did you mean 'train'"),
    "default": ({"n_approx": False}, "not in the one form of a row"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPOILED)
def test_a_wrong_row_is_told_with_file_line_and_remedy(folder, fault):
    change, message = SPOILED[fault]
    number = number_of(folder, "kits23")
    content = json.loads(line_of(folder, datasets.DATASETS, number)) | change
    replace_line(folder, datasets.DATASETS, number, canonical({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(UsageError) as raised:
        datasets.load_from(folder)
    assert f"{folder / datasets.DATASETS}:{number}: kits23: " in str(raised.value)
    assert message in str(raised.value)


def test_an_id_with_a_space_is_told(folder):
    number = number_of(folder, "kits23")
    replace_line(
        folder, datasets.DATASETS, number, line_of(folder, datasets.DATASETS, number).replace("kits23", "kits 23", 1)
    )
    with pytest.raises(UsageError, match=rf":{number}: kits 23: id: expected to match"):
        datasets.load_from(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda line: line[:-2], "not JSON: EOF"),
        (lambda line: "", "not JSON: EOF"),
        (lambda line: "[]", "found \\[\\]"),
        (
            lambda line: line.replace('"id"', '"year": 2023, "id"', 1),
            "not in the one form of a row.*python -m catalog.tidy",
        ),
        (lambda line: line.replace('"year": 2023,', '"year": 2022, "year": 2023,', 1), "not in the one form of a row"),
    ],
    ids=["cut", "empty", "no object", "order", "key twice"],
)
def test_a_line_that_is_no_row_is_told(folder, spoil, message):
    number = number_of(folder, "kits23")
    replace_line(folder, datasets.DATASETS, number, spoil(line_of(folder, datasets.DATASETS, number)))
    with pytest.raises(UsageError, match=f"{re.escape(datasets.DATASETS)}:{number}: .*{message}"):
        datasets.load_from(folder)


def test_rows_stand_in_order_and_once(folder):
    text = (folder / datasets.DATASETS).read_text(encoding="utf-8")
    lines = text.splitlines()
    swapped = [lines[1], lines[0], *lines[2:]]
    (folder / datasets.DATASETS).write_text("\n".join(swapped) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r":2: 1000-functional.*expected rows in the order of their ids"):
        datasets.load_from(folder)
    (folder / datasets.DATASETS).write_text("\n".join([lines[0], *lines]) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r":2: 1000-functional.*expected every id once, found it first in line 1"):
        datasets.load_from(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"container": "abdomenatlaz"}, "container: expected an id of the catalog, found 'abdomenatlaz'; did you mean 'abdomenatlas'"),
        ({"part": "pancreas-ctt"}, "part: expected an id of the catalog, found 'pancreas-ctt'; did you mean 'pancreas-ct'"),
        ({"part": None}, "part: expected an id of the catalog, or part_name, found neither"),
        ({"relation": "relabeled"}, "relation: unknown word 'relabeled'; did you mean 'relabelled'"),
        ({"family": "abdominalct"}, "family: unknown word 'abdominalct'; did you mean 'abdominal-ct'"),
        ({"found_by": ["hash"]}, "found_by: unknown word 'hash'"),
        ({"confidence": "hihg"}, "confidence: unknown word 'hihg'; did you mean 'high'"),
        ({"part": "lits"}, ":2: expected every link once, found it first in line 1"),
        ({"n_shared": 4.5}, "n_shared: expected a valid integer"),
        ({"sources": []}, "sources: .* at least 1"),
    ],
)  # fmt: skip
def test_a_wrong_link_is_told(folder, change, message):
    content = json.loads(line_of(folder, datasets.OVERLAPS, 1)) | change
    replace_line(
        folder,
        datasets.OVERLAPS,
        1,
        json.dumps({k: v for k, v in content.items() if v is not None}, ensure_ascii=False),
    )
    with pytest.raises(UsageError, match=message) as raised:
        datasets.load_from(folder)
    assert str(folder / datasets.OVERLAPS) in str(raised.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v["families"].append("nobody"), "no data set is of the family 'nobody'"),
        (lambda v: v["tasks"].append("segmentation"), "tasks: expected every word once, found 'segmentation' twice"),
        (lambda v: v["anatomies"][0].update(structures=["brian"]), "unknown structure 'brian'; did you mean 'brain'"),
        (lambda v: v.pop("issues"), "'issues' is missing"),
        (lambda v: v.update(task=[]), "unknown key 'task'; did you mean 'tasks'"),
    ],
)
def test_a_wrong_vocabulary_is_told(folder, spoil, message):
    content = yaml.safe_load((folder / datasets.VOCABULARIES).read_text(encoding="utf-8"))
    spoil(content)
    (folder / datasets.VOCABULARIES).write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        datasets.load_from(folder)


def test_many_faults_are_listed_and_counted(folder):
    text = (folder / datasets.DATASETS).read_text(encoding="utf-8")
    (folder / datasets.DATASETS).write_text(text.replace('"label": "labeled"', '"label": "labelled"'), encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        datasets.load_from(folder)
    assert len(str(raised.value).splitlines()) == datasets.SHOWN + 1
    assert str(raised.value).endswith(f"… and {811 - datasets.SHOWN} more")


def test_no_file_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"vocabularies\.yaml: cannot be read"):
        datasets.load_from(tmp_path)


# tidy


def test_tidy_changes_nothing_in_the_tree(folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert tidy.tidy(folder) == []
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_tidy_brings_rows_into_their_form(folder):
    before = (folder / datasets.DATASETS).read_bytes()
    rows = [json.loads(line) for line in before.decode().splitlines()]
    shuffled = [dict(reversed(r.items())) | {"n_approx": r.get("n_approx", False)} for r in reversed(rows)]
    (folder / datasets.DATASETS).write_text("".join(json.dumps(r) + "\n" for r in shuffled))
    assert tidy.tidy(folder) == []
    assert (folder / datasets.DATASETS).read_bytes() == before


def test_tidy_writes_nothing_where_a_row_cannot_be_read(folder):
    replace_line(folder, datasets.DATASETS, 7, "{}")
    before = (folder / datasets.DATASETS).read_bytes()
    assert any(f"{datasets.DATASETS}:7: " in message for message in tidy.tidy(folder))
    assert (folder / datasets.DATASETS).read_bytes() == before
