"""NIfTI: the same voxels at the same places as nibabel, and a refusal where nibabel would invent."""

from __future__ import annotations

import gzip
import io
import struct
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import nifti
from transforms.rejected import Rejected

LIMITS = Limits()
SHAPE = (5, 4, 3)  # x, y, z
OBLIQUE = np.array([[-0.8, 0.1, 0.2, 10], [0.1, 0.9, -0.3, -20], [0.05, 0.2, 2.9, 30.5], [0, 0, 0, 1.0]])


def orthogonal(spacing: tuple[float, float, float] = (0.8, 0.9, 2.5)) -> np.ndarray:
    """An oblique affine with right angles."""
    c, s = 0.96, 0.28
    return geometry.compose([[-c, s, 0], [s, c, 0], [0, 0, 1]], spacing, (10.0, -20.0, 30.5))


def file_bytes(
    array: np.ndarray, *, kind: Any = nib.Nifti1Image, affine: np.ndarray | None = None, codes: tuple[int, int] = (1, 1),
    order: str = "<", change: Any = None, slope: tuple[float, float] | None = None,
) -> bytes:  # fmt: skip
    """A file as nibabel writes it. `change` edits the header's bytes."""
    affine = orthogonal() if affine is None else affine
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype.newbyteorder(order))
    image = kind(array, None, header)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine if codes[0] else None, codes[0])
    image.set_sform(affine if codes[1] else None, codes[1])
    if slope:
        image.header.set_slope_inter(*slope)
    stream = io.BytesIO()
    image.to_stream(stream)
    content = bytearray(stream.getvalue())
    if change:
        change(content)
    return bytes(content)


def voxels(dtype: str = "i2", shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 100).reshape(shape, order="F").astype(dtype)


def put(offset: int, fmt: str, *values: Any) -> Any:
    return lambda content: struct.pack_into(fmt, content, offset, *values)


def header_of(data: bytes, limits: Limits = LIMITS) -> Any:
    return nifti.header(data[: nifti.HEADER_PREFIX_BYTES], name="ct", file_bytes=len(data), limits=limits)


def refused(data: bytes, limits: Limits = LIMITS) -> Rejected:
    """The verdict of both header and read, which must agree."""
    with pytest.raises(Rejected) as of_header:
        header_of(data, limits)
    with pytest.raises(Rejected) as of_read:
        nifti.read(data, limits=limits)
    assert of_header.value.reason is of_read.value.reason
    return of_header.value


@settings(deadline=None, max_examples=60)
@given(
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]),
    shape=st.tuples(*[st.integers(2, 6)] * 3),
    order=st.sampled_from("<>"),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    codes=st.sampled_from([(1, 0), (0, 2), (1, 1), (3, 4)]),
    compressed=st.booleans(),
)
def test_voxels_and_affine_equal_nibabels(
    dtype: str, shape: tuple[int, ...], order: str, kind: Any, codes: tuple[int, int], compressed: bool
) -> None:
    data = file_bytes(voxels(dtype, shape), kind=kind, codes=codes, order=order)
    other = kind.from_bytes(data)
    data = gzip.compress(data) if compressed else data
    volume, header = nifti.read(data, limits=LIMITS), header_of(data).header
    assert volume.array_zyx.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.array_zyx.T, np.asarray(other.dataobj))
    # Quaternions of a NIfTI-1 are single precision: nibabel and we round differently in the last bits.
    np.testing.assert_allclose(volume.affine_ras, other.affine, atol=1e-5)
    assert header.shape == volume.array_zyx.shape == shape[::-1]
    assert header.orientation == "".join(nib.aff2axcodes(other.affine))
    assert header.dtype == np.dtype(dtype).name
    assert header.bytes == len(data)


def test_the_array_is_a_view_of_the_inflated_buffer() -> None:
    plain = file_bytes(voxels())
    assert not nifti.read(plain, limits=LIMITS).array_zyx.flags.owndata
    assert not nifti.read(gzip.compress(plain), limits=LIMITS).array_zyx.flags.owndata


