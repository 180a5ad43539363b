"""Headers become cases; faults of images reject, faults of labels do what was asked; nothing private gets out."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from mdfp.errors import UsageError
from schemas.reasons import Reason
from schemas.recipe import Limits
from schemas.source import Source
from transforms import layouts
from transforms.inventory import Inventoried, inventory_case
from transforms.plan.inventory import InventoryTable
from transforms.pseudonym import PatientKeys
from transforms.read.array import Blob, read_array
from transforms.store import SourceStore
from transforms.take_inventory import case_rows

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
OBLIQUE = np.array([[-0.7, 0.1, 0, 10], [0.1, 0.7, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1.0]])
LAYOUT = {
    "kind": "paired",
    "images": [
        {"name": "ct", "modality": "CT", "contrast_phase": "portal-venous", "path": "{patient}_{visit}/ct.nii.gz"}
    ],
    "labels": [
        {"table": "organs", "image": "ct", "path": "{patient}_{visit}/organs.nii.gz"},
        {"table": "lesions", "image": "ct", "path": "{patient}_{visit}/lesions.nii.gz"},
    ],
}
TABLES = {
    "organs": {"origin": "expert", "values": {0: "background", 1: "liver"}},
    "lesions": {"origin": "model", "values": {0: "background", 1: "liver_tumour"}},
}


def source(**more):
    content = {
        "id": "toy.v1",
        "title": "Toy",
        "public_ids": True,
        "terms": {"license": "CC0-1.0"},
        "patient": {"namespace": "toy", "id": "{patient}"},
        "layout": LAYOUT,
        "labels": TABLES,
    }
    return Source.model_validate({**content, **more})


def write(path, dtype=np.int16, affine=OBLIQUE, shape=(6, 5, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.ones(shape, dtype), affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def spoil(path, offset, value):
    """Put other bytes in the header of a gzip NIfTI."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[offset : offset + len(value)] = value
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.fixture
def tree(tmp_path):
    write(tmp_path / "Ann_1" / "ct.nii.gz")
    write(tmp_path / "Ann_1" / "organs.nii.gz", np.uint8)
    write(tmp_path / "Ann_1" / "lesions.nii.gz", np.uint8)
    return tmp_path


def inventory(tree, made=None, limits=Limits(), **options):  # noqa: B008 (frozen)
    made = made or source()
    store = SourceStore(str(tree))
    grouped = layouts.group(made, store.list(), store.read, KEYS)
    assert grouped.rejects == ()
    return [inventory_case(c, made, store, KEYS, limits, **options) for c in grouped.cases]


def test_a_case_is_what_its_headers_say(tree):
    (found,) = inventory(tree)
    case = found.case
    assert case.case_id == "toy_v1-ann_1"
    assert case.patient == KEYS.patient("toy", "Ann")
    assert (case.license, case.split, case.study, case.days_from_first) == ("CC0-1.0", None, None, None)
    (image,) = case.images
    assert (image.modality, image.acquisition.contrast_phase) == ("CT", "portal-venous")
    assert (image.header.name, image.header.format, image.header.shape, image.header.dtype) == (
        "ct",
        "nifti",
        (4, 5, 6),
        "int16",
    )
    assert image.header.orientation == "LAS"
    assert np.allclose(np.array(image.header.affine_ras).reshape(4, 4), OBLIQUE, atol=1e-5)
    assert [(label.header.name, label.table, label.image, label.origin) for label in case.labels] == [
        ("organs", "organs", "ct", "expert"),
        ("lesions", "lesions", "ct", "model"),
    ]
    assert case.estimated_bytes > 0
    assert found.rejects == ()


def test_every_object_has_a_record(tree):
    (found,) = inventory(tree)
    assert [(o.path, o.array, o.ordinal, o.structure) for o in found.objects] == [
        ("Ann_1/ct.nii.gz", "image:ct", 0, None),
        ("Ann_1/organs.nii.gz", "label:organs", 0, None),
        ("Ann_1/lesions.nii.gz", "label:lesions", 0, None),
    ]
    assert {o.case_id for o in found.objects} == {found.case.case_id}
    assert all(o.bytes > 0 and o.version.startswith("mtime:") for o in found.objects)


