from __future__ import annotations

import importlib.util
import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from mdfp.convert import to_monai, to_nibabel, to_sitk, to_torchio
from mdfp.errors import MissingExtraError, UsageError
from mdfp.export import export_nifti
from mdfp.geometry import LPS_TO_RAS, apply

SHAPE = (5, 7, 11)


@pytest.fixture(params=["straight", "oblique", "left-handed"])
def affine(request, golden):
    a = golden.oblique()
    if request.param == "straight":
        a = np.diag([1.5, 1.25, 2.0, 1.0])
        a[:3, 3] = (-30, 12, 5)
    if request.param == "left-handed":
        a[:, 0] = -a[:, 0]
    return a


@pytest.fixture
def volume():
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def test_nibabel_agrees_on_every_voxel(volume, affine, tmp_path):
    image = to_nibabel(volume, affine)
    nib.save(image, tmp_path / "x.nii.gz")
    back = nib.load(tmp_path / "x.nii.gz")
    assert back.shape == SHAPE[::-1]
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)
    np.testing.assert_allclose(back.get_qform(), affine, atol=1e-4)
    assert np.asarray(back.dataobj)[10, 2, 3] == volume[3, 2, 10]
    assert back.get_data_dtype() == np.int16


def test_sitk_agrees_on_every_voxel_in_lps(volume, affine):
    image = to_sitk(volume, affine)
    assert image.GetSize() == SHAPE[::-1]
    for index in ((0, 0, 0), (10, 2, 3), (4, 6, 1)):
        ras = apply(affine, index)
        lps = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(lps, (LPS_TO_RAS[:3, :3] * ras).sum(axis=1), atol=1e-9)
        assert image.GetPixel(*index) == volume[index[2], index[1], index[0]]


def test_nifti_written_by_sitk_is_where_nibabel_says(volume, affine, tmp_path):
    SimpleITK.WriteImage(to_sitk(volume, affine), str(tmp_path / "x.nii.gz"))
    np.testing.assert_allclose(nib.load(tmp_path / "x.nii.gz").affine, affine, atol=1e-4)


def test_a_sheared_volume_cannot_be_an_itk_image(volume, affine):
    sheared = affine.copy()
    sheared[:3, 1] += 0.1 * sheared[:3, 0]
    with pytest.raises(UsageError, match="no sheared volumes"):
        to_sitk(volume, sheared)
    np.testing.assert_allclose(to_nibabel(volume, sheared).affine, sheared)


def test_what_is_no_volume_is_refused(volume):
    with pytest.raises(UsageError, match="no affine"):
        to_sitk(volume, None)
    with pytest.raises(UsageError, match=r"expected a volume \(z, y, x\), .* found shape \(7, 11\)"):
        to_nibabel(volume[0], np.eye(4))


@pytest.fixture
def over_time(volume):
    return np.stack([volume, volume + 7, volume * 2]).astype(np.int16)


def test_nibabel_has_time_last(over_time, affine, tmp_path):
    nib.save(to_nibabel(over_time, affine, frame_time_ms=40.0), tmp_path / "x.nii")
    back = nib.load(tmp_path / "x.nii")
    np.testing.assert_array_equal(np.asarray(back.dataobj), over_time.transpose(3, 2, 1, 0))
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)
    np.testing.assert_allclose(back.get_qform(), affine, atol=1e-4)
    assert (back.header.get_zooms()[3], back.header.get_xyzt_units()) == (40.0, ("mm", "msec"))
    assert to_nibabel(over_time, affine).header.get_xyzt_units() == ("mm", "unknown")


def test_sitk_has_time_last_too(over_time, affine, tmp_path):
    image = to_sitk(over_time, affine)
    assert image.GetSize() == (*SHAPE[::-1], 3)
    assert image.GetPixel(10, 2, 3, 1) == over_time[1, 3, 2, 10]
    assert to_sitk(over_time[1], affine).GetOrigin() == image.GetOrigin()[:3]
    SimpleITK.WriteImage(image, str(tmp_path / "x.nii.gz"))
    back = nib.load(tmp_path / "x.nii.gz")
    np.testing.assert_allclose(back.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(back.dataobj), over_time.T)


@pytest.mark.parametrize(("convert", "module"), [(to_monai, "monai"), (to_torchio, "torchio")])
def test_time_points_are_channels(convert, module, over_time):
    pytest.importorskip(module)
    result = convert(over_time, np.diag([1.5, 1.25, 2.0, 1.0]))
    np.testing.assert_array_equal(np.asarray(result.data), over_time.transpose(0, 3, 2, 1))


@pytest.mark.parametrize(("convert", "module"), [(to_monai, "monai"), (to_torchio, "torchio")])
def test_absent_libraries_are_named(convert, module, volume):
    if importlib.util.find_spec(module) is not None:
        result = convert(volume, np.diag([1.5, 1.25, 2.0, 1.0]))
        assert tuple(result.shape) == (1, *SHAPE[::-1])
        np.testing.assert_allclose(np.asarray(result.affine), np.diag([1.5, 1.25, 2.0, 1.0]))
        return
    with pytest.raises(MissingExtraError, match=f"pip install {module}"):
        convert(volume, np.eye(4))


def test_an_exported_sample_reads_as_physical_values_where_it_was(corpus, written, tmp_path):
    for key in ("alpha-01", "gamma-00"):
        sample = corpus.sample(key)
        files = export_nifti(sample, tmp_path / key)
        name = sample.record.images[0].name
        image = nib.load(tmp_path / key / f"{key}.image.{name}.nii.gz")
        np.testing.assert_allclose(image.affine, sample.affine(), atol=1e-5)
        np.testing.assert_allclose(image.get_fdata(dtype=np.float32).T, sample.image(), rtol=1e-6)
        np.testing.assert_array_equal(image.dataobj.get_unscaled().T, written.samples[key].image)
        by_itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / key / f"{key}.image.{name}.nii.gz")))
        np.testing.assert_allclose(by_itk, sample.image(), rtol=1e-6)
        label = nib.load(tmp_path / key / f"{key}.label.base.nii.gz")
        np.testing.assert_array_equal(np.asarray(label.dataobj).T, written.samples[key].layers["base"])
        side = json.loads(files[-1].read_text())
        assert side["values"]["5"] == "liver"
        assert side["sample"]["key"] == key


def test_export_writes_over_nothing_without_force(corpus, tmp_path):
    sample = corpus.sample("delta-00")
    export_nifti(sample, tmp_path)
    with pytest.raises(UsageError, match="there already"):
        export_nifti(sample, tmp_path)
    export_nifti(sample, tmp_path, force=True)


def test_export_in_a_label_space_is_one_class_mask(corpus, tmp_path):
    files = export_nifti(corpus.sample("beta-00"), tmp_path, space=["kidney_left", "kidney"])
    assert [f.name for f in files] == ["beta-00.image.ct.nii.gz", "beta-00.classes.ct.nii.gz", "beta-00.json"]
    mask = np.asarray(nib.load(files[1]).dataobj)
    assert set(np.unique(mask)) == {0, 255}
    assert json.loads(files[2].read_text())["values"] == {"1": "kidney_left", "2": "kidney", "255": "cannot be told"}