@pytest.mark.parametrize(
    ("slope", "expected"), [((2.5, -3.0), (2.5, -3.0)), ((float("nan"), 0.0), (1.0, 0.0)), ((0.0, 5.0), (1.0, 0.0))]
)
def test_scaling_is_kept_apart_and_a_slope_of_zero_or_nan_is_none(slope: Any, expected: Any) -> None:
    data = file_bytes(voxels(), change=put(112, "<2f", *slope))
    volume = nifti.read(data, limits=LIMITS)
    assert (volume.scale, volume.offset) == expected == (header_of(data).header.scale, header_of(data).header.offset)
    np.testing.assert_array_equal(
        volume.array_zyx.T * volume.scale + volume.offset, nib.Nifti1Image.from_bytes(data).get_fdata()
    )


def test_the_sform_wins_and_a_different_qform_is_a_finding_with_the_distance() -> None:
    data = file_bytes(voxels(), codes=(1, 4), change=put(268, "<f", 17.0))  # qoffset_x: was 10
    assert nifti.read(data, limits=LIMITS).affine_ras[0, 3] == 10
    (finding,) = header_of(data).findings
    assert finding.code == "qform_differs"
    assert "corner 7.000 mm apart" in finding.detail


def test_the_qform_is_used_where_there_is_no_sform() -> None:
    data = file_bytes(voxels(), codes=(1, 0), change=put(280, "<f", 99.0))
    np.testing.assert_allclose(nifti.read(data, limits=LIMITS).affine_ras, orthogonal(), atol=1e-5)


def test_a_left_handed_qform_and_half_turns_agree_with_nibabel() -> None:
    for diagonal in ((-1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1), (1, 1, -1), (-1, -1, -1)):
        affine = orthogonal((1.1, 2.2, 3.3)) @ np.diag([*diagonal, 1])
        data = file_bytes(voxels(), affine=affine, codes=(1, 0))
        np.testing.assert_allclose(nifti.read(data, limits=LIMITS).affine_ras, affine, atol=1e-5)


def test_no_usable_form_is_no_geometry_and_nothing_is_invented() -> None:
    assert refused(file_bytes(voxels(), codes=(0, 0))).reason is Reason.NO_GEOMETRY


@pytest.mark.parametrize("value", [0.0, -0.9, float("nan"), float("inf")])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_spacing_that_is_not_positive_is_refused_even_with_a_sound_sform(value: float, axis: int) -> None:
    assert refused(file_bytes(voxels(), change=put(76 + 4 * axis, "<f", value))).reason is Reason.BAD_SPACING


def test_affines_that_are_no_grid_are_refused_each_for_its_reason() -> None:
    sheared, flat, nan, pointless = orthogonal(), orthogonal(), orthogonal(), orthogonal()
    sheared[:3, 2] += 0.02 * sheared[:3, 0]
    flat[:3, 2] = flat[:3, 0] + flat[:3, 1]
    nan[1, 1] = np.nan
    pointless[:3, 1] = 0
    for affine, reason in (
        (sheared, Reason.SHEARED), (flat, Reason.BAD_AFFINE), (nan, Reason.BAD_AFFINE), (pointless, Reason.BAD_SPACING),
    ):  # fmt: skip
        data = file_bytes(voxels(), codes=(0, 1), change=put(280, "<12f", *affine[:3].ravel()))
        assert refused(data).reason is reason
    assert "0.3" in refused(file_bytes(voxels(), codes=(0, 1), change=put(280, "<12f", *sheared[:3].ravel()))).detail


def test_a_quaternion_that_is_no_rotation_is_refused_only_where_it_is_used() -> None:
    broken = put(256, "<3f", 3.0, 0.0, 0.0)
    assert refused(file_bytes(voxels(), codes=(1, 0), change=broken)).reason is Reason.BAD_AFFINE
    (finding,) = header_of(file_bytes(voxels(), codes=(1, 1), change=broken)).findings
    assert finding.code == "qform_differs"


