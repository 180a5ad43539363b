"""What the truth says, against voxels read by nibabel and SimpleITK."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from examples.phantom import CaseTruth, Truth, manifests
from mdfp.labels import State

LESSER_OF_TWO = 5000
"""mm³; the volume of a smaller structure depends on where voxels happen to fall."""


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (x, y, z) and the affine to RAS, by nibabel or SimpleITK."""
    if path.name.endswith(".nii.gz"):
        image = nibabel.load(path)
        return np.asarray(image.dataobj), image.affine
    itk = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(itk.GetDirection()).reshape(3, 3) * np.array(itk.GetSpacing())
    affine[:3, 3] = itk.GetOrigin()
    return sitk.GetArrayFromImage(itk).transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def drawn(root: Path, case: CaseTruth) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(structure, mask, affine) of everything that the label files of a sound case hold, by the source's manifest."""
    tables = manifests.load(case.source).labels
    for path in case.label_paths:
        array, affine = read(root / case.source / path)
        if case.source == "phantom-ct-structures":
            stem = Path(path).name.removesuffix(".nii.gz")
            yield tables["labels"].structures[stem], array == 1, affine
            continue
        named = path.split("/")[0].removeprefix("labels-")
        table = tables[named] if case.source == "phantom-mr" else next(iter(tables.values()))
        assert set(np.unique(array)) <= set(table.values)
        for value, structure in table.values.items():
            if structure != "background":
                yield structure, array == value, affine


def labelled(truth: Truth) -> list[CaseTruth]:
    return [c for c in truth.cases if c.label_paths and c.reason is None]


def centroid(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


def test_analytic_volumes_and_centroids_are_those_of_the_files(full):
    root, truth = full
    compared = 0
    for case in labelled(truth):
        for structure, mask, affine in drawn(root, case):
            expected = case.structure(structure)
            if expected.state != State.PRESENT or expected.vanishes or expected.mm3 < LESSER_OF_TWO:
                continue
            # One mask a structure: the liver's file holds its lesion too.
            whole = case.source == "phantom-ct-structures"
            mm3 = mask.sum() * abs(np.linalg.det(affine[:3, :3]))
            assert mm3 == pytest.approx(expected.whole_mm3 if whole else expected.mm3, rel=0.01), (case.name, structure)
            if not (whole and expected.whole_mm3 != expected.mm3):
                far = np.linalg.norm(centroid(mask, affine) - expected.centroid_ras_mm)
                assert far < 0.35, (case.name, structure, far)
            compared += 1
    assert compared > 80


def test_states_are_what_the_files_say(small):
    root, truth = small
    for case in labelled(truth):
        found = {structure: bool(mask.any()) for structure, mask, _ in drawn(root, case)}
        for expected in case.structures:
            if expected.structure in found:
                state = State.PRESENT if found[expected.structure] else State.ABSENT
            elif expected.structure == "kidney" and "kidney_left" in found:
                state = State.PRESENT if found["kidney_left"] or found["kidney_right"] else State.ABSENT
                assert (expected.mm3, expected.centroid_ras_mm) == (0.0, None)
            elif "kidney" in found and expected.structure.startswith("kidney_"):
                state = State.MERGED
            else:
                state = State.UNKNOWN
            assert expected.state == state, (case.source, case.name, expected)
    states = {s.state for case in truth.cases for s in case.structures}
    assert states == {State.PRESENT, State.ABSENT, State.UNKNOWN, State.MERGED}


def test_nothing_is_known_of_cases_without_labels(small):
    _, truth = small
    unlabelled = [c for c in truth.cases if not c.label_paths]
    assert {c.source for c in unlabelled} == {"phantom-ct-dicom", "phantom-ct-msd"}
    assert all(s.state == State.UNKNOWN for c in unlabelled for s in c.structures)


def test_left_is_left_in_every_case(small):
    root, truth = small
    seen = set()
    for case in labelled(truth):
        for structure, mask, affine in drawn(root, case):
            if structure.endswith(("_left", "_right")) and mask.any() and case.name != "s0006":
                x = centroid(mask, affine)[0]
                assert (x < 0) == structure.endswith("_left"), (case.source, case.name, structure, x)
                seen.add(case.source)
    assert len(seen) == 4


def test_the_rewritten_copy_has_its_organs_on_the_same_sides_of_each_other(small):
    root, truth = small
    at = {s: centroid(m, a)[0] for s, m, a in drawn(root, truth.case("phantom-ct-structures", "s0006"))}
    assert at["kidney_left"] < at["kidney_right"]
    assert at["spleen"] < at["liver"]


def test_voxels_hold_the_number_of_their_structure(full):
    root, truth = full
    compared = 0
    for case in labelled(truth):
        if case.source == "phantom-ct-dicom":
            continue
        image, _ = read(root / case.source / case.image_paths[0])
        inner = {s: m for s, m, _ in drawn(root, case) if m.sum() > 2000 and s != "liver"}
        for structure, mask in inner.items():
            expected = case.structure(structure).value
            assert float(image[mask].mean()) == pytest.approx(expected, abs=4), (case.name, structure)
            compared += 1
    assert compared > 30


def test_images_have_the_shape_spacing_and_orientation_that_the_truth_says(small):
    root, truth = small
    for case in truth.cases:
        if case.source == "phantom-ct-dicom" or case.reason in ("corrupt_gzip", "bad_spacing"):
            continue
        image, affine = read(root / case.source / case.image_paths[0])
        assert image.shape == case.shape_xyz
        assert np.linalg.norm(affine[:3, :3], axis=0) == pytest.approx(case.spacing_xyz_mm, abs=1e-5)
        assert "".join(nibabel.aff2axcodes(affine)) == case.orientation
    assert len({c.orientation for c in truth.cases}) >= 7


def test_a_lesion_of_one_voxel_is_one_voxel_and_lies_in_the_liver(small):
    root, truth = small
    case = truth.case("phantom-ct-structures", "s0003")
    masks = {s: m for s, m, _ in drawn(root, case)}
    assert masks["liver_tumour"].sum() == 1
    assert masks["liver"][masks["liver_tumour"]].all()
    assert case.structure("liver_tumour").vanishes
    assert case.structure("liver_tumour").mm3 == pytest.approx(math.prod(case.spacing_xyz_mm), rel=0.01)


def test_a_lesion_is_in_the_mask_of_its_organ_and_a_gallbladder_half(full):
    root, truth = full
    masks = {s: m for s, m, _ in drawn(root, truth.case("phantom-ct-structures", "s0002"))}
    assert masks["liver"][masks["liver_tumour"]].all()
    masks = {s: m for s, m, _ in drawn(root, truth.case("phantom-ct-structures", "s0005"))}
    assert 0.2 < masks["liver"][masks["gallbladder"]].mean() < 0.6


def test_people_who_are_one_share_a_name_and_a_body(small):
    _, truth = small
    in_dicom = truth.case("phantom-ct-dicom", "s0001_SE02")
    in_structures = truth.case("phantom-ct-structures", "s0001")
    assert in_dicom.person == in_structures.person
    assert in_dicom.structure("aorta").mm3 == in_structures.structure("aorta").mm3
    assert truth.case("phantom-mr", "s0001").person != in_structures.person


def test_case_of_finds_the_case_of_an_image_object(small):
    _, truth = small
    case = truth.case("phantom-ct-dicom", "d0102_SE02")
    assert truth.case_of("phantom-ct-dicom", case.image_paths[3]) is case
    with pytest.raises(KeyError, match="is no case's image"):
        truth.case_of("phantom-ct-dicom", "dicom/nobody")
