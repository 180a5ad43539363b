"""DICOM pictures and films: pixels of pydicom's and ITK's own readers, MONOCHROME1 once, spacing never invented."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut, convert_color_space

from examples.pictures.write import DX, US_CINE, dicom_picture, pixels
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import dicom, dicom_flat, flat
from transforms.rejected import Rejected
from transforms.store import SourceStore

CR = "1.2.840.10008.5.1.4.1.1.1"
RNG = np.random.default_rng(8)
GREY = RNG.integers(0, 1024, (9, 14), np.uint16)
FILM = RNG.integers(0, 256, (5, 9, 14, 3), np.uint8)


def instance(data, path="a"):
    return dicom.read_instance(data, path=path, file_bytes=len(data))


def read(data):
    header = dicom_flat.read_header(instance(data), name="xray").header
    found = dicom_flat.read(data, header, Limits())
    assert header.axes == found.axes
    assert header.shape == found.array.shape
    return found, header


def ten_bits(**more):
    return dicom_picture(GREY, "DX", "a", DX, BitsStored=10, HighBit=9, **more)


def test_monochrome1_is_mirrored_once_with_its_window():
    plain, _ = read(ten_bits(WindowCenter=300, WindowWidth=101))
    mirrored, _ = read(ten_bits(WindowCenter=300, WindowWidth=101, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(plain.array, GREY)
    np.testing.assert_array_equal(mirrored.array, 1023 - GREY)
    assert plain.window == (249.5, 349.5)
    # What was black is white: the same pixels lie in the window.
    assert mirrored.window == (1023 - 349.5, 1023 - 249.5)
    inside = (plain.array > plain.window[0]) & (plain.array < plain.window[1])
    np.testing.assert_array_equal((mirrored.array > mirrored.window[0]) & (mirrored.array < mirrored.window[1]), inside)


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2.5, -100), (-2, 50)])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_physical_values_survive_the_way_they_are_stored(interpretation, slope, intercept, dtype):
    array = RNG.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (6, 7)).astype(dtype)
    data = dicom_picture(
        array, "CR", "a", CR, RescaleSlope=slope, RescaleIntercept=intercept, PhotometricInterpretation=interpretation
    )
    found, _ = read(data)
    values = array.astype(float)
    if interpretation == "MONOCHROME1":
        values = (np.iinfo(dtype).max + np.iinfo(dtype).min) - values
    np.testing.assert_allclose(found.array * found.scale + found.offset, values * slope + intercept)
    assert found.array.dtype == np.uint16
    assert found.scale > 0


def test_only_pixel_spacing_is_spacing():
    found = dicom_flat.read_header(instance(ten_bits(ImagerPixelSpacing=[0.2, 0.3])), name="xray")
    assert found.header.spacing_xyz_mm is None
    assert [f.code for f in found.findings] == ["spacing_unknown"]
    found = dicom_flat.read_header(
        instance(ten_bits(PixelSpacing=[0.2, 0.3], ImagerPixelSpacing=[0.4, 0.6])), name="xray"
    )
    assert found.header.spacing_xyz_mm == (0.3, 0.2)  # the standard gives rows first
    assert found.findings == ()
    with pytest.raises(Rejected, match="bad_spacing"):
        dicom_flat.read_header(instance(ten_bits(PixelSpacing=[0, 0.3])), name="xray")


def test_a_film_keeps_its_frames_and_their_time():
    found, header = read(dicom_picture(FILM, "US", "a", US_CINE, FrameTime=40))
    assert header.axes == "tyxc"
    np.testing.assert_array_equal(found.array, FILM)
    assert found.frame_time_ms == 40
    found, _ = read(dicom_picture(FILM, "US", "a", US_CINE, CineRate=25))
    assert found.frame_time_ms == 40
    found, header = read(dicom_picture(FILM[..., 0], "XA", "a", US_CINE))
    assert header.axes == "tyx"
    np.testing.assert_array_equal(found.array, FILM[..., 0])


def test_planes_of_colour_are_interleaved():
    planar = np.ascontiguousarray(FILM.transpose(0, 3, 1, 2))
    data = dicom_picture(FILM, "US", "a", US_CINE, PlanarConfiguration=1)
    ds = pydicom.dcmread(io.BytesIO(data))
    ds.PixelData = planar.tobytes()
    buffer = io.BytesIO()
    ds.save_as(buffer)
    np.testing.assert_array_equal(read(buffer.getvalue())[0].array, FILM)


def test_ybr_becomes_rgb():
    data = dicom_picture(FILM[0], "US", "a", US_CINE, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_array_equal(read(data)[0].array, convert_color_space(FILM[0], "YBR_FULL", "RGB"))


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_become_rgb(bits):
    index = RNG.integers(0, 256, (9, 14), np.uint8)
    tables = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    more = {}
    for name, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        more[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        stored = table.astype(np.uint8) if bits == 8 else (table << 8).astype("<u2")
        more[f"{name}PaletteColorLookupTableData"] = stored.tobytes()
    data = dicom_picture(
        index, "US", "a", "1.2.840.10008.5.1.4.1.1.6.1", PhotometricInterpretation="PALETTE COLOR", **more
    )
    found, _ = read(data)
    np.testing.assert_array_equal(found.array, np.moveaxis(tables[:, index], 0, -1).astype(np.uint8))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PhotometricInterpretation": "ARGB"}, Reason.UNSUPPORTED),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, Reason.UNSUPPORTED),
        ({"Rows": 5000}, Reason.TRUNCATED),
    ],
)
def test_what_cannot_be_read_has_its_reason(change, reason):
    with pytest.raises(Rejected) as refused:
        read(dicom_picture(GREY, "DX", "a", DX, **change))
    assert refused.value.reason is reason


def test_limits_hold_before_memory_is_taken():
    data = dicom_picture(FILM, "US", "a", US_CINE)
    header = dicom_flat.read_header(instance(data), name="us").header
    with pytest.raises(Rejected, match=r"5×9×14×3 .*1890 values"):
        dicom_flat.read(data, header, Limits(max_voxels=1000))


def test_pictures_and_slices_of_a_series_are_told_apart():
    pictures = [instance(dicom_picture(GREY, m, m, DX), m) for m in ("DX", "US", "XA", "MG")]
    slices = [instance(dicom_picture(GREY, m, m, "1.2.840.10008.5.1.4.1.1.2"), m) for m in ("CT", "MR")]
    found = dicom_flat.pictures([*slices, *pictures], name="image")
    assert len(found.found.volumes) == 4
    assert found.others == tuple(slices)
    tomosynthesis = dicom_picture(FILM[..., 0], "MG", "t", "1.2.840.10008.5.1.4.1.1.13.1.3")
    assert not dicom_flat.is_picture(instance(tomosynthesis))


def test_what_warns_of_names_in_the_picture_is_a_finding():
    burned = dicom_flat.read_header(instance(ten_bits(BurnedInAnnotation="YES")), name="xray")
    assert "burned_in" in [f.code for f in burned.findings]
    capture = dicom_picture(GREY, "OT", "a", "1.2.840.10008.5.1.4.1.1.7")
    assert [f.code for f in dicom_flat.read_header(instance(capture), name="ot").findings] == ["burned_in"]


ROOT = Path(os.environ.get("MDFP_TESTDATA", "/nowhere"))
REAL = (
    "dicom/pydicom/US/examples_ybr_color.dcm", "dicom/pydicom/US/examples_palette.dcm",
    "dicom/pydicom/US/examples_rgb_color.dcm", "dicom/pydicom/NM/JPEG2000.dcm", "dicom/pydicom/SC/SC_rgb_small_odd.dcm",
    "dicom/highdicom/DX/dx_image.dcm", "dicom/nema-wg04/CR/RG3_JLSL",
)  # fmt: skip


@pytest.mark.real
@pytest.mark.skipif(not ROOT.is_dir(), reason="MDFP_TESTDATA does not name the folder of real files")
@pytest.mark.parametrize("path", REAL)
def test_real_files_are_as_the_manifest_says(path):
    with (ROOT / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        row = next(r for r in csv.DictReader(file) if r["path"] == path)
    found, header = read((ROOT / path).read_bytes())
    columns, rows, frames = (int(n) for n in row["native_shape"].split("x"))
    assert (header.shape[header.axes.index("x")], header.shape[header.axes.index("y")]) == (columns, rows)
    assert (header.shape[0] if "t" in header.axes else 1) == frames
    values = found.array * found.scale + found.offset
    # GDCM, which made the manifest, mirrors MONOCHROME1 as we do; of YBR it rounds otherwise than pydicom.
    assert values.min() == pytest.approx(float(row["min"]), abs=1)
    assert values.max() == pytest.approx(float(row["max"]), abs=1)
    assert values.mean() == pytest.approx(float(row["mean"]), abs=0.02 if "YBR" in row["interesting"] else 1e-3)
    if row["native_spacing_mm"] == "none in file":
        assert header.spacing_xyz_mm is None
    else:
        x, y = (float(n) for n in row["native_spacing_mm"].split("x")[:2])
        assert header.spacing_xyz_mm == pytest.approx((x, y), abs=1e-3)


@pytest.mark.real
@pytest.mark.skipif(not ROOT.is_dir(), reason="MDFP_TESTDATA does not name the folder of real files")
def test_real_palette_is_pydicoms():
    path = ROOT / "dicom/pydicom/US/examples_palette.dcm"
    ds = pydicom.dcmread(path)
    np.testing.assert_array_equal(read(path.read_bytes())[0].array, apply_color_lut(ds.pixel_array, ds) >> 8)


@pytest.mark.real
@pytest.mark.skipif(not ROOT.is_dir(), reason="MDFP_TESTDATA does not name the folder of real files")
@pytest.mark.parametrize("folder", ["png", "jpg"])
def test_real_raster_files_are_as_the_manifest_says(folder):
    from transforms.read import raster

    with (ROOT / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["path"].startswith(f"{folder}/")]
    assert rows
    for row in rows:
        array = raster.read((ROOT / row["path"]).read_bytes(), Limits()).array
        assert "x".join(str(n) for n in array.shape[1::-1]) == row["native_shape"], json.dumps(row)
        assert (array.min(), array.max()) == (float(row["min"]), float(row["max"]))
        assert array.mean() == pytest.approx(float(row["mean"]), abs=1e-3)


class TestStrippedHeaders:
    """A file that a manifest names as a picture may lack the headers of a series; a slice is never taken for one."""

    def stripped(self, **more):
        content = dicom_picture(pixels("s", 12, 10, 1, 4095), "CR", "s", CR, BitsStored=12, HighBit=11)
        read = pydicom.dcmread(io.BytesIO(content))
        for element in list(read):
            if element.tag.group < 0x0028:
                del read[element.tag]
        for keyword, value in more.items():
            setattr(read, keyword, value)
        buffer = io.BytesIO()
        read.save_as(buffer)
        return buffer.getvalue()

    def header(self, tmp_path, content):
        (tmp_path / "a.dicom").write_bytes(content)
        store = SourceStore(str(tmp_path))
        (o,) = store.list()
        return flat.read_header(o, store, name="xray", limits=Limits())

    def test_the_pixels_are_read(self, tmp_path):
        content = self.stripped()
        header = self.header(tmp_path, content).header
        read = dicom_flat.read(content, header, Limits())
        assert np.array_equal(read.array, pydicom.dcmread(io.BytesIO(content)).pixel_array)

    def test_as_part_of_a_series_it_is_unreadable(self):
        content = self.stripped()
        with pytest.raises(Rejected) as caught:
            dicom.read_instance(content, path="a", file_bytes=len(content))
        assert caught.value.reason is Reason.UNREADABLE

    @pytest.mark.parametrize(
        "more",
        [
            {"Modality": "CT"},
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"},
            {"ImagePositionPatient": [0, 0, 1]},
        ],
    )
    def test_what_may_be_a_slice_is_no_picture(self, tmp_path, more):
        with pytest.raises(Rejected) as caught:
            self.header(tmp_path, self.stripped(**more))
        assert caught.value.reason is Reason.UNSUPPORTED