@pytest.mark.parametrize(
    ("unit", "factor", "code"), [(1, 1000.0, "unit_converted"), (3, 0.001, "unit_converted"), (0, 1.0, "unit_unstated")]
)
def test_other_units_become_mm_and_are_a_finding(unit: int, factor: float, code: str) -> None:
    read = header_of(file_bytes(voxels(), change=put(123, "<B", unit | 8)))
    assert read.header.spacing_xyz_mm == pytest.approx([0.8 * factor, 0.9 * factor, 2.5 * factor], rel=1e-6)
    assert [f.code for f in read.findings] == [code]


def test_a_pixdim_that_contradicts_the_sform_is_a_finding() -> None:
    (finding,) = header_of(file_bytes(voxels(), codes=(1, 1), change=put(80, "<f", 0.5))).findings[:1]
    assert finding.code == "pixdim_differs"
    assert "0.5×0.9×2.5 mm, the sform 0.8×0.9×2.5" in finding.detail


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((5, 4), Reason.NOT_A_VOLUME),
        ((5, 4, 1), Reason.NOT_A_VOLUME),
        ((5, 4, 3, 2), Reason.TEMPORAL),
        ((5, 4, 3, 1, 3), Reason.NOT_A_VOLUME),
        ((5, 4, 3, 2, 3), Reason.NOT_A_VOLUME),
    ],
)
def test_what_is_no_single_volume_is_refused(shape: tuple[int, ...], reason: Reason) -> None:
    assert refused(file_bytes(voxels(shape=shape))).reason is reason


def test_further_axes_of_one_are_dropped() -> None:
    assert nifti.read(file_bytes(voxels(shape=(5, 4, 3, 1))), limits=LIMITS).shape_zyx == (3, 4, 5)


@pytest.mark.parametrize("code", [1, 32, 128, 1536, 1792, 2048, 2304, 77])
def test_colour_complex_and_wide_numbers_are_unsupported(code: int) -> None:
    assert refused(file_bytes(voxels(), change=put(70, "<h", code))).reason is Reason.UNSUPPORTED


def test_a_file_with_too_few_voxels_is_truncated() -> None:
    data = file_bytes(voxels())
    assert "expected 472 bytes of header and voxels, found 471" in refused(data[:-1]).detail
    with pytest.raises(Rejected, match="truncated"):
        nifti.read(gzip.compress(data[:-1]), limits=LIMITS)


def test_a_cut_gzip_is_corrupt() -> None:
    with pytest.raises(Rejected, match="corrupt_gzip"):
        nifti.read(gzip.compress(file_bytes(voxels()))[:-5], limits=LIMITS)


def test_a_stream_far_longer_than_its_header_announces_is_refused_before_it_fills_memory() -> None:
    bomb = gzip.compress(file_bytes(voxels()) + bytes(3 << 20))
    with pytest.raises(Rejected, match="too_large"):
        nifti.read(bomb, limits=LIMITS)


def test_limits_are_checked_before_memory_is_taken() -> None:
    huge = file_bytes(voxels(), change=put(42, "<3h", 30000, 30000, 30000))
    verdict = refused(huge)
    assert verdict.reason is Reason.TOO_LARGE
    assert "30000×30000×30000" in verdict.detail
    assert refused(file_bytes(voxels()), Limits(max_voxels=59)).reason is Reason.TOO_LARGE
    assert refused(file_bytes(voxels()), Limits(max_bytes=119)).reason is Reason.TOO_LARGE
    nifti.read(file_bytes(voxels()), limits=Limits(max_voxels=60, max_bytes=120, max_edge=5))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put(0, "<i", 5), Reason.UNREADABLE),
        (put(40, "<h", 9), Reason.UNREADABLE),
        (put(42, "<h", -4), Reason.UNREADABLE),
        (put(108, "<f", 100.0), Reason.UNREADABLE),
        (put(344, "4s", b"\0\0\0\0"), Reason.UNSUPPORTED),
    ],
)
def test_damaged_and_analyze_headers_are_refused(change: Any, reason: Reason) -> None:
    assert refused(file_bytes(voxels(), change=change)).reason is reason