def test_only_prefixes_are_read(tree, monkeypatch):
    asked = []
    read = SourceStore.read

    def watched(self, path, start=0, end=None, *, version=None):
        asked.append((path, start, end))
        assert version is not None  # of the object that was listed, and no other
        return read(self, path, start, end, version=version)

    monkeypatch.setattr(SourceStore, "read", watched)
    inventory(tree)
    assert len(asked) == 3
    assert all(start == 0 and end is not None and end <= 4096 for _, start, end in asked)


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (80, np.float32(0).tobytes(), Reason.BAD_SPACING),  # pixdim[1]
        (252, bytes(4), Reason.NO_GEOMETRY),  # qform_code and sform_code
        (70, np.int16(128).tobytes(), Reason.UNSUPPORTED),  # RGB24
        (0, b"XXXX", Reason.UNREADABLE),
    ],
)
def test_a_broken_image_header_rejects_the_case(tree, offset, value, reason):
    spoil(tree / "Ann_1" / "ct.nii.gz", offset, value)
    (found,) = inventory(tree)
    assert found.case is None
    assert [(r.reason, r.case_id, r.path) for r in found.rejects] == [(reason, "toy_v1-ann_1", "Ann_1/ct.nii.gz")]
    assert found.rejects[0].detail.startswith("image 'ct': ")
    assert len(found.objects) == 3


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [(80, np.float32(0).tobytes(), Reason.BAD_SPACING), (0, b"XXXX", Reason.LABEL_UNREADABLE)],
)
def test_a_broken_label_header_rejects_the_case_or_costs_it_its_labels(tree, offset, value, reason):
    spoil(tree / "Ann_1" / "lesions.nii.gz", offset, value)
    (found,) = inventory(tree)
    assert found.case is None
    assert [(r.reason, r.path) for r in found.rejects] == [(reason, "Ann_1/lesions.nii.gz")]

    (kept,) = inventory(tree, on_fault="image_only")
    assert kept.case.labels == ()
    assert [f.code for f in kept.case.findings] == ["label_left_out"]
    assert [o.array for o in kept.objects] == ["image:ct"]
    assert sorted(r.path for r in kept.rejects) == ["Ann_1/lesions.nii.gz", "Ann_1/organs.nii.gz"]
    assert {(r.reason, r.case_id) for r in kept.rejects} == {(reason, None)}


def test_an_empty_file_is_unreadable(tree):
    (tree / "Ann_1" / "ct.nii.gz").write_bytes(b"")
    (found,) = inventory(tree)
    assert [r.reason for r in found.rejects] == [Reason.UNREADABLE]


def test_limits_hold_before_memory_is_taken(tree):
    (found,) = inventory(tree, limits=Limits(max_voxels=100))
    assert [r.reason for r in found.rejects] == [Reason.TOO_LARGE]


def test_an_excluded_case_is_not_even_read(tree):
    (tree / "Ann_1" / "ct.nii.gz").write_bytes(b"")
    (found,) = inventory(tree, source(exclude={"Ann_1": "a phantom"}))
    assert [(r.reason, r.detail) for r in found.rejects] == [
        (Reason.EXCLUDED, "excluded by the source manifest: a phantom")
    ]


def test_the_first_pattern_that_matches_gives_the_split(tree):
    (found,) = inventory(tree, source(split={"Bob_*": "test", "Ann_*": "val", "*": "train"}))
    assert found.case.split == "val"


def test_a_corrected_spacing_is_taken_and_said(tree):
    (found,) = inventory(tree, source(geometry_override={"Ann_1": [0.5, 0.6, 2.0]}))
    header = found.case.images[0].header
    assert header.spacing_xyz_mm == (0.5, 0.6, 2.0)
    affine = np.array(header.affine_ras).reshape(4, 4)
    assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), [0.5, 0.6, 2.0])
    assert np.allclose(affine[:3, 3], OBLIQUE[:3, 3])
    assert [(f.code, f.where) for f in found.case.findings] == [
        ("geometry_override", w) for w in ("ct", "organs", "lesions")
    ]
    for path, of in (("ct", header), ("organs", found.case.labels[0].header)):
        blob = Blob(path, (tree / "Ann_1" / f"{path}.nii.gz").read_bytes())
        assert np.array_equal(read_array(of, [blob], Limits()).affine_ras, affine)
    assert "mm by the source manifest" in found.case.findings[0].detail


def test_a_template_that_names_no_field_of_the_layout_is_told(tree):
    with pytest.raises(
        UsageError,
        match=r"patient.id '\{person\}' names the field 'person', the layout has \['case', 'patient', 'visit'\]",
    ):
        inventory(tree, source(patient={"namespace": "toy", "id": "{person}"}))


def test_the_same_patient_in_two_sources_of_one_namespace_meets(tree):
    (first,) = inventory(tree)
    (second,) = inventory(tree, source(id="again"))
    (stranger,) = inventory(tree, source(patient={"namespace": "other", "id": "{patient}"}))
    assert first.case.patient == second.case.patient != stranger.case.patient


def test_some_cases_may_be_people_of_another_namespace(tree):
    shared = {"Ann_{visit:[0-9]}": {"namespace": "other", "id": "o-{visit}"}, "Bob_*": {"namespace": "x", "id": "x"}}
    (found,) = inventory(tree, source(patient={"namespace": "toy", "id": "{patient}", "shared": shared}))
    assert found.case.patient == KEYS.patient("other", "o-1")
    (own,) = inventory(
        tree, source(patient={"namespace": "toy", "id": "{patient}", "shared": {"Bob_*": shared["Bob_*"]}})
    )
    assert own.case.patient == KEYS.patient("toy", "Ann")
    wrong = {"Ann_*": {"namespace": "other", "id": "{person}"}}
    with pytest.raises(UsageError, match=r"patient.shared '\{person\}' names the field 'person'"):
        inventory(tree, source(patient={"namespace": "toy", "shared": wrong}))


