"""With resampling off and intensity native, what is stored is what nibabel, SimpleITK and pydicom read, turned to RAS."""

from __future__ import annotations

import dataclasses
import gzip
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
import yaml

import mdfp
from examples.phantom import manifests
from examples.phantom.manifests import FOLDER

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def native(build_corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    shutil.copytree(FOLDER, folder / "sources")
    (folder / "recipes").mkdir()
    content = yaml.safe_load((FOLDER.parent / "recipes" / "demo.yaml").read_text())
    content |= {"geometry": {"spacing_mm": "native"}, "intensity": "native"}
    recipe = folder / "recipes" / "native.yaml"
    recipe.write_text(yaml.safe_dump(content))
    return build_corpus(folder / "corpus", recipe=recipe)


def canonical(voxels_xyz, affine) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (z, y, x) and affine with axes closest to R, A, S, by nibabel."""
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels_xyz, affine))
    return np.asarray(turned.dataobj).transpose(2, 1, 0), turned.affine


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Physical values (x, y, z) and the affine to RAS, as stored."""
    if path.name.endswith((".nii", ".nii.gz")):
        image = nibabel.load(path)
        return np.asarray(image.dataobj), image.affine
    itk = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(itk.GetDirection()).reshape(3, 3) * np.array(itk.GetSpacing())
    affine[:3, 3] = itk.GetOrigin()
    return sitk.GetArrayFromImage(itk).transpose(2, 1, 0), TO_RAS @ affine


def read_series(folder: Path, paths) -> tuple[np.ndarray, np.ndarray]:
    """The same of a series, by pydicom, from its slices in anatomical order; padding becomes -1024 HU."""
    slices = [pydicom.dcmread(folder / p) for p in paths]
    first, last = slices[0], slices[-1]
    columns, rows = np.array(first.ImageOrientationPatient[:3]), np.array(first.ImageOrientationPatient[3:])
    positions = [np.array(s.ImagePositionPatient, dtype=float) for s in (first, last)]
    affine = np.eye(4)
    affine[:3, 0] = columns * float(first.PixelSpacing[1])
    affine[:3, 1] = rows * float(first.PixelSpacing[0])
    affine[:3, 2] = (positions[1] - positions[0]) / (len(slices) - 1)
    affine[:3, 3] = positions[0]
    stored = np.stack([s.pixel_array for s in slices]).astype(np.int32)
    hu = stored * int(first.RescaleSlope) + int(first.RescaleIntercept)
    if "PixelPaddingValue" in first:
        hu[stored == first.PixelPaddingValue] = -1024
    return hu.transpose(2, 1, 0), TO_RAS @ affine


def test_images_are_exactly_what_other_readers_read(native):
    opened = mdfp.open(str(native.folder))
    formats = set()
    for record in native.samples:
        truth = native.truth_of(record.case_id)
        folder = native.bucket.folder / truth.source
        if truth.source == "phantom-ct-dicom":
            expected, affine = canonical(*read_series(folder, truth.image_paths))
        else:
            expected, affine = canonical(*read(folder / truth.image_paths[0]))
        sample = opened.sample(record.key)
        (image,) = record.images
        stored = sample.image(values="stored")
        np.testing.assert_array_equal(stored * np.float64(image.scale) + image.offset, expected, err_msg=record.key)
        np.testing.assert_allclose(sample.affine(), affine, atol=1e-4)
        formats.add((truth.source, truth.image_paths[0].partition(".")[2], stored.dtype.name))
    assert {source for source, *_ in formats} == set(native.plan.sources)
    assert {dtype for *_, dtype in formats} >= {"int16", "uint16", "float32"}


def test_native_keeps_the_number_type_of_a_file_without_a_scale(native):
    for record in native.samples:
        truth = native.truth_of(record.case_id)
        path = native.bucket.folder / truth.source / truth.image_paths[0]
        if (
            path.name.endswith(".nii.gz")
            and nibabel.load(path).dataobj.slope == 1
            and not nibabel.load(path).dataobj.inter
        ):
            assert record.images[0].dtype == nibabel.load(path).get_data_dtype().name


def test_labels_are_exactly_what_other_readers_read(native):
    opened = mdfp.open(str(native.folder))
    compared = 0
    for record in native.samples:
        truth = native.truth_of(record.case_id)
        masks = dict(drawn(native.bucket.folder / truth.source, truth))
        sample = opened.sample(record.key)
        layers = {label.layer: sample.label(label.layer) for label in record.labels}
        for s in record.structures:
            if s.structure not in masks or s.layer is None:
                continue
            expected = masks[s.structure]
            if s.structure == "liver" and "liver_tumour" in masks:
                expected = expected & ~masks["liver_tumour"]  # what lies inside is the more specific
            np.testing.assert_array_equal(layers[s.layer] == s.value, expected, err_msg=f"{record.key} {s.structure}")
            assert s.native_voxels == s.stored_voxels == expected.sum()
            compared += 1
    assert compared > 100


def drawn(folder: Path, truth):
    """(structure, canonical mask) of every label file, by the source's manifest."""
    tables = manifests.load(truth.source).labels
    for path in truth.label_paths:
        voxels, affine = read(folder / path)
        array, _ = canonical(voxels, affine)
        if truth.source == "phantom-ct-structures":
            yield tables["labels"].structures[Path(path).name.removesuffix(".nii.gz")], array == 1
            continue
        named = path.split("/")[0].removeprefix("labels-")
        table = tables[named] if truth.source == "phantom-mr" else next(iter(tables.values()))
        for value, structure in table.values.items():
            if structure != "background":
                yield structure, array == value


def test_turning_the_files_changes_no_voxel_and_no_label(build_corpus, corpus, bucket, tmp_path):
    """The same scans written in other orientations: axes swapped and reversed on disk, positions as they were."""
    turned = type(bucket)(tmp_path / "bucket", bucket.truth)
    shutil.copytree(bucket.folder, turned.folder)
    for number, case in enumerate(c for c in bucket.truth.cases if c.reason is None):
        for path in (*case.image_paths, *case.label_paths):
            if not path.endswith(".dcm"):
                turn(turned.folder / case.source / path, number)
    for path in sorted((turned.folder / "phantom-ct-dicom").rglob("*.dcm")):  # slices sent twice are no case's paths
        slice_from_the_other_side(path)
    built = build_corpus(tmp_path / "corpus", source=turned)
    before, after = ({s.key: s for s in c.samples} for c in (corpus, built))
    assert set(before) == set(after)
    for key in before:
        a, b = (members(c.folder, s) for c, s in ((corpus, before[key]), (built, after[key])))
        assert a == b, key
        old, new = before[key].images[0], after[key].images[0]
        assert old.content_hash == new.content_hash
        assert old.stored == dataclasses.replace(new.stored, affine_ras=old.stored.affine_ras)
        np.testing.assert_allclose(new.stored.affine_ras, old.stored.affine_ras, atol=1e-4)  # a header's float32
        assert [s.stored_voxels for s in before[key].structures] == [s.stored_voxels for s in after[key].structures]


def members(folder, sample):
    content = (folder / sample.shard).read_bytes()
    return {m.name: content[m.offset : m.offset + m.bytes] for m in sample.members if m.kind != "json"}


AXES = [(0, 1, 2), (2, 0, 1), (1, 0, 2), (0, 2, 1)]
FLIPS = [(-1, 1, 1), (1, -1, -1), (-1, -1, 1), (-1, -1, -1), (1, 1, -1)]


def turn(path: Path, number: int) -> None:
    """Write a file anew with its axes in another order and direction."""
    axes, flips = AXES[number % len(AXES)], FLIPS[number % len(FLIPS)]
    if path.name.endswith(".nii.gz"):
        image = nibabel.load(path)
        stored = nibabel.Nifti1Image(image.dataobj.get_unscaled(), image.affine, image.header)
        turned = stored.as_reoriented(np.array(list(zip(axes, flips, strict=True))))
        turned.header.set_slope_inter(image.dataobj.slope, image.dataobj.inter)
        path.write_bytes(gzip.compress(unscaled_nifti(turned), 1, mtime=0))
    else:
        image = sitk.PermuteAxes(sitk.ReadImage(str(path)), [list(axes).index(i) for i in range(3)])
        sitk.WriteImage(sitk.Flip(image, [f < 0 for f in flips]), str(path), useCompression=number % 2 == 0)


def slice_from_the_other_side(path: Path) -> None:
    """A DICOM slice with its columns counted from the other end."""
    ds = pydicom.dcmread(path)
    across, down = ds.ImageOrientationPatient[:3], ds.ImageOrientationPatient[3:]
    width = (ds.Columns - 1) * float(ds.PixelSpacing[1])
    ds.ImagePositionPatient = [round(p + a * width, 6) for p, a in zip(ds.ImagePositionPatient, across, strict=True)]
    ds.ImageOrientationPatient = [*(-a for a in across), *down]
    ds.PixelData = ds.pixel_array[:, ::-1].tobytes()
    ds.save_as(path)


def unscaled_nifti(image) -> bytes:
    """A NIfTI file whose voxels are stored as they are, whatever scale its header names."""
    header = image.header.copy()
    header["vox_offset"] = 352
    return header.binaryblock + bytes(4) + np.asarray(image.dataobj).tobytes(order="F")