def test_voxels_after_an_extension_are_found() -> None:
    image = nib.Nifti1Image(voxels(), orthogonal())
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
    data = image.to_bytes()
    np.testing.assert_array_equal(nifti.read(data, limits=LIMITS).array_zyx.T, voxels())
    assert header_of(gzip.compress(data)).header.shape == (3, 4, 5)


@given(st.binary(max_size=600))
def test_random_bytes_are_refused_and_nothing_else_happens(junk: bytes) -> None:
    for start in (b"", struct.pack("<i", 348), struct.pack(">i", 540)):
        with pytest.raises(Rejected):
            nifti.read(start + junk, limits=LIMITS)


@settings(deadline=None, max_examples=40)
@given(
    dtype=st.sampled_from(["u1", "i2", "f4"]),
    volumes=st.integers(1, 4),
    order=st.sampled_from("<>"),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    compressed=st.booleans(),
    data=st.data(),
)
def test_one_volume_of_several_equals_nibabels(
    dtype: str, volumes: int, order: str, kind: Any, compressed: bool, data: st.DataObject
) -> None:
    written = np.arange(np.prod(SHAPE) * volumes).reshape(*SHAPE, volumes, order="F").astype(dtype)
    content = file_bytes(written, kind=kind, order=order)
    other = np.asarray(kind.from_bytes(content).dataobj)
    content = gzip.compress(content) if compressed else content
    component = data.draw(st.integers(0, volumes - 1))
    prefix = content[: nifti.HEADER_PREFIX_BYTES]
    header = nifti.header(prefix, name="t1", file_bytes=len(content), limits=LIMITS, component=component).header
    volume = nifti.read(content, limits=LIMITS, component=component)
    np.testing.assert_array_equal(volume.array_zyx.T, other[..., component])
    np.testing.assert_allclose(volume.affine_ras, orthogonal(), atol=1e-5)
    assert (header.component, header.shape) == (component, SHAPE[::-1])


@pytest.mark.parametrize(
    ("shape", "component", "message"),
    [
        ((5, 4, 3, 2), 2, r"expected a volume 2 \(from 0\), found 2 volumes: 5×4×3×2"),
        ((5, 4, 3), 1, "expected a volume 1"),
        ((5, 4, 3, 2), -1, "expected a volume -1"),
        ((5, 4, 3, 2, 3), 0, r"expected four axes \(x, y, z, volume\), found 5×4×3×2×3"),
        ((5, 4), 0, "expected four axes"),
    ],
)
def test_a_volume_that_is_not_there_is_refused(shape: tuple[int, ...], component: int, message: str) -> None:
    content = file_bytes(voxels(shape=shape))
    for read in (
        lambda: nifti.header(content, name="x", file_bytes=len(content), limits=LIMITS, component=component),
        lambda: nifti.read(content, limits=LIMITS, component=component),
    ):
        with pytest.raises(Rejected, match=message) as caught:
            read()
        assert caught.value.reason is Reason.NOT_A_VOLUME


def test_a_volume_more_than_the_source_has_channels_is_refused() -> None:
    content = file_bytes(voxels(shape=(*SHAPE, 3)))
    told = {"name": "x", "file_bytes": len(content), "limits": LIMITS, "component": 0}
    assert nifti.header(content, **told, components=3).header.component == 0
    with pytest.raises(Rejected, match="expected 2 volumes in the file, found 3: 5×4×3×3") as caught:
        nifti.header(content, **told, components=2)
    assert caught.value.reason is Reason.NOT_A_VOLUME