def test_names_of_a_private_source_are_nowhere_but_in_the_objects(tree):
    private = source(public_ids=False)
    spoil(tree / "Ann_1" / "lesions.nii.gz", 0, b"XXXX")
    (kept,) = inventory(tree, private, on_fault="image_only")
    (gone,) = inventory(tree, private)
    for record in (kept.case, *kept.rejects, *gone.rejects):
        assert "Ann" not in repr(record)
    assert all(r.path and len(r.path) == 16 for r in kept.rejects)


@pytest.mark.parametrize("end", [".img", ".img.gz"])
def test_a_pair_of_header_and_voxels_is_one_image(tmp_path, end):
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nib.save(nib.Nifti1Pair(voxels, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "a.hdr")
    if end == ".img.gz":
        (tmp_path / "a.img.gz").write_bytes(gzip.compress((tmp_path / "a.img").read_bytes()))
        (tmp_path / "a.img").unlink()
    layout = {"kind": "paired", "images": [{"name": "mr", "modality": "MR", "path": "{patient}.hdr"}]}
    (found,) = inventory(tmp_path, source(layout=layout, labels={}))
    assert [(o.path, o.ordinal) for o in found.objects] == [("a.hdr", 0), (f"a{end}", 1)]
    header = found.case.images[0].header
    assert (header.format, header.shape, header.bytes) == ("nifti", (5, 4, 3), sum(o.bytes for o in found.objects))
    blobs = [Blob(o.path, (tmp_path / o.path).read_bytes()) for o in found.objects]
    np.testing.assert_array_equal(read_array(header, blobs, Limits()).array_zyx.transpose(2, 1, 0), voxels)
    (tmp_path / f"a{end}").unlink()
    (found,) = inventory(tmp_path, source(layout=layout, labels={}))
    assert [r.reason for r in found.rejects] == [Reason.MISSING_FILE]


def test_voxels_beside_a_header_must_be_those_it_names(tmp_path):
    import SimpleITK as sitk  # noqa: N813 (its usual name)

    image = sitk.GetImageFromArray(np.ones((4, 5, 6), np.int16))
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    layout = {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{patient}.mhd"}]}
    (found,) = inventory(tmp_path, source(layout=layout, labels={}))
    assert [(o.path, o.ordinal) for o in found.objects] == [("a.mhd", 0), ("a.raw", 1)]
    assert found.case.images[0].header.format == "itk"
    assert found.case.images[0].header.bytes == sum(o.bytes for o in found.objects)
    (tmp_path / "a.raw").unlink()
    (found,) = inventory(tmp_path, source(layout=layout, labels={}))
    assert [r.reason for r in found.rejects] == [Reason.MISSING_FILE]


def test_every_mask_of_a_case_is_read(tmp_path):
    layout = {
        "kind": "per-structure",
        "image": {"name": "ct", "modality": "CT", "path": "{patient}/ct.nii.gz"},
        "structures": "{patient}/seg/{structure}.nii.gz",
    }
    tables = {"labels": {"origin": "model", "structures": {"liver": "liver", "hip_left": "hip_bone_left"}}}
    made = source(layout=layout, labels=tables)
    write(tmp_path / "p" / "ct.nii.gz")
    write(tmp_path / "p" / "seg" / "liver.nii.gz", np.uint8)
    write(tmp_path / "p" / "seg" / "hip_left.nii.gz", np.uint8)
    (found,) = inventory(tmp_path, made)
    assert [(o.structure, o.ordinal) for o in found.objects if o.array == "label:labels"] == [
        ("hip_bone_left", 0),
        ("liver", 1),
    ]
    (tmp_path / "p" / "seg" / "liver.nii.gz").write_bytes(b"not a NIfTI")
    (found,) = inventory(tmp_path, made)
    assert [(r.reason, r.path) for r in found.rejects] == [(Reason.LABEL_UNREADABLE, "p/seg/liver.nii.gz")]


def test_several_faults_of_a_case_are_one_row(tree):
    t2 = {"name": "mr", "modality": "MR", "path": "{patient}_{visit}/mr.nii.gz"}
    layout = {**LAYOUT, "images": [*LAYOUT["images"], t2, {**t2, "name": "pt", "path": "{patient}_{visit}/pt.nii.gz"}]}
    (found,) = inventory(tree, source(layout=layout))
    assert [r.reason for r in found.rejects] == [Reason.MISSING_FILE]
    assert "'mr'" in found.rejects[0].detail
    assert "also missing_file: no file for the image 'pt'" in found.rejects[0].detail


def test_days_count_from_the_first_study_of_a_patient(tree):
    (found,) = inventory(tree)
    from dataclasses import replace

    def study(patient, day):
        return Inventoried(replace(found.case, patient=patient), (), (), day)

    rows = case_rows([study("p", 130), study("q", 7), study("p", 100), found, Inventoried(None, (), (), 1)])
    table = InventoryTable([lambda names: rows], (), "a key")
    assert table.deciding["days_from_first"].to_pylist() == [30, 0, 0, None]
    assert [t["days_from_first"].to_pylist() for t in table.batches()] == [[30, 0, 0, None]]