def test_a_cut_file_is_refused_whichever_volume_is_asked_for() -> None:
    content = file_bytes(voxels(shape=(*SHAPE, 3)))[:-1]
    for data in (content, gzip.compress(content)):
        with pytest.raises(Rejected) as caught:
            nifti.read(data, limits=LIMITS, component=0)
        assert caught.value.reason is Reason.TRUNCATED


def test_all_volumes_of_a_file_count_towards_the_limit() -> None:
    content = file_bytes(voxels(shape=(*SHAPE, 3)))
    limits = Limits(max_bytes=2 * int(np.prod(SHAPE)) * 3)
    nifti.read(content, limits=limits, component=0)
    less = Limits(max_bytes=2 * int(np.prod(SHAPE)) * 3 - 1)
    for read in (
        lambda: nifti.header(content, name="x", file_bytes=len(content), limits=less, component=0),
        lambda: nifti.read(content, limits=less, component=0),
    ):
        with pytest.raises(Rejected) as caught:
            read()
        assert caught.value.reason is Reason.TOO_LARGE


def test_a_manifest_may_say_that_the_qform_places_the_voxels() -> None:
    def unit_sform(content: bytearray) -> None:
        put(280, "<12f", 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)(content)

    content = file_bytes(voxels(), change=unit_sform)
    assert geometry.spacing_xyz_mm(nifti.read(content, limits=LIMITS).affine_ras) == (1.0, 1.0, 1.0)
    volume = nifti.read(content, limits=LIMITS, placement="qform")
    np.testing.assert_allclose(volume.affine_ras, orthogonal(), atol=1e-5)
    found = nifti.header(content, name="mr", file_bytes=len(content), limits=LIMITS, placement="qform")
    assert found.header.placement == "qform"
    assert found.header.spacing_xyz_mm == pytest.approx((0.8, 0.9, 2.5))
    assert [f.code for f in found.findings] == ["sform_passed_over"]


def test_without_a_qform_the_sform_that_is_known_to_be_wrong_does_not_help() -> None:
    content = file_bytes(voxels(), codes=(0, 1))
    with pytest.raises(Rejected) as caught:
        nifti.read(content, limits=LIMITS, placement="qform")
    assert caught.value.reason is Reason.NO_GEOMETRY


@settings(deadline=None, max_examples=30)
@given(
    kind=st.sampled_from([nib.Nifti1Pair, nib.Nifti2Pair]),
    order=st.sampled_from("<>"),
    dtype=st.sampled_from(["u1", "i2", "f4"]),
    packed=st.booleans(),
    skip=st.sampled_from([0, 16]),
)
def test_the_two_files_of_a_pair_are_what_nibabel_reads(
    kind: Any, order: str, dtype: str, packed: bool, skip: int
) -> None:
    array = voxels(dtype)
    header, image = io.BytesIO(), io.BytesIO()
    made = kind(array, orthogonal(), kind.header_class(endianness=order))
    made.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    made.file_map = kind.make_file_map({"header": header, "image": image})
    made.header.set_data_offset(skip)
    made.to_file_map()
    stream = gzip.compress(image.getvalue()) if packed else image.getvalue()
    found = nifti.read(header.getvalue(), voxels=stream, limits=LIMITS)
    again = kind.from_file_map(kind.make_file_map({"header": io.BytesIO(header.getvalue()), "image": image}))
    np.testing.assert_array_equal(found.array_zyx.transpose(2, 1, 0), np.asarray(again.dataobj))
    np.testing.assert_allclose(found.affine_ras, again.affine, atol=1e-5)
    assert header_of(header.getvalue()).header.shape == found.shape_zyx
    cut = stream[:-1] if packed else image.getvalue()[:-1]
    with pytest.raises(Rejected) as short:
        nifti.read(header.getvalue(), voxels=cut, limits=LIMITS)
    assert short.value.reason is (Reason.CORRUPT_GZIP if packed else Reason.TRUNCATED)
    with pytest.raises(Rejected) as alone:
        nifti.read(header.getvalue(), limits=LIMITS)
    assert alone.value.reason is Reason.MISSING_FILE
